/** `node bench/websocket-upstream.ts PORT`: takes every WebSocket and says nothing on it. */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

/** RFC 6455 §1.3 */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

const server = createServer((_request, response) => response.end('{}'))
server.on('upgrade', (request, socket) => {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}${GUID}`).digest('base64')
  const head = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade']
  socket.write([...head, `Sec-WebSocket-Accept: ${accept}`, '', ''].join('\r\n'))
  socket
    .on('error', () => socket.destroy())
    .on('end', () => socket.destroy())
    .resume()
})
server.listen(Number(process.argv[2]), '127.0.0.1')

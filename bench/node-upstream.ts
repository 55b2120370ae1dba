/** The upstream where there is no nginx: `node bench/node-upstream.ts PORT`. */
import { createServer } from 'node:http'
import { BODY } from './upstream.ts'

const server = createServer((request, response) => {
  const body =
    request.url === '/api/echo' ? JSON.stringify({ authorization: request.headers.authorization ?? '' }) : BODY
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body)
})
server.listen(Number(process.argv[2]), '127.0.0.1')

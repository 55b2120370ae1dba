import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:https'
import { text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { checkFraming } from '../../src/http/framing.ts'
import { lineHasEnded, watchRequestLines } from '../../src/http/request-line.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { codeOf } from '../support/failures.ts'

/** Answers each request with how its framing was judged. */
async function judging(): Promise<Server> {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const code = codeOf(() => checkFraming(request)) ?? 'fine'
    request.resume()
    request.on('end', () => response.end(`${request.url ?? ''} is ${code}\n`))
  }
  const server = createServer(answer)
  server.on('checkContinue', (request, response) => {
    lineHasEnded(request)
    response.writeContinue()
    answer(request, response)
  })
  server.on('upgrade', (request, socket) => {
    const code = codeOf(() => checkFraming(request)) ?? 'fine'
    // Whatever the client says from now on is echoed: no byte of it may have been taken away.
    setImmediate(() => {
      socket.write(`upgrade is ${code}, ${socket.listenerCount('data')} others listen\n`)
      socket.pipe(socket)
    })
  })
  watchRequestLines(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return server
}

/** Sends parts one after the other, each when the text before it has come; returns all that came back. */
async function talk(server: Server, ...parts: (readonly [send: string, until: string])[]): Promise<string> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.setNoDelay(true)
  let heard = ''
  socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
  await once(socket, 'connect')
  for (const [send, until] of parts) {
    socket.write(send)
    while (!heard.includes(until)) await once(socket, 'data')
  }
  socket.destroy()
  return heard
}

async function arrived(accepted: Socket, bytes: number): Promise<void> {
  while (accepted.bytesRead < bytes) await turn()
}

const host = 'Host: a\r\n\r\n'

test.each([
  ['two spaces in front of the target', 'GET  /x HTTP/1.1'],
  ['two spaces behind the target', 'GET /x  HTTP/1.1'],
  ['many spaces', 'GET    /x    HTTP/1.1'],
  ['two spaces, behind an empty line', '\r\nGET  /x HTTP/1.1'],
  ['another protocol', 'GET /x RTSP/1.0'],
  ['yet another one', 'SOURCE /x ICE/1.0'],
])('a request line with %s is refused (PX-10)', async (_, line) => {
  const server = await judging()
  expect(await talk(server, [`${line}\r\n${host}`, '/x is'])).toContain('/x is invalid_request')
})

test.each([
  ['a request', `GET /a HTTP/1.1\r\n${host}`],
  ['a body', `POST /a HTTP/1.1\r\nContent-Length: 4\r\n${host}body`],
  ['a chunked body', `POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${host}4\r\nbody\r\n0\r\n\r\n`],
  ['a body that was asked for', `POST /a HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n${host}body`],
])('a malformed line behind %s is seen (PX-10)', async (_, before) => {
  const server = await judging()
  const heard = await talk(server, [before, '/a is fine'], [`GET  /b HTTP/1.1\r\n${host}`, '/b is'])
  expect(heard).toContain('/b is invalid_request')
})

test('over TLS it is the clear text that is looked at', async () => {
  await using authority = await createAuthority()
  const { cert, key } = await authority.issue('localhost')
  const server = createTlsServer({ cert, key }, (request, response) => {
    response.end(codeOf(() => checkFraming(request)) ?? 'fine')
  })
  watchRequestLines(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo // of a TCP server that listens
  for (const [line, code] of [
    ['GET /x HTTP/1.1', 'fine'],
    ['GET  /x HTTP/1.1', 'invalid_request'],
  ] as const) {
    const socket = connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca: authority.ca })
    socket.write(`${line}\r\nConnection: close\r\n${host}`)
    expect(await text(socket)).toMatch(new RegExp(`\r\n${code}(?:\r\n|$)`))
  }
})

test('a proper line passes, after empty lines and after other requests too', async () => {
  const server = await judging()
  const heard = await talk(
    server,
    [`\r\n\r\nGET /a HTTP/1.1\r\n${host}`, '/a is fine'],
    [`GET /b HTTP/1.1\r\n${host}`, '/b is fine'],
  )
  expect(heard).not.toContain('invalid_request')
})

test('a body is no request line, whatever it looks like and however it is cut', async () => {
  const server = await judging()
  const heard = await talk(
    server,
    ['POST /a HTTP/1.1\r\nContent-Length: 44\r\nExpect: 100-continue\r\nHost: a\r\n\r\n', '100 Continue'],
    ['GET   /not  a   line HTTP/1.1\r\nof   words  \r\n', '100 Continue'],
    ['\n', '/a is fine'],
    [`GET /b HTTP/1.1\r\n${host}`, '/b is fine'],
  )
  expect(heard).not.toContain('invalid_request')
})

test('the end of a body is no request line, though a request follows in the same packet (PX-10)', async () => {
  const server = await judging()
  const heard = await talk(
    server,
    ['POST /a HTTP/1.1\r\nContent-Length: 24\r\nExpect: 100-continue\r\nHost: a\r\n\r\n', '100 Continue'],
    [`GET   /not-one HTTP/1.1\r\nGET /b HTTP/1.1\r\n${host}`, '/b is'],
  )
  expect(heard).not.toContain('invalid_request')
})

test('requests that are pipelined and cut anywhere pass', async () => {
  const two = 'GET /a HTTP/1.1\r\nX:   many   spaces\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nY: a b c\r\nHost: a\r\n\r\n'
  const server = await judging()
  for (let cut = 1; cut < two.length; cut += 1) {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.setNoDelay(true)
    const [accepted] = (await once(server, 'connection')) as [Socket] // what a server emits
    let heard = ''
    socket.on('data', (chunk: Buffer) => (heard += chunk.toString()))
    socket.write(two.slice(0, cut))
    await arrived(accepted, cut)
    socket.write(two.slice(cut))
    while (!/\/b is \w+/.test(heard)) await once(socket, 'data')
    socket.destroy()
    expect(heard, `cut at ${cut}`).not.toContain('invalid_request')
  }
})

test('a line that comes in pieces is counted as a whole (PX-10)', async () => {
  const server = await judging()
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.setNoDelay(true)
  const [accepted] = (await once(server, 'connection')) as [Socket] // what a server emits
  let sent = 0
  for (const piece of ['GET ', ' ', '/x HTTP/1.1\r', `\nX:   many   spaces\r\n${host}`]) {
    socket.write(piece)
    sent += piece.length
    await arrived(accepted, sent)
  }
  const [answer] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  expect(answer.toString()).toContain('/x is invalid_request')
})

test('after an upgrade the connection belongs to its new owner, byte for byte', async () => {
  const server = await judging()
  const heard = await talk(
    server,
    ['GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: a\r\n\r\n', 'upgrade is fine'],
    ['GET   anything   goes\r\n', 'GET   anything   goes\r\n'],
  )
  expect(heard).toBe('upgrade is fine, 0 others listen\nGET   anything   goes\r\n')
})

test('an upgrade with a malformed line is refused like a request', async () => {
  const server = await judging()
  const heard = await talk(server, [
    'GET  /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: a\r\n\r\n',
    'upgrade is',
  ])
  expect(heard).toContain('upgrade is invalid_request')
})

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { watchRequestLines } from '../../src/http/request-line.ts'
import { answerWith, ProxyApp, proxyWorld as world } from '../support/proxy-app.ts'
import { get, RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'

const MIB = 1_048_576

/** A server on a raw socket whose connections the test reads itself. */
async function byHand(route: object = {}): Promise<{ port: number; accepted: Promise<Socket>; proxy: ProxyApp }> {
  const accepted = Promise.withResolvers<Socket>()
  const server = createServer((socket) => {
    socket.on('error', () => {})
    accepted.resolve(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number } // listens on TCP
  const proxy = await ProxyApp.start({ routes: [{ path: '/api', upstream: `http://127.0.0.1:${port}`, ...route }] })
  onTestFinished(async () => {
    await proxy[Symbol.asyncDispose]()
    void accepted.promise.then((socket) => socket.destroy())
    server.close()
  })
  return { port: proxy.port, accepted: accepted.promise, proxy }
}

describe('down', () => {
  test('head and bytes come through as soon as they are there', async () => {
    const sockets: Socket[] = []
    const { port } = await world((socket) => void sockets.push(socket))
    using client = await RawClient.connect(port)
    client.send(get('/api/events'))
    while (sockets.length === 0) await new Promise(setImmediate)
    const [socket] = sockets

    socket!.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n')
    await client.until(() => client.received.includes('\r\n\r\n'))
    socket!.write('8\r\ndata: 1\n\r\n')
    await client.until(() => client.received.includes('data: 1'))
    socket!.write('8\r\ndata: 2\n\r\n')
    await client.until(() => client.received.includes('data: 2'))
    socket!.write('0\r\n\r\n')

    expect((await client.read())[0]?.isComplete).toBe(true)
  })

  test('an event stream ends with its session, and gives its place back while it is open (PX-19)', async () => {
    const { port, proxy } = await world(
      answerWith(
        'HTTP/1.1 200 OK',
        'Content-Type: text/event-stream',
        'Transfer-Encoding: chunked',
        '',
        '8',
        'data: 1\n',
        '',
      ),
      { maxInFlight: 1 },
    )
    using first = await RawClient.connect(port)
    using second = await RawClient.connect(port)
    for (const client of [first, second]) {
      client.send(get('/api/events'))
      await client.until(() => client.received.includes('data: 1'))
    }
    expect(proxy.streams.size).toBe(2)

    proxy.endSession()

    expect((await first.read())[0]?.isComplete).toBe(true)
    expect((await second.read())[0]?.isComplete).toBe(true)
    expect(proxy.streams.size).toBe(0)
  })

  test('ranges and their answers pass', async () => {
    const { upstream, port } = await world(
      answerWith('HTTP/1.1 206 Partial Content', 'Content-Range: bytes 1-2/4', 'Content-Length: 2', '', 'bc'),
    )
    using client = await RawClient.connect(port)

    const [answer] = await client.send(get('/api/x', 'Range: bytes=1-2', 'If-Range: "x"')).read()

    expect(statusOf(answer!)).toBe(206)
    expect(valuesOf(answer!, 'content-range')).toEqual(['bytes 1-2/4'])
    expect(valuesOf(upstream.requests[0]!, 'range')).toEqual(['bytes=1-2'])
  })

  test('a slow reader is waited for: the upstream stops, the memory stays', async () => {
    const { port, accepted } = await byHand()
    using client = await RawClient.connect(port)
    client.socket.pause()
    client.send(get('/api/big'))
    const upstream = await accepted
    await once(upstream, 'data')
    const chunk = Buffer.alloc(MIB)
    const total = 300
    upstream.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total * MIB}\r\n\r\n`)

    let written = 0
    while (written < total && upstream.writableLength === 0) {
      upstream.write(chunk)
      written += 1
      await new Promise((resolve) => setTimeout(resolve, 5)) // gives every buffer on the way time to fill
    }

    expect(written).toBeLessThan(total)
  })

  test('100 MiB come through whole', async () => {
    const { port, accepted } = await byHand()
    using client = await RawClient.connect(port)
    const hash = createHash('sha256')
    const whole = Promise.withResolvers<void>()
    let received = 0
    let headLength = -1
    client.socket.removeAllListeners('data').on('data', (chunk: Buffer) => {
      const at = headLength === -1 ? chunk.indexOf('\r\n\r\n') + 4 : 0
      if (headLength === -1) headLength = at
      hash.update(chunk.subarray(at))
      received += chunk.length - at
      if (received === 100 * MIB) whole.resolve()
    })
    client.send(get('/api/big'))
    const upstream = await accepted
    await once(upstream, 'data')
    upstream.write(`HTTP/1.1 200 OK\r\nContent-Length: ${100 * MIB}\r\n\r\n`)

    const expected = createHash('sha256')
    for (let sent = 0; sent < 100; sent += 1) {
      const chunk = Buffer.alloc(MIB, sent)
      expected.update(chunk)
      if (!upstream.write(chunk)) await once(upstream, 'drain')
    }
    await whole.promise

    expect(hash.digest('hex')).toBe(expected.digest('hex'))
  })
})

describe('up', () => {
  test('a body reaches the upstream while it is still coming', async () => {
    const { port, accepted } = await byHand()
    using client = await RawClient.connect(port)
    client.send('POST /api/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
    const upstream = await accepted

    let received = ''
    upstream.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
    while (!received.includes('abc')) await once(upstream, 'data')
    client.send('3\r\ndef\r\n')
    while (!received.includes('def')) await once(upstream, 'data')

    expect(received).not.toContain('\r\n0\r\n')
  })

  test('an upstream that does not read stops the client', async () => {
    const { port, accepted } = await byHand()
    using client = await RawClient.connect(port)
    const total = 300
    client.send(`POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: ${total * MIB}\r\n\r\n`)
    const upstream = await accepted
    upstream.pause()

    let written = 0
    while (written < total && client.socket.writableLength === 0) {
      client.send(Buffer.alloc(MIB))
      written += 1
      await new Promise((resolve) => setTimeout(resolve, 5)) // gives every buffer on the way time to fill
    }

    expect(written).toBeLessThan(total)
  })

  test.each([
    ['a length', (length: number) => `Content-Length: ${length}`, (piece: Buffer) => piece, ''],
    [
      'chunks',
      () => 'Transfer-Encoding: chunked',
      (piece: Buffer) => Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
      '0\r\n\r\n',
    ],
  ])(
    '32 MiB with %s arrive as they were sent at an upstream that takes its time (PX-10)',
    async (_, field, framed, end) => {
      const { port, accepted, proxy } = await byHand()
      // As in the public listener: somebody reads the connection's bytes beside Node's parser.
      watchRequestLines(proxy.app.server)
      using client = await RawClient.connect(port)
      const body = randomBytes(32 * MIB)
      client.send(`POST /api/x HTTP/1.1\r\nHost: a\r\n${field(body.length)}\r\n\r\n`)
      for (let at = 0; at < body.length; at += 131_072) client.socket.write(framed(body.subarray(at, at + 131_072)))
      client.socket.write(end)
      const upstream = await accepted

      const parser = createHttpServer().on('request', (request: IncomingMessage, response: ServerResponse) => {
        const hash = createHash('sha256')
        request.on('data', (chunk: Buffer) => {
          hash.update(chunk)
          request.pause()
          setTimeout(() => request.resume(), 1)
        })
        request.on('end', () => response.end(hash.digest('hex')))
      })
      parser.emit('connection', upstream)
      const [answer] = await client.read(1)

      expect(answer!.body.toString()).toBe(createHash('sha256').update(body).digest('hex'))
    },
  )

  test('a body over the limit is a 413, and the upstream never sees it complete', async () => {
    const { upstream, port } = await world(() => {}, { bodyLimit: '10b' })
    using client = await RawClient.connect(port)

    client.send('POST /api/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n')
    await upstream.until(({ requests }) => requests[0]?.body.length === 6)
    const [answer] = await client.send('6\r\nghijkl\r\n').read()

    expect(statusOf(answer!)).toBe(413)
    await upstream.until(({ sockets }) => sockets.size === 0)
    expect(upstream.connections).toBe(1)
    expect(upstream.requests.some((request) => request.isComplete)).toBe(false)
  })

  test.each([
    ['a length', 'Content-Length: 10\r\n\r\nhel'],
    ['chunks', 'Transfer-Encoding: chunked\r\n\r\n5\r\nhel'],
  ])('a body with %s that stops half way is never complete upstream (PX-10)', async (_, body) => {
    const { upstream, port } = await world(() => {})
    using client = await RawClient.connect(port)
    client.send(`POST /api/x HTTP/1.1\r\nHost: a\r\n${body}`)
    await upstream.until(({ requests }) => requests.length === 1)

    client.socket.destroy()

    await upstream.until(({ sockets }) => sockets.size === 0)
    expect(upstream.requests[0]?.isComplete).toBe(false)
  })

  test('an answer that comes before the body was read is handed on, and the connection serves the next request', async () => {
    const { upstream, port } = await world(answerWith('HTTP/1.1 403 No', 'Content-Length: 2', '', 'no'))
    using client = await RawClient.connect(port)
    client.send('POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc')

    const [early] = await client.read(1)
    expect(statusOf(early!)).toBe(403)
    upstream.respond = answerWith('HTTP/1.1 200 OK', 'Content-Length: 2', '', 'ok')
    client.send('def' + get('/api/y'))
    const answers = await client.read(2)

    expect(statusOf(answers[1]!)).toBe(200)
    expect(upstream.requests.map((request) => request.startLine)).toEqual(['POST /v1/x HTTP/1.1', 'GET /v1/y HTTP/1.1'])
  })

  test('an upstream that breaks off during the body is a 502 on the connection that is still sending', async () => {
    const { port } = await world((socket) => socket.destroy())
    using client = await RawClient.connect(port)

    const [answer] = await client.send('POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc').read()

    expect(statusOf(answer!)).toBe(502)
  })

  test('both directions flow at the same time', async () => {
    const upstream = await RawUpstream.start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      socket.on('data', () => socket.write('2\r\nok\r\n'))
    })
    const proxy = await ProxyApp.start({ routes: [{ path: '/api', upstream: upstream.url }] })
    onTestFinished(async () => {
      await proxy[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    })
    using client = await RawClient.connect(proxy.port)
    client.send('POST /api/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n')
    await client.until(() => client.received.includes('200 OK'))

    client.send('1\r\nb\r\n')

    await client.until(() => client.received.includes('ok'))
  })
})

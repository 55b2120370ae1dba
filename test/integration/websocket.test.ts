import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { BffError } from '../../src/errors.ts'
import { ProxyApp } from '../support/proxy-app.ts'
import type { ProxyAppOptions } from '../support/proxy-app.ts'
import { RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'
import type { RawResponder } from '../support/upstream.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const MIB = 1_048_576

/** A handshake; lines with a name given here replace the usual ones, an empty value leaves one out. */
function handshake(changes: object = {}, start = 'GET /ws/a?x=1 HTTP/1.1'): string {
  const lines = {
    Host: 'app.example',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': KEY,
    Origin: 'https://app.example',
    ...changes,
  }
  const fields = Object.entries(lines).flatMap(([name, value]) => (value === '' ? [] : [`${name}: ${value}`]))
  return [start, ...fields, '', ''].join('\r\n')
}

const accept: RawResponder = (socket) =>
  void socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`,
  )

async function rawWorld(respond: RawResponder = accept, route: object = {}, options: Partial<ProxyAppOptions> = {}) {
  const upstream = await RawUpstream.start(respond)
  const proxy = await ProxyApp.start({
    ...options,
    routes: [{ path: '/ws', rewrite: '/w', upstream: upstream.url, ...route }],
  })
  onTestFinished(async () => {
    await proxy[Symbol.asyncDispose]()
    await upstream[Symbol.asyncDispose]()
  })
  return { upstream, proxy, port: proxy.port }
}

/** A server and a client of `ws` with the proxy between them. */
async function wsWorld(serverOptions: object = {}, protocols: string[] = []) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', ...serverOptions })
  await once(server, 'listening')
  const { port } = server.address() as { port: number } // listens on TCP
  const proxy = await ProxyApp.start({ routes: [{ path: '/ws', upstream: `http://127.0.0.1:${port}` }] })
  const connected = once(server, 'connection') as Promise<[WebSocket]>
  const client = new WebSocket(`ws://127.0.0.1:${proxy.port}/ws/a`, protocols)
  onTestFinished(async () => {
    client.terminate()
    for (const one of server.clients) one.terminate()
    server.close()
    await proxy[Symbol.asyncDispose]()
  })
  await once(client, 'open')
  const [serverSide] = await connected
  return { proxy, client, serverSide }
}

describe('a handshake behind a request on one connection', () => {
  const slow = 'GET /ws/slow HTTP/1.1\r\nHost: app.example\r\n\r\n'

  test('waits for its turn: the request is answered first, then the handshake (R73)', async () => {
    const { upstream, port } = await rawWorld((socket, request) => {
      if (!request.startLine.includes('slow')) accept(socket, request)
    })
    using client = await RawClient.connect(port)
    client.send(slow + handshake())
    await upstream.until(({ requests }) => requests.length === 1)

    for (const socket of upstream.sockets) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow')

    await client.until(() => client.received.includes('101 Switching'))
    expect(client.answers().map(statusOf)).toEqual([200, 101])
  })

  test('behind several, too', async () => {
    const { upstream, port } = await rawWorld((socket, request) => {
      if (request.startLine.includes('slow')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow')
      else accept(socket, request)
    })
    using client = await RawClient.connect(port)

    client.send(slow + slow + slow + handshake())

    await client.until(() => client.received.includes('101 Switching'))
    expect(client.answers().map(statusOf)).toEqual([200, 200, 200, 101])
    expect(upstream.requests).toHaveLength(4)
  })

  test.each([
    ['its client leaves meanwhile', (client: RawClient) => client.socket.destroy()],
    ['the answer before it is broken off', () => {}],
  ])('is forgotten where %s, and nobody else notices', async (_, leave) => {
    const { upstream, port } = await rawWorld((socket, request) => {
      if (!request.startLine.includes('slow')) accept(socket, request)
    })
    using client = await RawClient.connect(port)
    client.send(slow + handshake())
    await upstream.until(({ requests }) => requests.length === 1)
    leave(client)
    for (const socket of upstream.sockets) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nslow')
    await client.closed()

    using other = await RawClient.connect(port)
    other.send(handshake())
    await other.until(() => other.received.includes('101 Switching'))
    expect(upstream.requests).toHaveLength(2)
  })
})

describe('a handshake', () => {
  test('reaches the upstream with the token, the path below its prefix and the Origin; its answer is what the client gets', async () => {
    const { upstream, port } = await rawWorld(
      (socket) =>
        void socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\nSet-Cookie: __Host-Http-sidegate=evil\r\nServer: x\r\n\r\nearly`,
        ),
    )
    using client = await RawClient.connect(port)

    client.send(
      handshake({
        'Sec-WebSocket-Protocol': 'graphql-transport-ws',
        Cookie: 'a=1; __Host-Http-sidegate=secret',
        Authorization: 'Bearer evil',
      }),
    )
    await client.until(() => client.received.includes('early'))

    const [answer] = client.answers()
    expect(statusOf(answer!)).toBe(101)
    expect(valuesOf(answer!, 'sec-websocket-accept')).toEqual([ACCEPT])
    expect(valuesOf(answer!, 'sec-websocket-protocol')).toEqual(['graphql-transport-ws'])
    expect(valuesOf(answer!, 'connection')).toEqual(['Upgrade'])
    expect([...valuesOf(answer!, 'set-cookie'), ...valuesOf(answer!, 'server')]).toEqual([])
    const [request] = upstream.requests
    expect(request?.startLine).toBe('GET /w/a?x=1 HTTP/1.1')
    expect(valuesOf(request!, 'authorization')).toEqual(['Bearer AT'])
    expect(valuesOf(request!, 'cookie')).toEqual(['a=1'])
    expect(valuesOf(request!, 'origin')).toEqual(['https://app.example'])
    expect(valuesOf(request!, 'upgrade')).toEqual(['websocket'])
    expect(valuesOf(request!, 'via')).toEqual(['1.1 sidegate'])
  })

  test.each([
    ['another method', {}, 'POST /ws/a HTTP/1.1'],
    ['another version of the protocol', { 'Sec-WebSocket-Version': '777' }],
    ['no version', { 'Sec-WebSocket-Version': '' }],
    ['no key', { 'Sec-WebSocket-Key': '' }],
    ['a key of another length', { 'Sec-WebSocket-Key': 'x' }],
    ['a body', { 'Content-Length': '5' }],
  ])('with %s is a 400 and dials nobody', async (_, changes, start?: string) => {
    const { upstream, port } = await rawWorld()
    using client = await RawClient.connect(port)

    client.send(handshake(changes, start))
    await client.closed()

    expect(client.answers().map(statusOf)).toEqual([400])
    expect(valuesOf(client.answers()[0]!, 'connection')).toEqual(['close'])
    expect(upstream.requests).toEqual([])
  })

  test('to a route without WebSockets is answered at once', async () => {
    const { upstream, port } = await rawWorld(accept, { websocket: false })
    using client = await RawClient.connect(port)

    await client.send(handshake()).closed()

    expect(client.answers().map(statusOf)).toEqual([400])
    expect(upstream.requests).toEqual([])
  })

  test('to nothing is a 404, to somebody without a session a 401; nobody is dialled (PX-12)', async () => {
    const { upstream, port } = await rawWorld()
    using lost = await RawClient.connect(port)
    await lost.send(handshake({}, 'GET /nope HTTP/1.1')).closed()
    expect(lost.answers().map(statusOf)).toEqual([404])

    const refusing = await rawWorld(accept, {}, { refuse: new BffError('login_required') })
    using anonymous = await RawClient.connect(refusing.port)
    await anonymous.send(handshake()).closed()

    expect(anonymous.answers().map(statusOf)).toEqual([401])
    expect([...upstream.requests, ...refusing.upstream.requests]).toEqual([])
  })

  test('that the upstream refuses gets the refusal, and the upstream’s connection is let go', async () => {
    const { upstream, port } = await rawWorld(
      (socket) => void socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nhello'),
    )
    using client = await RawClient.connect(port)

    await client.send(handshake()).closed()

    expect(client.answers().map(statusOf)).toEqual([401])
    expect(client.answers()[0]?.body.toString()).toBe('hello')
    await upstream.until(({ sockets }) => sockets.size === 0)
  })

  test.each([
    [
      'accepts another key',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n',
    ],
    ['accepts without a key', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'],
    ['is garbage', 'GARBAGE\r\n\r\n'],
  ])('whose upstream %s is a 502 and no tunnel', async (_, bytes) => {
    const { upstream, port } = await rawWorld((socket) => void socket.write(bytes))
    using client = await RawClient.connect(port)

    await client.send(handshake()).closed()

    expect(client.answers().map(statusOf)).toEqual([502])
    await upstream.until(({ sockets }) => sockets.size === 0)
  })

  test('to an upstream that cannot be reached or says nothing is a 502 or a 504', async () => {
    const proxy = await ProxyApp.start({ routes: [{ path: '/ws', upstream: 'http://127.0.0.1:1' }] })
    onTestFinished(() => proxy[Symbol.asyncDispose]())
    using refused = await RawClient.connect(proxy.port)
    await refused.send(handshake()).closed()
    expect(refused.answers().map(statusOf)).toEqual([502])

    const { port, upstream } = await rawWorld(() => {}, { timeout: { firstByte: '50ms' } })
    using silent = await RawClient.connect(port)
    await silent.send(handshake()).closed()
    expect(silent.answers().map(statusOf)).toEqual([504])
    await upstream.until(({ sockets }) => sockets.size === 0)
  })

  test('bytes behind the head are the protocol’s, never a second request', async () => {
    const { upstream, port } = await rawWorld()
    using client = await RawClient.connect(port)

    client.send(`${handshake()}GET /ws/b HTTP/1.1\r\nHost: app.example\r\n\r\n`)
    await upstream.until(({ received }) => received[0]?.includes('GET /ws/b') === true)

    expect(upstream.connections).toBe(1)
    expect(client.answers().map(statusOf)).toEqual([101])
  })
})

describe('an open WebSocket', () => {
  test('carries text, binary, fragments, pings and large messages both ways, with the extensions both ends agreed on', async () => {
    const { client, serverSide } = await wsWorld({ perMessageDeflate: { threshold: 0 } }, ['a', 'b'])
    expect(client.protocol).toBe('a')
    expect(client.extensions).toContain('permessage-deflate')
    serverSide.on('message', (data, isBinary) => serverSide.send(data, { binary: isBinary }))
    const large = Buffer.alloc(3 * MIB, 7)

    client.send('text')
    expect(String((await once(client, 'message'))[0])).toBe('text')
    client.send(large)
    expect(large.equals((await once(client, 'message'))[0] as Buffer)).toBe(true)
    client.send('frag', { fin: false })
    client.send('ment', { fin: true })
    expect(String((await once(client, 'message'))[0])).toBe('fragment')
    client.ping('here')
    expect(String((await once(client, 'pong'))[0])).toBe('here')
    serverSide.ping()
    await once(serverSide, 'pong')
  })

  test.each(['client', 'server'])(
    'that the %s closes is closed on the other side with its code and reason, however long',
    async (side) => {
      const { client, serverSide, proxy } = await wsWorld()
      const [closes, other] = side === 'client' ? [client, serverSide] : [serverSide, client]
      const closed = once(other, 'close')
      const reason = 'x'.repeat(123)

      closes.close(4999, reason)

      const [code, text] = await closed
      expect([code, String(text)]).toEqual([4999, reason])
      if (closes.readyState !== WebSocket.CLOSED) await once(closes, 'close')
      await expect.poll(() => proxy.streams.size).toBe(0)
    },
  )

  test('is cut on the other side when one side vanishes', async () => {
    const { client, serverSide } = await wsWorld()
    const closed = once(serverSide, 'close')

    client.terminate()

    expect((await closed)[0]).toBe(1006)
  })

  test('is closed with 4401 on both sides when its session ends (PX-19)', async () => {
    const { client, serverSide, proxy } = await wsWorld()
    const closes = Promise.all([once(client, 'close'), once(serverSide, 'close')])

    proxy.endSession()

    expect((await closes).map(([code, reason]) => [code, String(reason)])).toEqual([
      [4401, 'the session has ended'],
      [4401, 'the session has ended'],
    ])
    await expect.poll(() => proxy.streams.size).toBe(0)
  })

  test('is closed with 1001 at shutdown', async () => {
    const { client, proxy } = await wsWorld()
    const closed = once(client, 'close')

    proxy.streams.closeAll()

    expect((await closed)[0]).toBe(1001)
  })

  test('gets its Close between two frames although the session ends in the middle of one (PX-19)', async () => {
    const { upstream, proxy, port } = await rawWorld()
    using client = await RawClient.connect(port)
    client.send(handshake())
    await client.until(() => client.received.includes('\r\n\r\n'))
    const from = client.received.length
    const [socket] = upstream.sockets
    socket!.write(Buffer.from([0x82, 4, 1, 2]))
    await client.until(() => client.received.length === from + 4)

    proxy.endSession()
    socket!.write(Buffer.from([3, 4, 0x82, 1, 9]))
    await client.until(() => client.received.includes('the session has ended'))

    const frames = client.received.subarray(from)
    expect(frames.subarray(0, 6)).toEqual(Buffer.from([0x82, 4, 1, 2, 3, 4]))
    expect(frames.subarray(6, 10)).toEqual(Buffer.from([0x88, 23, 4401 >> 8, 4401 & 0xff]))
    expect(frames.length).toBe(6 + 25)
  })

  test('whose session ended while the upstream was being asked is closed at once (PX-19)', async () => {
    const asked = Promise.withResolvers<void>()
    const { proxy, upstream, port } = await rawWorld(() => asked.resolve())
    using client = await RawClient.connect(port)
    client.send(handshake())
    await asked.promise

    proxy.endSession()
    accept([...upstream.sockets][0]!, upstream.requests[0]!)

    await client.until(() => client.received.includes('the session has ended'))
  })

  test('makes the sender wait for a slow reader instead of growing the memory', async () => {
    const { upstream, port } = await rawWorld()
    using client = await RawClient.connect(port)
    client.send(handshake())
    await client.until(() => client.received.includes('101'))
    const [socket] = upstream.sockets
    socket!.pause()
    const total = 200

    let written = 0
    client.send(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 2, 3, 4]))
    while (written < total && client.socket.writableLength === 0) {
      client.send(Buffer.alloc(MIB))
      written += 1
      await delay(5) // gives every buffer on the way time to fill
    }

    expect(written).toBeLessThan(total)
  })

  test('is closed when nothing goes either way for longer than `timeout.idle`', async () => {
    const { port } = await rawWorld(accept, { timeout: { idle: '50ms' } })
    using client = await RawClient.connect(port)

    client.send(handshake())

    await client.until(() => client.received.includes('idle'))
  })

  test('takes no place of the upstream', async () => {
    const { port } = await rawWorld(accept, { maxInFlight: 1 })
    using first = await RawClient.connect(port)
    using second = await RawClient.connect(port)

    for (const client of [first, second]) {
      client.send(handshake())
      await client.until(() => client.received.includes('101'))
    }
  })
})

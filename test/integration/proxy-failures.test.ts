import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { answerWith, ProxyApp, proxyWorld as world } from '../support/proxy-app.ts'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'
import type { RawResponder } from '../support/upstream.ts'

/** Writes these bytes and closes. */
function answerAndClose(bytes: string): RawResponder {
  return (socket) => void socket.end(Buffer.from(bytes, 'latin1'))
}

const never: RawResponder = () => {}

async function codeOf(port: number, request: string): Promise<[status: number, code: string]> {
  const answer = await exchange(port, request)
  const problem: unknown = JSON.parse(answer.body.toString())
  return [statusOf(answer), (problem as { code: string }).code] // the test app's error handler writes it
}

describe('an upstream that misbehaves', () => {
  test.each([
    ['says nothing', ''],
    ['is garbage', 'GARBAGE\r\n\r\n'],
    ['has two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nab'],
    [
      'has a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n',
    ],
    ['has a status that HTTP does not know', 'HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n'],
    ['switches protocols unasked', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'],
    ['has a coding that cannot be handed on', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['has a field with a control character', 'HTTP/1.1 200 OK\r\nX-A: a\u0001b\r\nContent-Length: 2\r\n\r\nok'],
    ['says 100 unasked', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ])('one whose answer %s is a 502 with nothing of it (R52)', async (_, bytes) => {
    const { upstream, port, proxy } = await world(answerAndClose(bytes))

    expect(await codeOf(port, get('/api/x'))).toEqual([502, 'upstream_unavailable'])
    expect(upstream.requests).toHaveLength(1)
    expect(proxy.failures[0]?.detail).not.toMatch(/127\.0\.0\.1|GARBAGE/)
  })

  test('interim answers are swallowed', async () => {
    const { port } = await world(
      answerWith('HTTP/1.1 103 Early Hints', 'Link: </x>', '', 'HTTP/1.1 200 OK', 'Content-Length: 2', '', 'ok'),
    )

    expect(statusOf(await exchange(port, get('/api/x')))).toBe(200)
  })

  test.each([
    ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial'],
    ['in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
  ])('an answer %s that breaks off never looks complete (R52)', async (_, bytes) => {
    const { port } = await world(answerAndClose(bytes))
    using client = await RawClient.connect(port)

    await client.send(get('/api/x')).closed()

    expect(client.answers()[0]?.isComplete ?? false).toBe(false)
  })

  test('one that answers more than it was asked gives nobody the rest', async () => {
    const smuggled = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
    const { port } = await world((socket) => void socket.write(smuggled + smuggled.replace('ok', 'no')))
    using client = await RawClient.connect(port)

    const first = await client.send(get('/api/1')).read(1)
    const second = await client.send(get('/api/2')).read(2)

    expect(first[0]?.body.toString()).toBe('ok')
    expect(second.map((answer) => answer.body.toString())).toEqual(['ok', 'ok'])
  })

  test('503 is handed on once with its Retry-After (R55, PX-11)', async () => {
    const { upstream, port } = await world(
      answerWith('HTTP/1.1 503 Busy', 'Retry-After: 100000', 'Content-Length: 0', '', ''),
    )

    const answer = await exchange(port, get('/api/x'))

    expect(statusOf(answer)).toBe(503)
    expect(valuesOf(answer, 'retry-after')).toEqual(['100000'])
    expect(upstream.requests).toHaveLength(1)
  })

  test.each([
    ['GET', 'closed'],
    ['GET', 'reset'],
    ['POST', 'closed'],
    ['POST', 'reset'],
  ])('a %s that was sent before the connection was %s is never sent again (R56, PX-11)', async (method, how) => {
    const { upstream, port } = await world((socket) => {
      if (how === 'reset') socket.resetAndDestroy()
      else socket.destroy()
    })

    expect(statusOf(await exchange(port, `${method} /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`))).toBe(
      502,
    )
    expect(upstream.requests).toHaveLength(1)
  })

  test('401 of an upstream is handed on without its password window (PX-13)', async () => {
    const { port } = await world(
      answerWith('HTTP/1.1 401 No', 'WWW-Authenticate: Basic realm="x"', 'Content-Length: 0', '', ''),
    )

    const answer = await exchange(port, get('/api/x'))

    expect(statusOf(answer)).toBe(401)
    expect(valuesOf(answer, 'www-authenticate')).toEqual([])
  })
})

describe('time', () => {
  test('no first byte in time is a 504, and the upstream is let go (R53)', async () => {
    const { upstream, port } = await world(never, { timeout: { firstByte: '50ms' } })

    expect(await codeOf(port, get('/api/x'))).toEqual([504, 'upstream_timeout'])
    await upstream.until(({ sockets }) => sockets.size === 0)
  })

  test('the first byte counts from the last byte of the request (R53)', async () => {
    const { port } = await world(
      (socket, request) => {
        if (request.startLine.startsWith('POST')) return
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
      },
      { timeout: { firstByte: '300ms' } },
    )
    using client = await RawClient.connect(port)
    const startedAt = performance.now()

    client.send('POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n')
    for (const byte of 'abcd') {
      await delay(120) // a slow sender is the subject
      client.send(byte)
    }
    const [answer] = await client.read()

    expect(statusOf(answer!)).toBe(504)
    expect(performance.now() - startedAt).toBeGreaterThan(4 * 120 + 250)
  })

  test('an answer that stops in the middle is cut after `timeout.idle`', async () => {
    const { upstream, port } = await world(answerWith('HTTP/1.1 200 OK', 'Content-Length: 10', '', 'abc'), {
      timeout: { idle: '50ms' },
    })
    using client = await RawClient.connect(port)

    await client.send(get('/api/x')).closed()

    expect(client.answers()[0]?.isComplete).toBe(false)
    await upstream.until(({ sockets }) => sockets.size === 0)
  })

  test('a client that leaves frees the upstream at once (R53)', async () => {
    const { upstream, port } = await world(never)
    const clients = await Promise.all(Array.from({ length: 128 }, () => RawClient.connect(port)))
    for (const client of clients) client.send(get('/api/x'))
    await upstream.until(({ requests }) => requests.length === 128)

    for (const client of clients) client.socket.destroy()

    await upstream.until(({ sockets }) => sockets.size === 0)
    // Nor does undici make new ones in their place.
    upstream.respond = answerWith('HTTP/1.1 200 OK', 'Content-Length: 2', '', 'ok')
    await exchange(port, get('/api/x'))
    expect(upstream.connections).toBe(129)
  })

  test('a client that leaves in the middle of the answer frees the upstream', async () => {
    const { upstream, port } = await world(answerWith('HTTP/1.1 200 OK', 'Content-Length: 10', '', 'abc'))
    using client = await RawClient.connect(port)
    client.send(get('/api/x'))
    await client.until(() => client.received.includes('abc'))

    client.socket.destroy()

    await upstream.until(({ sockets }) => sockets.size === 0)
  })
})

test('pipelined requests of a client that leaves are let go too', async () => {
  const { upstream, port } = await world(never)
  using client = await RawClient.connect(port)
  client.send(get('/api/1') + get('/api/2') + get('/api/3'))
  await upstream.until(({ requests }) => requests.length === 3)

  client.socket.destroy()

  await upstream.until(({ sockets }) => sockets.size === 0)
})

describe('an upstream that cannot be reached', () => {
  /** A port where nothing listens. */
  async function closedPort(): Promise<number> {
    const upstream = await RawUpstream.start()
    const { port } = upstream
    await upstream[Symbol.asyncDispose]()
    return port
  }

  async function unreachable(route: object, now = Date.now): Promise<ProxyApp> {
    const proxy = await ProxyApp.start({ routes: [{ path: '/api', ...route }], now })
    onTestFinished(() => proxy[Symbol.asyncDispose]())
    return proxy
  }

  test.each([
    ['a closed port', async () => `http://127.0.0.1:${await closedPort()}`],
    ['a name that does not exist', async () => 'http://nothing.invalid:3000'],
    ['a socket that does not exist', async () => 'unix:/nonexistent/app.sock'],
  ])('%s is a 502 (R52)', async (_, upstream) => {
    const proxy = await unreachable({ upstream: await upstream() })

    expect(await codeOf(proxy.port, get('/api/x'))).toEqual([502, 'upstream_unavailable'])
    expect(await codeOf(proxy.port, 'POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab')).toEqual([
      502,
      'upstream_unavailable',
    ])
  })

  test('after ten failures in a row the answer is 503 at once, and one request a second looks again (R59)', async () => {
    let now = 1_000_000
    const port = await closedPort()
    const proxy = await unreachable({ upstream: `http://127.0.0.1:${port}` }, () => now)
    const post = 'POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'
    for (let count = 0; count < 10; count += 1)
      expect(await codeOf(proxy.port, post)).toEqual([502, 'upstream_unavailable'])

    expect(await codeOf(proxy.port, post)).toEqual([503, 'overloaded'])
    now += 1_000
    expect(await codeOf(proxy.port, post)).toEqual([502, 'upstream_unavailable'])
    expect(await codeOf(proxy.port, post)).toEqual([503, 'overloaded'])
  })

  test('the first connection that is made closes the circuit again (R59)', async () => {
    let now = 1_000_000
    const port = await closedPort()
    const proxy = await unreachable({ upstream: `http://127.0.0.1:${port}` }, () => now)
    for (let count = 0; count < 6; count += 1) await exchange(proxy.port, get('/api/x'))
    expect(await codeOf(proxy.port, get('/api/x'))).toEqual([503, 'overloaded'])
    const { createServer } = await import('node:http')
    const back = createServer((_, response) => void response.end('back')).listen(port, '127.0.0.1')
    onTestFinished(() => void back.close())

    now += 1_000
    const answers = await Promise.all([exchange(proxy.port, get('/api/1')), exchange(proxy.port, get('/api/2'))])

    expect(new Set(answers.map(statusOf))).toEqual(new Set([200, 503]))
    expect(statusOf(await exchange(proxy.port, get('/api/3')))).toBe(200)
    back.closeAllConnections()
  })
})

describe('places', () => {
  test('over maxInFlight a request waits for a place, over the queue it is refused with Retry-After', async () => {
    const { upstream, port } = await world(never, { maxInFlight: 2 })
    const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.connect(port)))
    onTestFinished(() => clients.forEach((client) => client.socket.destroy()))
    for (const client of clients) {
      client.send(get('/api/x'))
      await delay(20) // so that they arrive in this order
    }

    const [refused] = await clients[4]!.read()
    expect(statusOf(refused!)).toBe(503)
    expect(upstream.requests).toHaveLength(2)

    // A place that comes free goes to the one who has waited longest.
    for (const socket of upstream.sockets) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    await upstream.until(({ requests }) => requests.length === 4)
  })

  test('who has left the queue takes no place', async () => {
    const { upstream, port } = await world(never, { maxInFlight: 1 })
    const [first, second, third] = await Promise.all([
      RawClient.connect(port),
      RawClient.connect(port),
      RawClient.connect(port),
    ])
    onTestFinished(() => [first, second, third].forEach((client) => client.socket.destroy()))
    first.send(get('/api/1'))
    await upstream.until(({ requests }) => requests.length === 1)
    second.send(get('/api/2'))
    await delay(20) // until it stands in the queue
    second.socket.destroy()
    await delay(20) // until the gateway has seen it
    third.send(get('/api/3'))
    await delay(20)

    for (const socket of upstream.sockets) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')

    await upstream.until(({ requests }) => requests.length === 2)
    expect(upstream.requests[1]?.startLine).toBe('GET /v1/3 HTTP/1.1')
  })

  test('nobody waits longer than a connection may take', async () => {
    const { port } = await world(never, { maxInFlight: 1, timeout: { connect: '50ms' } })
    const [first, second] = await Promise.all([RawClient.connect(port), RawClient.connect(port)])
    onTestFinished(() => [first, second].forEach((client) => client.socket.destroy()))
    first.send(get('/api/1'))
    await delay(20)

    expect(statusOf((await second.send(get('/api/2')).read())[0]!)).toBe(503)
  })

  test('a stuck upstream takes no place of another (R54)', async () => {
    const other = await RawUpstream.start()
    const { upstream, port } = await world(
      never,
      { maxInFlight: 1 },
      { routes: [{ path: '/other', upstream: other.url }] },
    )
    onTestFinished(() => other[Symbol.asyncDispose]())
    using stuck = await RawClient.connect(port)
    stuck.send(get('/api/x'))
    await upstream.until(({ requests }) => requests.length === 1)

    expect(statusOf(await exchange(port, get('/other/x')))).toBe(200)
  })
})

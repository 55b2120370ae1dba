import { describe, expect, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { answerWith, proxyWorld as world } from '../support/proxy-app.ts'

const noOtherToken = { renew: () => Promise.resolve(undefined), refusedAgain: () => {} }

describe('a request through the proxy', () => {
  test('reaches the upstream below its prefix with the token and none of our fields, and its answer comes back', async () => {
    const { upstream, port } = await world()

    const answer = await exchange(port, get('/api/x?a=b?c=d&&=&e=%2F', 'Authorization: Bearer evil', 'Accept: */*'))

    expect(statusOf(answer)).toBe(200)
    expect(answer.body.toString()).toBe('ok')
    const [request] = upstream.requests
    expect(request?.startLine).toBe('GET /v1/x?a=b?c=d&&=&e=%2F HTTP/1.1')
    expect(valuesOf(request!, 'authorization')).toEqual(['Bearer AT'])
    expect(valuesOf(request!, 'via')).toEqual(['1.1 sidegate'])
    expect(valuesOf(request!, 'host')).toEqual([new URL(upstream.url).host])
    expect(valuesOf(request!, 'x-forwarded-for')).toEqual(['127.0.0.1'])
    expect(valuesOf(answer, 'vary')).toEqual(['Cookie'])
  })

  test('without a token where the route takes none', async () => {
    const { upstream, port } = await world(undefined, { session: 'none' })

    await exchange(port, get('/api/x', 'Authorization: Bearer evil'))

    expect(valuesOf(upstream.requests[0]!, 'authorization')).toEqual([])
  })

  test.each([
    '/api',
    '/api/',
    '/api//x',
    '/api/...',
    '/api/a..b',
    '/api/x;a=b/y',
    '/api/:80/x',
    '/api/a%3Fb',
    '/api/%C3%A9',
  ])('%s is sent as it came', async (path) => {
    const { upstream, port } = await world()

    expect(statusOf(await exchange(port, get(path)))).toBe(200)
    expect(upstream.requests[0]?.startLine).toBe(`GET ${path.replace('/api', '/v1')} HTTP/1.1`)
  })

  test.each([['PROPFIND'], ['QUERY'], ['MKCOL'], ['REPORT'], ['PURGE'], ['DELETE'], ['OPTIONS'], ['PATCH'], ['PUT']])(
    'method %s passes with its body',
    async (method) => {
      const { upstream, port } = await world()

      const answer = await exchange(
        port,
        `${method} /api/x HTTP/1.1\r\nHost: a\r\nContent-Type: foo\r\nContent-Length: 4\r\n\r\ncaf\u00e9`,
      )

      expect(statusOf(answer)).toBe(200)
      const [request] = upstream.requests
      expect(request?.startLine).toBe(`${method} /v1/x HTTP/1.1`)
      expect(request?.body.toString('latin1')).toBe('caf\u00e9')
      expect(valuesOf(request!, 'content-type')).toEqual(['foo'])
      expect(valuesOf(request!, 'content-length')).toEqual(['4'])
    },
  )

  test('a chunked body is framed anew and its trailers are dropped (PX-10)', async () => {
    const { upstream, port } = await world()

    await exchange(
      port,
      'POST /api/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Evil\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Evil: 1\r\n\r\n',
    )

    const [request] = upstream.requests
    expect(request?.body.toString()).toBe('abcde')
    expect(valuesOf(request!, 'transfer-encoding')).toEqual(['chunked'])
    expect(upstream.received[0]?.toString()).not.toMatch(/evil|ext=1|trailer/i)
  })

  test('HEAD, 204 and 304 have no body, and the connection serves the next request (PX-10)', async () => {
    const { port } = await world((socket, request) => {
      const status = request.startLine.split(' ')[1]?.slice(4)
      if (request.startLine.startsWith('HEAD')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')
      else if (status === '204') socket.write('HTTP/1.1 204 No Content\r\n\r\n')
      else if (status === '304') socket.write('HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n')
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast')
    })
    using client = await RawClient.connect(port)

    client.send(get('/api/204') + get('/api/304') + get('/api/200'))
    const answers = await client.read(3)

    expect(answers.map(statusOf)).toEqual([204, 304, 200])
    expect(answers[2]?.body.toString()).toBe('last')
    const head = await exchange(port, 'HEAD /api/x HTTP/1.1\r\nHost: a\r\n\r\n', { isHead: true })
    expect(valuesOf(head, 'content-length')).toEqual(['5'])
  })

  test('an HTTP/1.0 client gets its answer, and the connection ends', async () => {
    const { upstream, port } = await world(
      answerWith('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', '2', 'ok', '0', '', ''),
    )
    using client = await RawClient.connect(port)

    await client.send('GET /api/x HTTP/1.0\r\nHost: a\r\n\r\n').closed()

    expect(client.answers()[0]?.body.toString()).toBe('ok')
    expect(valuesOf(upstream.requests[0]!, 'via')).toEqual(['1.0 sidegate'])
  })

  test('Expect: 100-continue is not sent on', async () => {
    const { upstream, port } = await world()
    using client = await RawClient.connect(port)

    client.send('POST /api/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n')
    await client.until(() => client.received.includes('100 Continue'))
    const answers = await client.send('ab').read(2)

    expect(answers.map(statusOf)).toEqual([100, 200])
    expect(valuesOf(upstream.requests[0]!, 'expect')).toEqual([])
    expect(upstream.requests[0]?.body.toString()).toBe('ab')
  })

  test.each([
    ['Upgrade: foo'],
    ['Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__'],
    ['Connection: upgrade\r\nUpgrade: TLS/1.0'],
    ['Keep-Alive: timeout=5'],
    ['TE: trailers'],
  ])('%s is consumed and the request is served', async (lines) => {
    const { upstream, port } = await world()

    expect(statusOf(await exchange(port, get('/api/x', ...lines.split('\r\n'))))).toBe(200)
    for (const name of ['upgrade', 'keep-alive', 'te', 'http2-settings']) {
      expect(valuesOf(upstream.requests[0]!, name)).toEqual([])
    }
  })

  test('an upgrade to something else is served as the request that it is also where Node hands it over', async () => {
    const { upstream, port } = await world(undefined, {}, { everyUpgrade: true })
    using client = await RawClient.connect(port)

    await client
      .send(get('/api/x', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAM'))
      .closed()

    expect(client.answers().map(statusOf)).toEqual([200])
    expect(valuesOf(client.answers()[0]!, 'connection')).toEqual(['close'])
    expect(upstream.requests).toHaveLength(1)
  })

  test('Upgrade: h2c without its settings is refused', async () => {
    const { upstream, port } = await world()

    expect(statusOf(await exchange(port, get('/api/x', 'Connection: Upgrade', 'Upgrade: h2c')))).toBe(400)
    expect(upstream.requests).toEqual([])
  })

  test('a router that sees another route than the judge gets no request', async () => {
    const { upstream, port } = await world(undefined, {}, { routes: [{ path: '/', upstream: 'http://127.0.0.1:1' }] })

    expect(statusOf(await exchange(port, get('/%61pi/x')))).toBe(400)
    expect(upstream.requests).toEqual([])
  })

  test('a request is sent only where judge, router and plugin agree on route and path (PX-02)', async () => {
    const routes = [{ path: '/other', upstream: 'http://127.0.0.1:1' }]
    const otherRoute = await world(
      undefined,
      {},
      {
        routes,
        byFramework: true,
        misjudge: (judged, table) => ({ ...judged, place: table.routes[1]! }),
      },
    )
    const otherPath = await world(
      undefined,
      {},
      {
        byFramework: true,
        misjudge: (judged) => ({ ...judged, path: { ...judged.path, path: '/api/y' } }),
      },
    )

    const otherTarget = await world(
      undefined,
      {},
      {
        misjudge: (judged, table) => {
          Object.assign(table.routes[0]!, { target: () => '/v1/elsewhere' })
          return judged
        },
      },
    )

    expect(statusOf(await exchange(otherRoute.port, get('/api/x')))).toBe(400)
    expect(statusOf(await exchange(otherPath.port, get('/api/x')))).toBe(400)
    // Router and plugin are asked where a path has more than one reading.
    expect(statusOf(await exchange(otherTarget.port, get('/api/a%3Fb')))).toBe(400)
    const worlds = [otherRoute, otherPath, otherTarget]
    expect(worlds.flatMap(({ upstream }) => upstream.requests)).toEqual([])
  })

  test('a path with a colon in its route stands for itself', async () => {
    const { upstream, port } = await world(undefined, { path: '/v1/things:all', rewrite: '/t' })

    expect(statusOf(await exchange(port, get('/v1/things:all/x')))).toBe(200)
    expect(statusOf(await exchange(port, get('/v1/thingsXall/x')))).toBe(404)
    expect(upstream.requests[0]?.startLine).toBe('GET /t/x HTTP/1.1')
  })

  test('an answer with status, fields and bytes of every kind arrives as it was sent', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
    const { port } = await world((socket) => {
      socket.write(
        `HTTP/1.1 299 Odd Reason\r\nX-A: 1\r\nx-a: 2\r\nX-Latin: caf\u00e9\r\nContent-Encoding: gzip\r\nContent-Length: 256\r\n\r\n`,
        'latin1',
      )
      socket.write(bytes)
    })

    const answer = await exchange(port, get('/api/x'))

    expect(statusOf(answer)).toBe(299)
    expect(answer.body.equals(bytes)).toBe(true)
    expect(valuesOf(answer, 'x-a')).toEqual(['1', '2'])
    expect(valuesOf(answer, 'x-latin')).toEqual(['caf\u00e9'])
    expect(valuesOf(answer, 'content-encoding')).toEqual(['gzip'])
  })

  test('bytes of every kind arrive in chunks too, small and large', async () => {
    const small = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
    const large = Buffer.alloc(40_000, small)
    const { port } = await world((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      for (const piece of [small, large, small]) {
        socket.write(`${piece.length.toString(16)}\r\n`)
        socket.write(piece)
        socket.write('\r\n')
      }
      socket.write('0\r\n\r\n')
    })

    expect((await exchange(port, get('/api/x'))).body.equals(Buffer.concat([small, large, small]))).toBe(true)
  })

  test('Connection: close of the client is kept although the upstream keeps its own alive', async () => {
    const { port } = await world(
      answerWith('HTTP/1.1 200 OK', 'Connection: keep-alive', 'Keep-Alive: timeout=5', 'Content-Length: 2', '', 'ok'),
    )
    using client = await RawClient.connect(port)

    await client.send(get('/api/x', 'Connection: close')).closed()

    expect(valuesOf(client.answers()[0]!, 'connection')).toEqual(['close'])
  })

  test('the whole header block of an upstream is bounded', async () => {
    const { port } = await world(
      answerWith('HTTP/1.1 200 OK', `X: ${'a'.repeat(17_000)}`, 'Content-Length: 2', '', 'ok'),
    )

    expect(statusOf(await exchange(port, get('/api/x')))).toBe(502)
  })

  test('a trusted proxy’s X-Forwarded-For goes on, and its peer is added; nobody else’s does (PX-09)', async () => {
    const lines = [
      'X-Forwarded-For: 203.0.113.7, 10.0.0.1',
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Proto: http',
    ]
    const trusting = await world(undefined, {}, { config: { trustedProxies: ['127.0.0.1'] } })
    await exchange(trusting.port, get('/api/x', ...lines))
    const [request] = trusting.upstream.requests
    expect(valuesOf(request!, 'x-forwarded-for')).toEqual(['203.0.113.7, 10.0.0.1, 127.0.0.1'])
    expect(valuesOf(request!, 'x-forwarded-host')).toEqual(['app.example'])
    expect(valuesOf(request!, 'x-forwarded-proto')).toEqual(['https'])

    const other = await world()
    await exchange(other.port, get('/api/x', ...lines))
    expect(valuesOf(other.upstream.requests[0]!, 'x-forwarded-for')).toEqual(['127.0.0.1'])
  })

  test('an upstream that wants a nonce for the proof is asked again with it, once (RFC 9449 §9)', async () => {
    const nonces: string[] = []
    let nonce: string | undefined
    const { upstream, port } = await world(
      answerWith(
        'HTTP/1.1 401 No',
        'WWW-Authenticate: DPoP error="use_dpop_nonce"',
        'DPoP-Nonce: n1',
        'Content-Length: 0',
        '',
        '',
      ),
      {},
      {
        credentials: {
          for: () => ['authorization', 'DPoP AT', 'dpop', `proof with ${nonce ?? 'nothing'}`],
          learnNonce: (_origin, learned) => {
            nonce = learned
            nonces.push(learned)
          },
          ...noOtherToken,
        },
      },
    )

    expect(statusOf(await exchange(port, get('/api/x')))).toBe(401)
    expect(upstream.requests.flatMap((request) => valuesOf(request, 'dpop'))).toEqual([
      'proof with nothing',
      'proof with n1',
    ])
    await exchange(port, 'POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab')
    expect(upstream.requests).toHaveLength(3)
    expect(nonces).toEqual(['n1', 'n1', 'n1'])
  })

  test('a failure of the credentials is the answer', async () => {
    const { upstream, port } = await world(
      undefined,
      {},
      {
        credentials: {
          for: () => Promise.reject(new BffError('provider_unavailable', 'no token for this route')),
          learnNonce: () => {},
          ...noOtherToken,
        },
      },
    )

    expect(statusOf(await exchange(port, get('/api/x')))).toBe(503)
    expect(upstream.requests).toEqual([])
  })
})

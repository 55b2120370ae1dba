import dns from 'node:dns'
import { createHash, randomBytes } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { ProxyApp, sessionOf } from '../support/proxy-app.ts'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'

interface Pair {
  readonly cert: string
  readonly key: string
}

let folder: string
let ca: Pair
let server: Pair
let client: Pair

/** A key and a certificate, signed by the test's authority or by itself. */
function certificate(name: string, altName: string, issuer?: string): Pair {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${altName}`]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`]
  openssl(
    'req',
    '-x509',
    ...key,
    '-out',
    `${name}.pem`,
    '-days',
    '2',
    ...subject,
    ...(issuer ? ['-CA', `${issuer}.pem`, '-CAkey', `${issuer}.key`] : []),
  )
  return {
    cert: readFileSync(join(folder, `${name}.pem`), 'utf8'),
    key: readFileSync(join(folder, `${name}.key`), 'utf8'),
  }
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sidegate-'))
  ca = certificate('ca', 'DNS:ca')
  server = certificate('server', 'DNS:api.internal,DNS:localhost', 'ca')
  client = certificate('client', 'DNS:client', 'ca')
})
afterAll(() => rmSync(folder, { recursive: true }))

async function proxyTo(upstream: string, route: object = {}): Promise<number> {
  const proxy = await ProxyApp.start({ routes: [{ path: '/api', upstream, ...route }] })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return proxy.port
}

async function tlsUpstream(options: object): Promise<RawUpstream> {
  const tls = createTlsServer(options)
  // RawUpstream reads what is inside TLS.
  const upstream = await RawUpstream.start(undefined, tls, undefined, 'secureConnection')
  onTestFinished(() => upstream[Symbol.asyncDispose]())
  return upstream
}

describe('TLS to an upstream is verified (TK-06)', () => {
  test('a certificate that nobody we know has signed is a 502, also where the port answers', async () => {
    const upstream = await tlsUpstream({ ...certificate('self', 'DNS:localhost') })
    const port = await proxyTo(`https://localhost:${upstream.port}`)

    expect(statusOf(await exchange(port, get('/api/x')))).toBe(502)
    expect(upstream.requests).toEqual([])
  })

  test('nor does a WebSocket get through, and a failure with a long text ends nothing but the handshake', async () => {
    const handshake = get(
      '/api/x',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    )
    const unknown = await tlsUpstream({ ...certificate('self', 'DNS:localhost') })
    const other = await tlsUpstream(server)
    const nowhere = `https://${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.invalid`

    for (const [address, tls] of [
      [`https://localhost:${unknown.port}`, {}],
      [`https://127.0.0.1:${other.port}`, { tls: { ca: ca.cert } }],
      [nowhere, {}],
    ] as const) {
      const port = await proxyTo(address, tls)
      expect(statusOf(await exchange(port, handshake)), address).toBe(502)
    }
    expect([unknown.requests, other.requests]).toEqual([[], []])
  })

  test('a private authority is trusted when it is configured', async () => {
    const upstream = await tlsUpstream(server)
    const port = await proxyTo(`https://localhost:${upstream.port}`, { tls: { ca: ca.cert } })

    expect(statusOf(await exchange(port, get('/api/x')))).toBe(200)
    expect(valuesOf(upstream.requests[0]!, 'host')).toEqual([`localhost:${upstream.port}`])
  })

  test('a certificate for another name is a 502; `serverName` says which name it must have', async () => {
    const upstream = await tlsUpstream(server)
    const address = `https://127.0.0.1:${upstream.port}`

    expect(statusOf(await exchange(await proxyTo(address, { tls: { ca: ca.cert } }), get('/api/x')))).toBe(502)
    expect(
      statusOf(
        await exchange(await proxyTo(address, { tls: { ca: ca.cert, serverName: 'api.internal' } }), get('/api/x')),
      ),
    ).toBe(200)
  })

  test('the name is the upstream’s also where Host is the public one', async () => {
    const upstream = await tlsUpstream(server)
    const port = await proxyTo(`https://localhost:${upstream.port}`, { tls: { ca: ca.cert }, preserveHost: true })

    expect(statusOf(await exchange(port, get('/api/x')))).toBe(200)
    expect(valuesOf(upstream.requests[0]!, 'host')).toEqual(['app.example'])
  })

  test('a client certificate is shown where one is configured', async () => {
    const upstream = await tlsUpstream({ ...server, ca: ca.cert, requestCert: true, rejectUnauthorized: true })
    const address = `https://localhost:${upstream.port}`

    expect(statusOf(await exchange(await proxyTo(address, { tls: { ca: ca.cert } }), get('/api/x')))).toBe(502)
    expect(statusOf(await exchange(await proxyTo(address, { tls: { ca: ca.cert, ...client } }), get('/api/x')))).toBe(
      200,
    )
  })
})

test('a name with several addresses is reached at the one that answers (R58)', async () => {
  const upstream = await RawUpstream.start()
  onTestFinished(() => upstream[Symbol.asyncDispose]())
  const port = await proxyTo(`http://several.example:${upstream.port}`)
  const { lookup } = dns
  onTestFinished(() => void (dns.lookup = lookup))
  const addresses = ['127.0.0.2', '127.0.0.3', '127.0.0.1'].map((address) => ({ address, family: 4 }))
  // Every name has these addresses, and nobody listens at the first two.
  dns.lookup = ((_name: string, _options: object, done: (error: null, all: typeof addresses) => void) =>
    done(null, addresses)) as unknown as typeof dns.lookup

  for (let count = 0; count < 20; count += 1) {
    expect(statusOf(await exchange(port, get('/api/x', 'Connection: close')))).toBe(200)
  }
})

test('a unix socket is an upstream', async () => {
  const path = join(folder, 'app.sock')
  const upstream = await RawUpstream.start(undefined, undefined, path)
  onTestFinished(() => upstream[Symbol.asyncDispose]())
  const port = await proxyTo(`unix:${path}`)

  expect(statusOf(await exchange(port, get('/api/x')))).toBe(200)
  expect(valuesOf(upstream.requests[0]!, 'host')).toEqual(['localhost'])
})

test('HTTP/2 is spoken to an upstream that has it: headers, body and answer arrive', async () => {
  const upstream = createSecureServer({ ...server })
  const seen: Record<string, unknown>[] = []
  upstream.on('stream', (stream, headers) => {
    let body = ''
    stream.setEncoding('latin1')
    stream.on('data', (chunk: string) => (body += chunk))
    stream.on('end', () => {
      seen.push({ ...headers, body })
      stream.respond({ ':status': 201, 'x-a': '1', 'set-cookie': ['a=1', 'b=2'] })
      stream.end('two')
    })
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  onTestFinished(() => void upstream.close())
  const { port: upstreamPort } = upstream.address() as { port: number } // listens on TCP
  const port = await proxyTo(`https://localhost:${upstreamPort}`, { http2: true, tls: { ca: ca.cert } })

  const answer = await exchange(
    port,
    'POST /api/x?y=1 HTTP/1.1\r\nHost: a\r\nX-Mixed: V\r\nContent-Length: 3\r\n\r\nabc',
  )

  expect(statusOf(answer)).toBe(201)
  expect(answer.body.toString()).toBe('two')
  expect(valuesOf(answer, 'set-cookie')).toEqual(['a=1', 'b=2'])
  expect(seen[0]).toMatchObject({
    ':method': 'POST',
    ':path': '/api/x?y=1',
    authorization: 'Bearer AT',
    'x-mixed': 'V',
    body: 'abc',
  })
  expect(statusOf(await exchange(port, get('/api/y')))).toBe(201)
})

test('over HTTP/2 a long body arrives as it was sent at an upstream that takes its time', async () => {
  const upstream = createSecureServer({ ...server })
  upstream.on('stream', (stream) => {
    const hash = createHash('sha256')
    stream.on('data', (chunk: Buffer) => {
      hash.update(chunk)
      stream.pause()
      setTimeout(() => stream.resume(), 1)
    })
    stream.on('end', () => {
      stream.respond({ ':status': 200 })
      stream.end(hash.digest('hex'))
    })
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  onTestFinished(() => void upstream.close())
  const { port: upstreamPort } = upstream.address() as { port: number } // listens on TCP
  const port = await proxyTo(`https://localhost:${upstreamPort}`, { http2: true, tls: { ca: ca.cert } })
  using client = await RawClient.connect(port)
  const body = randomBytes(8 * 1_048_576)

  client.send(`POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`)
  const [answer] = await client.send(body).read(1)

  expect(answer!.body.toString()).toBe(createHash('sha256').update(body).digest('hex'))
})

test('over HTTP/2 a 401 is held while another token is looked for, and then handed on whole or sent again', async () => {
  const upstream = createSecureServer({ ...server })
  const large = 'x'.repeat(300_000)
  const tokens: unknown[] = []
  upstream.on('stream', (stream, { authorization }) => {
    stream.on('error', () => {}) // an answer that nobody wants is reset
    tokens.push(authorization)
    const isGood = authorization === 'Bearer AT2'
    stream.respond(isGood ? { ':status': 200 } : { ':status': 401, 'www-authenticate': 'Bearer error="invalid_token"' })
    stream.end(isGood ? 'taken' : large)
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  onTestFinished(() => void upstream.close())
  const { port } = upstream.address() as { port: number } // listens on TCP
  const sessions = [sessionOf({}), undefined]
  let token = 'AT'
  const proxy = await ProxyApp.start({
    routes: [{ path: '/api', upstream: `https://localhost:${port}`, tls: { ca: ca.cert }, http2: true }],
    credentials: {
      for: () => ['authorization', `Bearer ${token}`],
      learnNonce: () => {},
      renew: async () => {
        await new Promise((resolve) => setImmediate(resolve))
        const session = sessions.pop()
        if (session) token = 'AT2'
        return session
      },
      refusedAgain: () => {},
    },
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())

  const refused = await exchange(proxy.port, get('/api/x'))
  const taken = await exchange(proxy.port, get('/api/x'))

  expect([statusOf(refused), refused.body.toString()]).toEqual([401, large])
  expect([statusOf(taken), taken.body.toString()]).toEqual([200, 'taken'])
  expect(tokens).toEqual(['Bearer AT', 'Bearer AT', 'Bearer AT2'])
})

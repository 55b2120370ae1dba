import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { brotliCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { answerWith, ProxyApp, sessionOf } from '../support/proxy-app.ts'
import type { ProxyAppOptions } from '../support/proxy-app.ts'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'

const INDEX = '<!doctype html><title>app</title>'
const NAVIGATION = ['Sec-Fetch-Mode: navigate', 'Accept: text/html,*/*;q=0.8']

let root: string
let directory: string

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'sidegate-spa-'))
  directory = join(root, 'public')
  const files: Record<string, string | Buffer> = {
    'public/index.html': INDEX,
    'public/assets/index-BxY3d9Q_.js': 'hashed()',
    'public/assets/index-BxY3d9Q_.js.br': brotliCompressSync('hashed()'),
    'public/assets/main-ABCDEFGH.css': 'a{}',
    'public/app.3f2a1b9c.js': 'hex()',
    'public/app-controller.js': 'named()',
    'public/report-20240101.pdf': 'dated',
    'public/favicon.ico': 'icon',
    'public/docs/index.html': 'docs',
    'public/with space.txt': 'space',
    'public/.env': 'SECRET=1',
    'public/.git/config': 'SECRET=2',
    'public/.well-known/security.txt': 'contact',
    'secret.txt': 'SECRET=3',
  }
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), content)
  }
})
afterAll(() => rmSync(root, { recursive: true }))

async function app(route: object = {}, options: Partial<ProxyAppOptions> = {}): Promise<number> {
  const proxy = await ProxyApp.start({
    ...options,
    routes: [{ path: '/', spa: { directory }, session: 'none', ...route }],
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return proxy.port
}

describe('files of a directory', () => {
  test.each([
    ['/', INDEX, 'public, no-cache'],
    ['/index.html', INDEX, 'public, no-cache'],
    ['/docs/', 'docs', 'public, no-cache'],
    ['/assets/index-BxY3d9Q_.js', 'hashed()', 'public, max-age=31536000, immutable'],
    ['/assets/main-ABCDEFGH.css', 'a{}', 'public, max-age=31536000, immutable'],
    ['/app.3f2a1b9c.js', 'hex()', 'public, max-age=31536000, immutable'],
    ['/app-controller.js', 'named()', 'public, no-cache'],
    ['/report-20240101.pdf', 'dated', 'public, no-cache'],
    ['/with%20space.txt', 'space', 'public, no-cache'],
    ['/.well-known/security.txt', 'contact', 'public, no-cache'],
  ])('%s is served, kept as %3$s', async (path, body, cacheControl) => {
    const answer = await exchange(await app(), get(path))

    expect([statusOf(answer), answer.body.toString()]).toEqual([200, body])
    expect(valuesOf(answer, 'cache-control')).toEqual([cacheControl])
  })

  test('types, ETags and ranges are as for any file server, and HEAD has no body', async () => {
    const port = await app()
    const answer = await exchange(port, get('/assets/index-BxY3d9Q_.js'))
    const [etag] = valuesOf(answer, 'etag')

    expect(valuesOf(answer, 'content-type')[0]).toMatch(/^application\/javascript/)
    expect(statusOf(await exchange(port, get('/assets/index-BxY3d9Q_.js', `If-None-Match: ${etag}`)))).toBe(304)
    const range = await exchange(port, get('/favicon.ico', 'Range: bytes=1-2'))
    expect([statusOf(range), range.body.toString()]).toEqual([206, 'co'])
    const outside = await exchange(port, get('/favicon.ico', 'Range: bytes=99-'))
    expect([statusOf(outside), valuesOf(outside, 'content-range')]).toEqual([416, ['bytes */4']])
    expect(statusOf(await exchange(port, get('/favicon.ico', 'If-Match: "other"')))).toBe(412)
    const head = await exchange(port, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', { isHead: true })
    expect([statusOf(head), valuesOf(head, 'content-length')]).toEqual([200, [String(INDEX.length)]])
  })

  test('a compressed neighbour is sent to whoever takes it', async () => {
    const answer = await exchange(await app(), get('/assets/index-BxY3d9Q_.js', 'Accept-Encoding: br'))

    expect(valuesOf(answer, 'content-encoding')).toEqual(['br'])
    expect(valuesOf(answer, 'vary')).toEqual(['Accept-Encoding'])
    expect(valuesOf(answer, 'content-type')[0]).toMatch(/^application\/javascript/)
    expect(valuesOf(answer, 'cache-control')).toEqual(['public, max-age=31536000, immutable'])
  })

  test('every answer carries the security headers, with the configured policy', async () => {
    const port = await app({}, { config: { headers: { csp: "default-src 'self'" } } })

    for (const request of [get('/', ...NAVIGATION), get('/view', ...NAVIGATION), get('/favicon.ico')]) {
      const answer = await exchange(port, request)
      expect(valuesOf(answer, 'content-security-policy')).toEqual(["default-src 'self'; frame-ancestors 'none'"])
      expect(valuesOf(answer, 'x-content-type-options')).toEqual(['nosniff'])
      expect(valuesOf(answer, 'cross-origin-opener-policy')).toEqual(['same-origin-allow-popups'])
      expect(valuesOf(answer, 'strict-transport-security')).toEqual(['max-age=31536000'])
    }
  })

  test.each([
    '/.env',
    '/.git/config',
    '/.well-known/.env',
    '/docs/.hidden',
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/x%5c..%5c..%5csecret.txt',
    '//etc/passwd',
  ])('%s shows nothing that is not the app’s', async (path) => {
    const answer = await exchange(await app(), get(path))

    expect([400, 404]).toContain(statusOf(answer))
    expect(answer.body.toString()).not.toContain('SECRET')
  })

  test('files behind a session are kept by nobody else', async () => {
    const port = await app({ session: 'required' }, { session: sessionOf({}) })

    const file = await exchange(port, get('/app.3f2a1b9c.js'))
    const view = await exchange(port, get('/view', ...NAVIGATION))

    expect(valuesOf(file, 'cache-control')).toEqual(['private, max-age=31536000, immutable'])
    expect(valuesOf(view, 'cache-control')).toEqual(['private, no-cache'])
    expect(valuesOf(file, 'vary')).toEqual(['Accept-Encoding, Cookie'])
  })

  test('an app below another path has its files there', async () => {
    const port = await app({ path: '/shop' })

    expect((await exchange(port, get('/shop/app.3f2a1b9c.js'))).body.toString()).toBe('hex()')
    expect((await exchange(port, get('/shop', ...NAVIGATION))).body.toString()).toBe(INDEX)
    expect(statusOf(await exchange(port, get('/shopping', ...NAVIGATION)))).toBe(404)
  })
})

describe('history fallback', () => {
  test.each(['/view', '/users/john.doe', '/v1.2/notes', '/docs/page', '/a%20b'])(
    'a navigation to %s gets the index',
    async (path) => {
      const answer = await exchange(await app(), get(path, ...NAVIGATION))

      expect([statusOf(answer), answer.body.toString()]).toEqual([200, INDEX])
      expect(valuesOf(answer, 'cache-control')).toEqual(['no-cache'])
      expect(valuesOf(answer, 'content-type')).toEqual(['text/html; charset=utf-8'])
    },
  )

  test.each([
    ['a script', '/missing.js', ['Sec-Fetch-Mode: no-cors', 'Accept: */*']],
    ['a call', '/view', ['Sec-Fetch-Mode: cors', 'Accept: application/json']],
    ['a file that somebody typed', '/assets/missing-3f2a1b9c.js', NAVIGATION],
    ['a picture', '/missing', ['Sec-Fetch-Mode: no-cors', 'Accept: image/*']],
  ])('%s that is not there is a 404 and no index', async (_, path, lines) => {
    expect(statusOf(await exchange(await app(), get(path, ...lines)))).toBe(404)
  })

  test('an app that has not been built is a 404', async () => {
    expect(statusOf(await exchange(await app({ spa: { directory: root } }), get('/', ...NAVIGATION)))).toBe(404)
  })
})

describe('an index from elsewhere', () => {
  const html = [
    'HTTP/1.1 200 OK',
    'Content-Type: text/html',
    'Connection: close',
    `Content-Length: ${INDEX.length}`,
    '',
    INDEX,
  ]

  test('is read once in five minutes, and serves on while its network is away', async () => {
    let now = 1_000_000
    const cdn = await RawUpstream.start(answerWith(...html))
    const port = await app({ spa: { indexUrl: `${cdn.url}/app/index.html` } }, { now: () => now })
    const read = async () => (await exchange(port, get('/view', ...NAVIGATION))).body.toString()

    expect(await Promise.all([read(), read(), read()])).toEqual([INDEX, INDEX, INDEX])
    expect(cdn.requests.map((request) => request.startLine)).toEqual(['GET /app/index.html HTTP/1.1'])
    now += 300_000
    await read()
    expect(cdn.requests).toHaveLength(2)
    await cdn[Symbol.asyncDispose]()
    now += 300_000
    expect(await read()).toBe(INDEX)
  })

  test.each([
    ['is not there', 'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'],
    ['is no page', 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'],
    ['points elsewhere', 'HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n'],
  ])('that %s is a 502', async (_, bytes) => {
    const cdn = await RawUpstream.start((socket) => void socket.write(bytes))
    onTestFinished(() => cdn[Symbol.asyncDispose]())
    const port = await app({ spa: { indexUrl: `${cdn.url}/` } })

    expect(statusOf(await exchange(port, get('/', ...NAVIGATION)))).toBe(502)
  })
})

describe('a development server', () => {
  test('gets everything, and a view that it does not know is its index', async () => {
    const vite = await RawUpstream.start((socket, request) => {
      const isIndex = request.startLine.startsWith('GET / ')
      socket.write(`HTTP/1.1 ${isIndex ? 200 : 404} X\r\nContent-Length: 2\r\n\r\n${isIndex ? 'ok' : 'no'}`)
    })
    onTestFinished(() => vite[Symbol.asyncDispose]())
    const port = await app({ spa: { devServer: vite.url } })

    expect((await exchange(port, get('/users/7?tab=1', ...NAVIGATION))).body.toString()).toBe('ok')
    expect(statusOf(await exchange(port, get('/src/missing.ts', 'Sec-Fetch-Mode: cors')))).toBe(404)
    expect(vite.requests.map((request) => request.startLine)).toEqual([
      'GET /users/7?tab=1 HTTP/1.1',
      'GET / HTTP/1.1',
      'GET /src/missing.ts HTTP/1.1',
    ])
  })

  test('gets its WebSocket too', async () => {
    const vite = await RawUpstream.start(
      (socket) =>
        void socket.write(
          'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: vite-hmr\r\n\r\n',
        ),
    )
    onTestFinished(() => vite[Symbol.asyncDispose]())
    const port = await app({ spa: { devServer: vite.url } })
    using client = await RawClient.connect(port)

    client.send(
      get(
        '/?token=x',
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Protocol: vite-hmr',
      ),
    )
    await client.until(() => client.received.includes('vite-hmr'))

    expect(statusOf(client.answers()[0]!)).toBe(101)
  })
})

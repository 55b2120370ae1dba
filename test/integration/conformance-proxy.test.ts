/** What reaches an API through a whole gateway, and what never does. */
import { once } from 'node:events'
import { describe, expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import type { Tab } from '../support/browser.ts'
import { exchange } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { RecordingUpstream } from '../support/recording-upstream.ts'
import { startRedis } from '../support/redis.ts'
import { startWorld } from '../support/world.ts'
import type { World, WorldOptions } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

async function start(options: WorldOptions = {}): Promise<World> {
  const world = await startWorld(options)
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

function routes(...list: object[]): NonNullable<WorldOptions['config']> {
  return ({ upstream }) => ({ routes: list.map((route) => ({ upstream, ...route })) })
}

/** The browser's session cookie, for requests that are written by hand. */
function cookieOf(tab: { readonly browser: { jar: { get(name: string): { value: string } | undefined } } }): string {
  return `${SESSION}=${tab.browser.jar.get(SESSION)?.value ?? ''}`
}

function portOf(world: World): number {
  return Number(new URL(world.url).port)
}

describe('nothing in a request chooses where it goes (PX-01)', () => {
  test.each([
    ['Host', 'evil.example', []],
    ['X-Forwarded-Host', undefined, ['X-Forwarded-Host: evil.example', 'X-Forwarded-Proto: http']],
    ['Forwarded', undefined, ['Forwarded: host=evil.example;proto=http']],
    ['X-Original-URL', undefined, ['X-Original-URL: http://evil.example/', 'X-Rewrite-URL: /admin']],
  ])('not %s (PX-08, PX-09)', async (_name, host, lines) => {
    const world = await start({ config: routes({ path: '/api', session: 'none' }) })
    const { host: upstreamHost } = new URL(world.upstream.url)

    const request = ['GET /api/x HTTP/1.1', `Host: ${host ?? 'app.example'}`, ...lines, '', ''].join('\r\n')
    const answer = await exchange(portOf(world), request)

    expect(statusOf(answer)).toBe(200)
    const { url, headers } = world.upstream.last
    expect(url).toBe('/api/x')
    expect(headers.host).toBe(upstreamHost)
    expect(JSON.stringify(headers)).not.toContain('evil')
    expect(headers['x-forwarded-host']).toBe(new URL(world.url).host)
  })

  test.each([
    ['GET http://evil.example/api/x HTTP/1.1', 421],
    ['GET //evil.example/api/x HTTP/1.1', 400],
    ['GET /api/..//evil.example HTTP/1.1', 400],
    ['GET /api/%2e%2e/secret HTTP/1.1', 400],
    ['GET /api\\..\\secret HTTP/1.1', 400],
    ['GET /api/%zz HTTP/1.1', 400],
    ['GET @evil.example/api HTTP/1.1', 400],
  ])('not a request line such as %s (PX-02)', async (line, status) => {
    const world = await start({ config: routes({ path: '/api', session: 'none' }) })

    const answer = await exchange(portOf(world), `${line}\r\nHost: app.example\r\n\r\n`)

    expect(statusOf(answer)).toBe(status)
    expect(world.upstream.requests).toEqual([])
  })

  test('nor do they choose where a login comes back to (AR-07, PX-09)', async () => {
    const world = await start({ config: { provider: { pushedAuthorization: 'never' } } })
    const request = [
      'GET /bff/login HTTP/1.1',
      'Host: evil.example',
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Proto: https',
      'Forwarded: host=evil.example',
      'Accept: text/html',
      '',
      '',
    ].join('\r\n')

    const answer = await exchange(portOf(world), request)

    const location = new URL(valuesOf(answer, 'location')[0] ?? '')
    expect(location.searchParams.get('redirect_uri')).toBe(`${world.url}/bff/callback`)
    expect(valuesOf(answer, 'set-cookie').join()).not.toMatch(/domain/i)
  })
})

describe('methods (PX-03)', () => {
  test.each(['TRACE', 'CONNECT'])('%s goes nowhere, whatever a route takes', async (method) => {
    const world = await start({ config: routes({ path: '/api', session: 'none' }) })

    const request = `${method} /api/x HTTP/1.1\r\nHost: app.example\r\n\r\n`
    const status = await exchange(portOf(world), request).then(statusOf, () => 'closed')

    expect(status).toBe(method === 'TRACE' ? 405 : 'closed')
    expect(world.upstream.requests).toEqual([])
  })

  test('a route takes those that it names, says so, and no other reaches its API', async () => {
    const world = await start({ config: routes({ path: '/api', session: 'none', methods: ['GET', 'POST'] }) })

    const refused = await fetch(`${world.url}/api/x`, { method: 'DELETE' })
    const taken = await fetch(`${world.url}/api/x`, { method: 'POST' })

    expect([refused.status, refused.headers.get('allow'), taken.status]).toEqual([405, 'GET, POST', 200])
    expect(world.upstream.requests.map(({ method }) => method)).toEqual(['POST'])
  })
})

test('a token goes to the API that it is for, no redirect takes it elsewhere, and no answer writes our cookies (PX-16)', async () => {
  const other = await RecordingUpstream.start()
  onTestFinished(() => other.close())
  const world = await start({
    config: ({ upstream }) => ({
      routes: [
        { path: '/api', upstream, session: 'required' },
        { path: '/plain', upstream: other.url, session: 'required', token: 'none' },
        { path: '/', upstream: other.url, session: 'none' },
      ],
    }),
  })
  world.upstream.respond = (_request, response) => {
    response.setHeader('set-cookie', [`${SESSION}=${'A'.repeat(43)}; Path=/; Secure`, 'theme=dark; Path=/'])
    response.writeHead(307, { location: `${other.url}/steal` }).end()
  }
  const { browser, tab } = await world.signedIn()
  const before = browser.jar.get(SESSION)?.value
  const seen = other.requests.length

  const answer = await tab.navigate(`${world.url}/api/x`, { follow: false, from: world.url })
  await tab.fetch(`${world.url}/plain/x`, { from: world.url })

  expect(answer.status).toBe(307)
  expect(world.upstream.last.headers.authorization).toMatch(/^Bearer /)
  // Only the route's own request has come there, without a token.
  expect(other.requests.slice(seen).map(({ url }) => url)).toEqual(['/plain/x'])
  expect(other.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true)
  expect(browser.jar.get(SESSION)?.value).toBe(before)
  expect(browser.jar.get('theme')?.value).toBe('dark')
})

test('our own answers are stored by nobody, whoever asks (PX-15)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()

  for (const path of ['/bff/session', '/bff/user', '/bff/sessions', '/bff/login', '/bff/logout', '/bff/nothing']) {
    const answer = await tab.fetch(path, { from: world.url })
    expect([path, answer.headers['cache-control']]).toEqual([path, 'no-store'])
  }
  const api = await tab.fetch('/api/orders', { from: world.url })
  expect(api.headers['cache-control']).toBe('private')
  expect(api.headers.vary).toMatch(/cookie/i)
})

test('when the refresh token is dead the call is 401, the API hears nothing, and the next call is 401, too (PX-12, RF-04)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  world.provider.revokeTokens('alice')
  world.clock.advance(300_000)

  const statuses = [await status(tab, world), await status(tab, world)]

  expect(statuses).toEqual([401, 401])
  expect(world.upstream.requests).toEqual([])
})

async function status(tab: Tab, world: World): Promise<number> {
  return (await tab.fetch('/api/orders', { from: world.url })).status
}

describe('an API that fails (PX-17)', () => {
  test('is a 502 that says nothing of it, and learns the client’s address while it works', async () => {
    const world = await start({ config: routes({ path: '/api', session: 'none' }) })
    await fetch(`${world.url}/api/x`)
    const { port } = new URL(world.upstream.url)
    expect(world.upstream.last.headers['x-forwarded-for']).toBe('127.0.0.1')
    await world.upstream.close()

    const answer = await fetch(`${world.url}/api/x`)

    const text = await answer.text()
    expect(answer.status).toBe(502)
    expect(text).not.toContain(port)
    expect(text).not.toMatch(/ECONN|127\.0\.0\.1|undici|stack/)
  })

  test('that takes too long is a 504, and others are served meanwhile', async () => {
    const slow = await RecordingUpstream.start()
    onTestFinished(() => slow.close())
    slow.respond = () => {}
    const world = await start({
      config: ({ upstream }) => ({
        routes: [
          { path: '/api', upstream, session: 'none' },
          { path: '/slow', upstream: slow.url, session: 'none', timeout: { firstByte: '200ms' }, maxInFlight: 2 },
        ],
      }),
    })

    const hanging = Array.from({ length: 4 }, () => fetch(`${world.url}/slow/x`))
    const meanwhile = await fetch(`${world.url}/api/x`)

    expect(meanwhile.status).toBe(200)
    for (const one of await Promise.all(hanging)) expect(one.status).toBe(504)
  })
})

describe('a WebSocket handshake (CS-01, CS-08, PX-19)', () => {
  async function handshake(headers: Record<string, string>): Promise<{ status: number; reached: number }> {
    const world = await start()
    const signedIn = await world.signedIn()
    const socket = new WebSocket(`${world.url.replace('http', 'ws')}/api/socket`, {
      headers: { cookie: cookieOf(signedIn), ...fill(headers, world) },
    })
    const refused = once(socket, 'unexpected-response').then(([, response]) => Number(response.statusCode))
    const opened = once(socket, 'open').then(() => 101)
    socket.on('error', () => {}) // told by the answer
    const found = await Promise.race([refused, opened])
    socket.terminate()
    return { status: found, reached: world.upstream.requests.length }
  }
  const fill = (headers: Record<string, string>, world: World): Record<string, string> =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replace('OWN', world.url)]))

  test.each([
    ['another site', { origin: 'https://evil.example' }],
    ['a sibling', { origin: 'http://localhost:1' }],
    ['nowhere', { origin: 'null' }],
    ['another site by its own word', { origin: 'OWN', 'sec-fetch-site': 'cross-site' }],
    ['somebody who does not say', {}],
  ])('from %s is refused, and nobody is dialled', async (_name, headers) => {
    expect(await handshake(headers)).toEqual({ status: 403, reached: 0 })
  })

  test('from our own page is passed on with the token and without our cookie (PX-04)', async () => {
    expect(await handshake({ origin: 'OWN' })).toEqual({ status: 101, reached: 1 })
  })
})

test('with csrf.requireHeader a call without the header touches nothing: no store, no refresh, no API (CS-02, SC-11)', async () => {
  const world = await start({ config: { csrf: { requireHeader: true } } })
  const { tab } = await world.signedIn()
  world.clock.advance(300_000)
  const hits = await world.metric('sidegate_session_cache_total{outcome="hit"}')

  const without = await tab.fetch('/api/orders', { from: world.url })
  const session = await tab.fetch('/bff/session', { from: world.url })

  expect([without.status, session.status]).toEqual([403, 403])
  expect(without.headers['sidegate-error']).toBe('csrf_rejected')
  expect(world.provider.count('refresh_token')).toBe(0)
  expect(world.upstream.requests).toEqual([])
  expect(await world.metric('sidegate_session_cache_total{outcome="hit"}')).toBe(hits)
  const withHeader = await tab.fetch('/api/orders', { from: world.url, headers: { 'x-csrf': '1' } })
  expect(withHeader.status).toBe(200)
  expect(world.provider.count('refresh_token')).toBe(1)
})

test('other origins get no leave to read, and their preflights end here; a listed one gets it by name (CS-03)', async () => {
  const world = await start({ config: { cors: { origins: ['http://localhost:1'] } } })
  const preflight = async (origin: string): Promise<Response> =>
    await fetch(`${world.url}/api/orders`, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'GET' },
    })

  const foreign = await preflight('https://evil.example')
  const listed = await preflight('http://localhost:1')

  expect(foreign.headers.get('access-control-allow-origin')).toBeNull()
  expect(listed.headers.get('access-control-allow-origin')).toBe('http://localhost:1')
  expect(world.upstream.requests).toEqual([])
})

test('without the store nobody passes, signed in or not, and it heals by itself (SC-12)', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const world = await start({
    config: ({ upstream }) => ({
      store: { redis: { url: redis.url, commandTimeout: '300ms' } },
      session: { keys: ['A'.repeat(43)], cache: { maxEntries: 0 } },
      routes: [
        { path: '/api', upstream, session: 'required' },
        { path: '/open', upstream, session: 'optional' },
      ],
    }),
  })
  const { tab } = await world.signedIn({ returnTo: '/open' })
  const calls = world.upstream.requests.length
  const ask = async (path: string): Promise<number> => (await tab.fetch(path, { from: world.url })).status

  redis.freeze()
  expect([await ask('/api/x'), await ask('/open/x'), await ask('/bff/session')]).toEqual([503, 503, 503])
  expect(world.upstream.requests).toHaveLength(calls)
  redis.thaw()

  await expect.poll(() => ask('/api/x'), { timeout: 10_000 }).toBe(200)
})

test('two session cookies, or one that nobody gave, are no session (SC-05)', async () => {
  const world = await start()
  const own = cookieOf(await world.signedIn())
  const ask = async (cookie: string): Promise<number> => {
    const lines = [`Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin']
    return statusOf(
      await exchange(portOf(world), ['GET /api/x HTTP/1.1', 'Host: app.example', ...lines, '', ''].join('\r\n')),
    )
  }

  expect(await ask(own)).toBe(200)
  expect(await ask(`${own}; ${SESSION}=${'A'.repeat(43)}`)).toBe(401)
  expect(await ask(`${SESSION}=${'A'.repeat(43)}`)).toBe(401)
  expect(await ask(`${SESSION}=short`)).toBe(401)
})

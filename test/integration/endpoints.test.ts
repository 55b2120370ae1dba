import { decodeJwt } from 'jose'
import { Agent } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import type { Browser } from '../support/browser.ts'
import { startRedis } from '../support/redis.ts'
import { startWorld, type World, type WorldOptions } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

interface SessionList {
  readonly sessions: { readonly ref: string; readonly current: boolean }[]
}

interface SessionBody {
  readonly idleExpiresInSeconds: number
}

function sessionsIn(answer: { json(): unknown }): SessionList['sessions'] {
  // What `GET sessions` promises; the assertions that follow prove it.
  return (answer.json() as SessionList).sessions
}

async function start(options: WorldOptions = {}): Promise<World> {
  const world = await startWorld(options)
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

/** Two gateways over one Redis. */
async function startPair(config: Record<string, unknown> = {}): Promise<World> {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const store = { redis: { url: redis.url } }
  return start({ peers: 1, config: { ...config, store, session: { keys: [KeyRing.generateKey()] } } })
}

/** The provider's session id, where a token is an ID token that has one. */
function sidOf(token: string): string | undefined {
  if (token.split('.').length !== 3) return undefined
  const { sid } = decodeJwt(token)
  return typeof sid === 'string' ? sid : undefined
}

interface SentEvent {
  readonly event: string
  readonly data: Record<string, unknown>
}

/** Reads an event stream as a browser would, from the instance at `origin`. */
async function listen(browser: Browser, origin: string): Promise<{ next: () => Promise<SentEvent | 'end'> }> {
  const agent = new Agent()
  onTestFinished(() => agent.destroy())
  const cookie = `${SESSION}=${browser.jar.get(SESSION)?.value ?? ''}`
  const response = await agent.request({
    origin,
    path: '/bff/session/events',
    method: 'GET',
    headers: { cookie, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', accept: 'text/event-stream' },
  })
  expect(response.statusCode).toBe(200)
  expect(response.headers).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
  })
  const chunks = response.body[Symbol.asyncIterator]()
  let text = ''
  return {
    next: async () => {
      while (!text.includes('\n\n')) {
        const { value, done } = await chunks.next()
        if (done) return 'end'
        text += String(value)
      }
      const [block = '', ...rest] = text.split('\n\n')
      text = rest.join('\n\n')
      const [, event = '', data = '{}'] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? []
      return { event, data: JSON.parse(data) as Record<string, unknown> }
    },
  }
}

test('the event stream tells the session, its refresh and its end, on whatever instance they happen (PX-19)', async () => {
  const world = await startPair()
  const { browser, tab } = await world.signedIn()
  const there = await listen(browser, world.instances[1]!.address)

  expect(await there.next()).toMatchObject({ event: 'session', data: { authenticated: true, user: { sub: 'alice' } } })
  expect((await tab.fetch('/bff/session/refresh', { method: 'POST' })).status).toBe(200)
  expect(await there.next()).toMatchObject({ event: 'refreshed', data: { authenticated: true } })
  expect((await tab.fetch('/bff/logout', { method: 'POST' })).status).toBe(200)
  expect(await there.next()).toEqual({ event: 'ended', data: { reason: 'logout' } })
  expect(await there.next()).toBe('end')
})

test('the event stream warns before the idle end, and never moves it (SC-09, SC-11)', async () => {
  const world = await start({ config: { session: { idleTimeout: '50s' } } })
  const { browser } = await world.signedIn()
  const stream = await listen(browser, world.gateway.address)

  const [first, second] = [await stream.next(), await stream.next()]

  expect(first).toMatchObject({ event: 'session' })
  expect(second).toMatchObject({ event: 'expiring', data: { expiresInSeconds: expect.any(Number) } })
  expect(JSON.stringify([first, second])).not.toContain(world.provider.issued[0])
})

test('a session has at most eight event streams', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  for (let n = 0; n < 8; n += 1) await listen(browser, world.gateway.address)

  const ninth = await tab.fetch('/bff/session/events')

  expect(ninth.status).toBe(429)
  expect(ninth.headers['retry-after']).toBeDefined()
  expect(await world.metric('sidegate_open_streams{kind="events"}')).toBe(8)
})

test('asking for the session, polling and what says that nobody is there never keep it alive, a call of the app does (SC-09, SC-11)', async () => {
  const world = await start({
    provider: { accessTokenSeconds: 7_200 },
    config: ({ upstream }) => ({
      session: { idleTimeout: '30m' },
      routes: [
        { path: '/api', upstream },
        { path: '/polled', upstream, slides: false },
        { path: '/', upstream, session: 'none' },
      ],
    }),
  })
  const { tab } = await world.signedIn()
  const idle = async () => ((await tab.fetch('/bff/session')).json() as SessionBody).idleExpiresInSeconds

  world.clock.advance(20 * 60_000)
  await tab.fetch('/bff/user')
  const asked = await idle()
  await tab.fetch('/api/orders')
  const used = await idle()
  world.clock.advance(10 * 60_000)
  await tab.fetch('/api/orders', { headers: { 'sidegate-background': '1' } })
  await tab.fetch('/polled/orders')
  const polled = await idle()

  expect(polled).toBeLessThanOrEqual(1_200)
  expect(asked).toBeLessThanOrEqual(600)
  expect(used).toBeGreaterThan(1_790)
})

test('a session that was not used for its idle time, or is older than its lifetime, is over (SC-09)', async () => {
  const world = await start({
    config: { session: { idleTimeout: '10m', maxLifetime: '1h' } },
    provider: { accessTokenSeconds: 7_200 },
  })
  const { tab } = await world.signedIn()
  world.clock.advance(10 * 60_000 + 1)

  expect((await tab.fetch('/api/orders')).json()).toMatchObject({ code: 'session_expired', status: 401 })
  expect((await tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: false })
  await world.signIn(tab)
  for (let minutes = 0; minutes < 56; minutes += 8) {
    expect((await tab.fetch('/api/orders')).status).toBe(200)
    world.clock.advance(8 * 60_000)
  }
  world.clock.advance(5 * 60_000)
  expect((await tab.fetch('/api/orders')).status).toBe(401)
})

test('who is not signed in is told so without a failure, or with one where it is asked for', async () => {
  const world = await start()
  const tab = world.browser().newTab()
  await tab.navigate(`${world.url}/`)

  const session = await tab.fetch('/bff/session')

  expect([session.status, session.json()]).toEqual([200, { authenticated: false, loginUrl: '/bff/login' }])
  expect((await tab.fetch('/bff/user')).status).toBe(401)
  expect((await tab.fetch('/bff/user?anonymous=200')).json()).toBeNull()
  expect((await tab.fetch('/bff/user?anonymous=200&anonymous=200')).status).toBe(400)
  expect((await tab.fetch('/bff/session?surprise=1&surprise=2')).status).toBe(200)
})

test('a user sees their sessions, ends one, and ends all others (SC-13)', async () => {
  const world = await startPair()
  const browsers = [await world.signedIn(), await world.signedIn(), await world.signedIn({ user: 'alice' })]
  const stranger = await world.signedIn({ user: 'bob' })
  const [first, second, third] = browsers.map(({ tab }) => tab)

  const sessions = sessionsIn(await first!.fetch('/bff/sessions'))
  const foreign = sessionsIn(await stranger.tab.fetch('/bff/sessions'))[0]!
  const others = sessionsIn(await second!.fetch('/bff/sessions'))
  const secondRef = others.find(({ current }) => current)!.ref

  expect(sessions).toHaveLength(3)
  expect(sessions.filter(({ current }) => current)).toHaveLength(1)
  expect(sessions[0]).toMatchObject({ ref: expect.stringMatching(/^[\w-]{16}$/), device: expect.any(String) })
  expect((await first!.fetch(`/bff/sessions/${foreign.ref}`, { method: 'DELETE' })).status).toBe(404)
  expect((await first!.fetch(`/bff/sessions/${secondRef}`, { method: 'DELETE' })).json()).toEqual({ ended: 1 })
  expect((await second!.fetch('/api/orders')).status).toBe(401)
  expect((await first!.fetch('/bff/sessions', { method: 'DELETE' })).status).toBe(400)
  expect((await first!.fetch('/bff/sessions?others=true', { method: 'DELETE' })).json()).toEqual({ ended: 1 })
  expect((await third!.fetch('/api/orders')).status).toBe(401)
  expect((await first!.fetch('/api/orders')).status).toBe(200)
  expect((await stranger.tab.fetch('/api/orders')).status).toBe(200)
})

test('an administrator finds and ends sessions with the token, and nobody without it (SC-13)', async () => {
  const token = 'an-admin-token-of-a-test-that-is-long'
  const world = await start({ config: { admin: { port: 0, token } } })
  const alice = await world.signedIn()
  const bob = await world.signedIn({ user: 'bob' })
  const admin = world.gateway.adminUrl!
  const ask = async (query: string, method = 'GET', bearer = token) => {
    const response = await fetch(`${admin}/sessions?${query}`, {
      method,
      headers: { authorization: `Bearer ${bearer}` },
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

  expect((await ask('sub=alice', 'GET', 'wrong')).status).toBe(401)
  expect((await fetch(`${admin}/sessions?sub=alice`)).status).toBe(401)
  expect((await ask('')).status).toBe(400)
  expect((await ask('sub=alice&sid=1')).status).toBe(400)
  expect((await ask('sub=alice&issuer=https%3A%2F%2Felsewhere.example')).status).toBe(400)
  // A part of a name would be many sessions.
  for (const ref of ['', 'a', 'x'.repeat(15), '*', 'x'.repeat(44), `${'x'.repeat(15)}*`]) {
    expect((await ask(`ref=${ref}`, 'DELETE')).status).toBe(400)
  }
  const found = await ask('sub=alice')
  expect(found.body['sessions']).toMatchObject([{ ref: expect.stringMatching(/^[\w-]{16}$/) }])
  const { ref } = (found.body['sessions'] as { ref: string }[])[0]!
  expect(await ask(`ref=${ref}`)).toMatchObject({ body: { sessions: [{ ref }] } })
  expect(await ask('sub=alice', 'DELETE')).toMatchObject({ status: 200, body: { ended: 1 } })
  expect((await alice.tab.fetch('/api/orders')).status).toBe(401)
  expect((await bob.tab.fetch('/api/orders')).status).toBe(200)
  expect(await ask('all=true', 'DELETE')).toMatchObject({ body: { ended: 1 } })
  expect((await bob.tab.fetch('/api/orders')).status).toBe(401)
  const audit = world.log.lines().filter(({ event }) => String(event).startsWith('admin.'))
  const hash = audit.find(({ by }) => by === 'sub')?.['sub']
  expect(hash).toMatch(/^[\w-]{16}$/)
  expect(
    audit.map(({ event, by, sub, sessionRef, found, ended }) => [event, by, sub ?? sessionRef, found ?? ended]),
  ).toEqual([
    ['admin.refused', undefined, undefined, undefined],
    ['admin.refused', undefined, undefined, undefined],
    ['admin.listed', 'sub', hash, 1],
    ['admin.listed', 'ref', ref, 1],
    ['admin.ended', 'sub', hash, 1],
    ['admin.ended', 'all', undefined, 1],
  ])
})

test('what is under the base path and no endpoint is 404 and never proxied; a wrong method is 405 and says the right ones', async () => {
  const world = await start({
    config: ({ upstream }) => ({ routes: [{ path: '/', upstream, session: 'none' }] }),
  })
  const ask = (path: string, method = 'GET') => fetch(`${world.url}${path}`, { method })

  for (const path of ['/bff', '/bff/', '/bff/nothing', '/bff/login/', '/bff/session/events/x', '/bff/sessions/a/b']) {
    expect((await ask(path)).status).toBe(404)
  }
  const wrong = await ask('/bff/session/refresh')
  expect([wrong.status, wrong.headers.get('allow'), wrong.headers.get('sidegate-error')]).toEqual([
    405,
    'POST',
    'method_not_allowed',
  ])
  expect((await ask('/bff/callback', 'POST')).status).toBe(405)
  expect((await ask('/bff/login', 'HEAD')).status).toBe(405)
  expect((await ask('/bff/logout', 'PUT')).headers.get('allow')).toBe('POST, GET')
  expect(world.upstream.requests).toEqual([])
  expect((await ask('/bffx')).status).toBe(200)
})

test('a preflight of an endpoint may be stored by nobody either', async () => {
  const world = await start()
  const headers = { origin: 'https://elsewhere.example', 'access-control-request-method': 'GET' }

  const answer = await fetch(`${world.url}/bff/session`, { method: 'OPTIONS', headers })

  expect([answer.status, answer.headers.get('cache-control')]).toEqual([204, 'no-store'])
})

test('bodies of other types than JSON and forms are 415, those over 64 kB are 413', async () => {
  const world = await start()
  const send = (type: string, body: string) =>
    fetch(`${world.url}/bff/backchannel-logout`, { method: 'POST', headers: { 'content-type': type }, body })

  expect((await send('text/plain', 'logout_token=x')).status).toBe(415)
  expect((await send('application/x-www-form-urlencoded', `logout_token=${'x'.repeat(70_000)}`)).status).toBe(413)
  const bad = await send('application/x-www-form-urlencoded', 'logout_token=x')
  expect([bad.status, bad.headers.get('cache-control')]).toEqual([400, 'no-store'])
  expect((await send('application/x-www-form-urlencoded', 'logout_token=x&logout_token=y')).status).toBe(400)
})

test.each([
  ['a call of script', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin' }],
  ['a frame', { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe', 'sec-fetch-site': 'same-origin' }],
  [
    'a prefetch',
    { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none', 'sec-purpose': 'prefetch' },
  ],
  ['a program', { accept: '*/*' }],
])('%s starts no login (AR-09, F2-09)', async (_name, headers) => {
  const world = await start()

  const response = await fetch(`${world.url}/bff/login`, { headers, redirect: 'manual' })

  expect(response.status).toBe(400)
  expect(response.headers.get('set-cookie')).toBeNull()
})

test('of what a browser says only allowed parameters of the right type reach the server (AR-06, AR-14)', async () => {
  const world = await start({
    config: { provider: { pushedAuthorization: 'never', loginParams: ['prompt', 'max_age'] } },
  })
  const tab = world.browser().newTab()
  const ask = (query: string) => tab.navigate(`${world.url}/bff/login?${query}`, { from: 'none', follow: false })

  const sent = new URL((await ask('prompt=login&max_age=60&login_hint=alice&claims=x&resource=y')).headers.location!)
    .searchParams

  expect(sent.get('prompt')).toBe('login')
  expect(sent.get('max_age')).toBe('60')
  for (const name of ['login_hint', 'claims', 'resource']) expect(sent.has(name)).toBe(false)
  expect((await ask('prompt=everything')).status).toBe(400)
  expect((await ask('max_age=1&max_age=2')).status).toBe(400)
  expect((await ask('provider=nobody')).status).toBe(400)
  expect((await ask('returnTo=/a&rd=/b')).status).toBe(400)
  for (const name of ['returnTo', 'returnUrl', 'redirect', 'rd']) expect((await ask(`${name}=/a`)).status).toBe(302)
})

test('a long way back waits on the server, one over 2,048 bytes is replaced (AR-10)', async () => {
  const world = await start({
    config: {
      routes: [
        { path: '/', spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname }, session: 'none' },
      ],
    },
  })
  const tab = world.browser().newTab()
  const long = `/a/${'b'.repeat(1_500)}`

  await world.signIn(tab, { returnTo: long })
  expect(tab.page.url).toBe(`${world.url}${long}`)
  await world.signIn(tab, { returnTo: `/a/${'b'.repeat(2_100)}` })
  expect(tab.page.url).toBe(`${world.url}/`)
})

test('logins of one address are limited, and the answer says for how long (R51)', async () => {
  const world = await start({ config: { rateLimits: { login: '3/min' } } })
  const tab = world.browser().newTab()
  const ask = () => tab.navigate(`${world.url}/bff/login`, { from: 'none', follow: false })

  const statuses = [(await ask()).status, (await ask()).status, (await ask()).status]
  const fourth = await ask()

  expect(statuses).toEqual([302, 302, 302])
  expect(fourth.status).toBe(429)
  expect(Number(fourth.headers['retry-after'])).toBeGreaterThan(0)
})

test('a login that asks for nothing but what is there answers silently, and a refusal changes nothing (CB-06)', async () => {
  const world = await start()
  const tab = world.browser().newTab()
  await tab.navigate(`${world.url}/`)

  const refused = await tab.navigate(`${world.url}/bff/login?prompt=none&returnTo=/orders`)

  expect(refused.url).toBe(`${world.url}/orders`)
  expect((await tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: false })
})

test('a login route begins the sign-in in place, with its own parameters, and comes back to where it was (AR-16)', async () => {
  const world = await start({
    config: ({ upstream }) => ({
      provider: { pushedAuthorization: 'never' },
      routes: [{ path: '/', upstream, session: 'login', login: { ui_locales: ['de', 'fr'], max_age: '600' } }],
    }),
  })
  const tab = world.browser().newTab()

  const begun = await tab.navigate(`${world.url}/reports?year=2026`, { from: 'none', follow: false })
  await tab.navigate(`${world.url}/reports?year=2026`, { from: 'none' })
  await tab.submit('alice')
  const sent = new URL(begun.headers.location ?? '').searchParams

  expect([begun.status, sent.get('ui_locales'), sent.get('max_age')]).toEqual([302, 'de fr', '600'])
  expect(tab.page.url).toBe(`${world.url}/reports?year=2026`)
  expect(world.upstream.last.headers.authorization).toMatch(/^Bearer /)
})

test('a sign-in in a popup ends on a page that tells the other tabs and holds nothing of the login', async () => {
  const world = await start()
  const tab = world.browser().newTab()

  const page = await tab.navigate(`${world.url}/bff/login?mode=popup&returnTo=/orders`)
  const done = page.url.startsWith(world.provider.issuer) ? await tab.submit('alice') : page

  expect(done.url).toBe(`${world.url}/bff/login/done`)
  expect(done.text).toContain("new BroadcastChannel('sidegate')")
  expect(done.headers['content-security-policy']).toContain("default-src 'none'")
})

test('the keys and the browser client are open, revalidated, and the same for everybody', async () => {
  const world = await start()

  for (const path of ['/bff/client.js', '/bff/jwks.json']) {
    const first = await fetch(`${world.url}${path}`)
    const etag = first.headers.get('etag') ?? ''
    expect([first.status, first.headers.get('cache-control')]).toEqual([200, 'no-cache'])
    expect((await fetch(`${world.url}${path}`, { headers: { 'if-none-match': etag } })).status).toBe(304)
  }
})

test('the front channel ends the named session and answers in a frame of its issuer only (LO-12, LO-13)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  const sid = world.provider.issued.map(sidOf).find((one) => one !== undefined) ?? ''
  const ask = (query: string) => fetch(`${world.url}/bff/frontchannel-logout?${query}`)

  await ask(`iss=https%3A%2F%2Felsewhere.example&sid=${sid}`)
  await ask(`sid=${sid}`)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
  const answer = await ask(`iss=${encodeURIComponent(world.provider.issuer)}&sid=${encodeURIComponent(sid)}`)
  expect(answer.headers.get('content-security-policy')).toContain(`frame-ancestors ${world.provider.issuer}`)
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect((await tab.fetch('/api/orders')).status).toBe(401)
})

import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import { startWorld, type World, type WorldOptions } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

interface CheckAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** A world whose routes are protected for another proxy; the tests are that proxy. */
async function start(config: Record<string, unknown> = {}, options: WorldOptions = {}): Promise<World> {
  const world = await startWorld({
    ...options,
    config: ({ upstream }) => ({
      forwardAuth: { host: '127.0.0.1', port: 0 },
      trustedProxies: ['127.0.0.1'],
      routes: [
        { path: '/api', upstream, session: 'required', identityHeaders: { 'X-User': 'sub', 'X-Groups': 'groups' } },
        { path: '/staff', upstream, session: 'required', allow: { groups: 'nobody' } },
        { path: '/open', upstream, session: 'none' },
        { path: '/maybe', upstream, session: 'optional', identityHeaders: { 'X-User': 'sub' } },
        { path: '/page', upstream, session: 'login', methods: ['GET', 'POST'] },
      ],
      ...config,
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

async function check(
  world: World,
  headers: Record<string, string | string[]>,
  { method = 'GET', path = '/' } = {},
): Promise<CheckAnswer> {
  const sent = request(`${world.gateway.forwardAuthUrl}${path}`, { method, headers, agent: false }).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage] // what a client emits
  let text = ''
  for await (const chunk of answer) text += String(chunk)
  return { status: answer.statusCode ?? 0, headers: answer.headers, text }
}

/** The fields of a check for a request of our own page. */
function asks(uri: string, more: Record<string, string | string[]> = {}): Record<string, string | string[]> {
  return { 'x-forwarded-method': 'GET', 'x-forwarded-uri': uri, 'sec-fetch-site': 'same-origin', ...more }
}

const navigation = {
  'sec-fetch-site': 'none',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
  accept: 'text/html',
}

async function cookieOf(world: World): Promise<string> {
  const { browser } = await world.signedIn()
  return `other=1; ${SESSION}=${browser.jar.get(SESSION)?.value ?? ''}`
}

test('a request with a session is let pass, with its token, its identity and nothing else of ours', async () => {
  const world = await start()
  const cookie = await cookieOf(world)

  const answer = await check(world, asks('/api/orders?page=2', { cookie }))

  expect([answer.status, answer.text]).toEqual([200, ''])
  expect(answer.headers).toEqual({
    authorization: `Bearer ${world.provider.issued[0]}`,
    'x-user': 'alice',
    'x-groups': 'sales,admin',
    'cache-control': 'no-store',
    'content-length': '0',
    date: expect.any(String),
    connection: expect.any(String),
  })
})

test.each([
  ['without a session', '/api/orders', {}, 401, 'login_required'],
  ['from another site', '/api/orders', { 'sec-fetch-site': 'cross-site' }, 403, 'csrf_rejected'],
  ['whose user may not', '/staff', {}, 403, 'forbidden'],
  ['that no route has', '/nothing', {}, 404, 'not_found'],
  ['by a method that the route does not take', '/page', { 'x-forwarded-method': 'DELETE' }, 405, 'method_not_allowed'],
  ['with a path of two readings', '/open/%2e%2e/api', {}, 400, 'invalid_request'],
  ['for our own endpoints, which are elsewhere', '/bff/session', {}, 404, 'not_found'],
])(
  'a request %s is refused as on the public listener, with a problem document',
  async (why, uri, more, status, code) => {
    const world = await start()
    const cookie = why === 'without a session' ? 'other=1' : await cookieOf(world)

    const answer = await check(world, asks(uri, { cookie, ...more }))

    expect([answer.status, answer.headers['sidegate-error']]).toEqual([status, code])
    expect(answer.headers['content-type']).toBe('application/problem+json')
    expect(JSON.parse(answer.text)).toMatchObject({ status, code, ...(status === 401 && { loginUrl: '/bff/login' }) })
    expect(answer.headers.authorization).toBeUndefined()
  },
)

test('routes without a need for a session pass without credentials, also for one who has a session', async () => {
  const world = await start()
  const cookie = await cookieOf(world)

  const [open, maybe, signedIn] = [
    await check(world, asks('/open', { cookie })),
    await check(world, asks('/maybe')),
    await check(world, asks('/maybe', { cookie })),
  ]

  expect([open.status, maybe.status, signedIn.status]).toEqual([200, 200, 200])
  expect([open, maybe].map(({ headers }) => [headers.authorization, headers['x-user']])).toEqual([
    [undefined, undefined],
    [undefined, undefined],
  ])
  expect(signedIn.headers['x-user']).toBe('alice')
})

test.each([
  ['no method', { 'x-forwarded-uri': '/open' }],
  ['no URI', { 'x-forwarded-method': 'GET' }],
  ['neither', {}],
  ['two methods', { 'x-forwarded-method': ['GET', 'POST'], 'x-forwarded-uri': '/open' }],
  ['a second URI in other words', { ...asks('/open'), 'x-original-uri': '/api' }],
  ['another URL', { ...asks('/open'), 'x-original-url': 'http://localhost/api' }],
  ['another method', { ...asks('/open'), 'x-original-method': 'POST' }],
])('a check that names %s is refused: 403', async (_what, headers) => {
  const world = await start()

  const answer = await check(world, { ...headers, cookie: await cookieOf(world) })

  expect([answer.status, answer.headers['sidegate-error']]).toEqual([403, 'forbidden'])
})

test('what a peer says that is not a trusted proxy does not count: 403 (PX-09)', async () => {
  const world = await start({ trustedProxies: ['192.0.2.1'] })

  const answer = await check(world, asks('/open'))

  expect([answer.status, answer.headers['sidegate-error']]).toEqual([403, 'forbidden'])
})

test('a navigation without a session is sent to the login, and comes back to where it was going', async () => {
  const world = await start()

  const answer = await check(world, asks('/page/7?a=b&c=%2F', navigation))
  const api = await check(world, asks('/page/7', { 'sec-fetch-mode': 'cors' }))
  const post = await check(world, asks('/page/7', { ...navigation, 'x-forwarded-method': 'POST' }))

  const location = `${world.url}/bff/login?returnTo=${encodeURIComponent('/page/7?a=b&c=%2F')}`
  expect([answer.status, answer.headers.location]).toEqual([302, location])
  expect(answer.headers['set-cookie']).toBeUndefined()
  expect([api.status, post.status]).toEqual([401, 401])
})

test('nginx, which passes no redirect on, gets the login in a field of a 401, and 403 for every other refusal', async () => {
  const world = await start()
  const original = { 'x-original-method': 'GET', 'sec-fetch-site': 'same-origin' }

  const page = await check(world, { ...original, ...navigation, 'x-original-uri': '/page/7?a=b' })
  const api = await check(world, { ...original, 'x-original-uri': '/page/7' })
  const missing = await check(world, { ...original, 'x-original-uri': '/nothing' })
  const ingress = await check(world, { ...original, 'x-original-url': `${world.url}/open` })
  const foreign = await check(world, { ...original, 'x-original-url': 'https://elsewhere.example/open' })

  expect(page.status).toBe(401)
  expect(page.headers['sidegate-login-url']).toBe(
    `${world.url}/bff/login?returnTo=${encodeURIComponent('/page/7?a=b')}`,
  )
  expect([api.status, api.headers['sidegate-login-url']]).toEqual([401, undefined])
  expect([missing.status, missing.headers['sidegate-error']]).toEqual([403, 'not_found'])
  expect(ingress.status).toBe(200)
  expect([foreign.status, foreign.headers['sidegate-error']]).toEqual([403, 'misdirected_request'])
})

test('a WebSocket handshake is judged as one', async () => {
  const world = await start({ csrf: { requireHeader: true } })
  const cookie = await cookieOf(world)
  const handshake = { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-fetch-mode': 'websocket' }

  const socket = await check(world, asks('/api/socket', { cookie, origin: world.url, ...handshake }))
  const foreign = await check(world, asks('/api/socket', { cookie, origin: 'https://evil.example', ...handshake }))
  const call = await check(world, asks('/api/orders', { cookie }))
  const upgrade = await check(
    world,
    asks('/api/socket', { cookie, ...handshake, connection: 'Upgrade', upgrade: 'websocket' }),
  )

  expect([socket.status, foreign.status, call.status, upgrade.status]).toEqual([200, 403, 403, 200])
})

test('a preflight passes for a listed origin, without credentials, and for nobody else', async () => {
  const world = await start({ cors: { origins: ['http://localhost:5999'] } })
  const preflight = { 'x-forwarded-method': 'OPTIONS', 'access-control-request-method': 'GET' }

  const listed = await check(world, asks('/api', { ...preflight, origin: 'http://localhost:5999' }))
  const other = await check(world, asks('/api', { ...preflight, origin: 'https://evil.example' }))

  expect([listed.status, listed.headers.authorization]).toEqual([200, undefined])
  expect(other.status).toBe(403)
})

test('limits count for the described client and session', async () => {
  const world = await start({ rateLimits: { login: 'off', api: '2/min' } })
  const cookie = await cookieOf(world)

  const calls = []
  for (let call = 0; call < 3; call += 1) calls.push((await check(world, asks('/api', { cookie }))).status)
  const one = await check(world, asks('/open', { 'x-forwarded-for': '192.0.2.7' }))

  expect(calls).toEqual([200, 200, 429])
  expect(one.status).toBe(200)
})

test('an outage is 503 and no sign-out', async () => {
  const world = await start({ session: { cache: { maxEntries: 0 } } })
  const cookie = await cookieOf(world)
  world.gateway.service.manager.store.get = () => Promise.reject(new BffError('store_unavailable'))

  const answer = await check(world, asks('/api', { cookie }))

  expect([answer.status, answer.headers['sidegate-error']]).toEqual([503, 'store_unavailable'])
  expect(answer.headers).toMatchObject({ 'retry-after': '5' })
  expect(answer.headers['set-cookie']).toBeUndefined()
})

test('the listener has GET / and nothing else, and the public listener has no check', async () => {
  const world = await start()

  expect((await check(world, asks('/open'), { method: 'POST' })).status).toBe(405)
  expect((await check(world, asks('/open'), { path: '/bff/session' })).status).toBe(404)
  expect((await check(world, asks('/open'), { path: '/?from=somewhere' })).status).toBe(200)
  const onPublic = await fetch(`${world.url}/`, {
    headers: { 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/open' },
  })
  expect([onPublic.status, onPublic.headers.get('authorization')]).toEqual([404, null])
})

test('a reload changes what is checked, too', async () => {
  const world = await start()
  const before = await check(world, asks('/open'))

  await world.gateway.service.update({
    ...world.config,
    routes: world.config.routes.filter(({ path }) => path !== '/open'),
  })

  expect([before.status, (await check(world, asks('/open'))).status]).toEqual([200, 404])
})

test('a check is logged with the described request, without its query', async () => {
  const world = await start()
  await check(world, asks('/open/7?code=secret', { 'x-forwarded-for': '192.0.2.7' }))

  await world.log.until(({ msg }) => msg === 'forward-auth')

  const line = world.log.lines().find(({ msg }) => msg === 'forward-auth')
  expect(line).toMatchObject({ method: 'GET', path: '/open/7', route: '/open', status: 200, ip: '192.0.2.7' })
  expect(world.log.text).not.toContain('code=secret')
})

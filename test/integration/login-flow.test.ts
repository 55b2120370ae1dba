import { expect, onTestFinished, test } from 'vitest'
import { startWorld } from '../support/world.ts'
import type { World, WorldOptions } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

async function start(options: WorldOptions = {}): Promise<World> {
  const world = await startWorld(options)
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

test('a login asks for a code with PKCE, state and nonce, and for nothing that the browser chose (AR-01, AR-02, AR-04, AR-05, AR-06, AR-07)', async () => {
  const world = await start({ config: { provider: { pushedAuthorization: 'never' } } })
  const tab = world.browser().newTab()

  const requests: URLSearchParams[] = []
  for (const query of ['', '?scope=openid+admin&redirect_uri=https://evil.example/&response_type=token&nonce=mine']) {
    const answer = await tab.navigate(`${world.url}/bff/login${query}`, { from: 'none', follow: false })
    expect(answer.status).toBe(302)
    requests.push(new URL(answer.headers.location ?? '').searchParams)
  }

  for (const request of requests) {
    expect(Object.fromEntries(request)).toEqual({
      response_type: 'code',
      client_id: 'shop',
      redirect_uri: `${world.url}/bff/callback`,
      scope: 'openid profile email',
      state: expect.stringMatching(/^[\w-]{22,}$/),
      nonce: expect.stringMatching(/^[\w-]{22,64}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
    })
  }
  for (const name of ['state', 'nonce', 'code_challenge'])
    expect(requests[0]?.get(name)).not.toBe(requests[1]?.get(name))
})

test('a user who signs in lands where they wanted to go, with one session cookie that script cannot read and nothing of the login in the address (CB-10, SC-01, SC-03)', async () => {
  const world = await start()

  const { browser, tab } = await world.signedIn({ returnTo: '/orders?page=2#last' })

  expect(tab.page.status).toBe(200)
  expect(tab.page.url).toBe(`${world.url}/orders?page=2#last`)
  const callback = tab.page.hops.find((hop) => hop.url.includes('/bff/callback'))
  expect(callback?.status).toBe(303)
  expect(callback?.headers).toMatchObject({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
  expect(browser.jar.get(SESSION)).toMatchObject({
    value: expect.stringMatching(/^[\w-]{43}$/),
    hostOnly: true,
    path: '/',
    secure: true,
    httpOnly: true,
    sameSite: 'strict',
    expiresAt: Number.POSITIVE_INFINITY,
  })
  expect(browser.jar.all().filter(({ name }) => name.includes('-tx-'))).toEqual([])
})

test('the app learns who is signed in and for how long, by the allow-list of claims and without any token (SC-11, TK-09)', async () => {
  const world = await start()
  const { tab } = await world.signedIn({ user: 'bob' })

  const answer = await tab.fetch('/bff/session')

  expect(answer.json()).toEqual({
    authenticated: true,
    user: { sub: 'bob', name: 'Bob Carroll', email: 'bob@example.com' },
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    expiresAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    expiresInSeconds: expect.any(Number),
    idleExpiresInSeconds: expect.any(Number),
    accessToken: { expiresInSeconds: expect.any(Number) },
    logoutUrl: expect.stringMatching(/^\/bff\/logout\?t=/),
  })
  for (const token of world.provider.issued) expect(answer.text).not.toContain(token)
})

test('an API call carries the access token and nothing else of ours, nor what the page put in its place (ID-13, PX-04, PX-06)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  browser.jar.set('theme=dark; Path=/', new URL(world.url), 'strict')

  const answer = await tab.fetch('/api/orders?page=2', {
    method: 'POST',
    body: 'one order',
    headers: { authorization: 'Bearer of-the-page', 'x-user': 'root' },
  })

  const { method, url, headers, body } = world.upstream.last
  expect(answer.status).toBe(200)
  expect({ method, url, body }).toEqual({ method: 'POST', url: '/api/orders?page=2', body: 'one order' })
  const [accessToken, refreshToken = '', idToken = ''] = world.provider.issued
  expect(headers.authorization).toBe(`Bearer ${accessToken}`)
  for (const token of [refreshToken, idToken]) expect(JSON.stringify(headers)).not.toContain(token)
  expect(headers.cookie).toBe('theme=dark')
  expect(headers['x-user']).toBeUndefined()
  expect(headers.via).toBe('1.1 sidegate')
})

test('an API call without a session is answered 401 with a login address, and the API hears nothing of it (AR-16, PX-12)', async () => {
  const world = await start()
  const tab = world.browser().newTab()
  await tab.navigate(`${world.url}/`)

  const answer = await tab.fetch('/api/orders')

  expect(answer.status).toBe(401)
  expect(answer.headers).toMatchObject({
    'content-type': 'application/problem+json',
    'sidegate-error': 'login_required',
  })
  expect(answer.json()).toMatchObject({ code: 'login_required', loginUrl: expect.stringMatching(/^\/bff\/login/) })
  expect(world.upstream.requests).toEqual([])
})

test('twenty calls at once with a stale access token refresh it once and all carry the new one (RF-01, RF-02, RF-03, R1)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  const [stale] = world.provider.issued
  world.clock.advance(280_000)

  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => tab.fetch(`/api/orders/${index}`)))

  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
  expect(world.provider.count('refresh_token')).toBe(1)
  const sent = new Set(world.upstream.requests.map(({ headers }) => headers.authorization))
  expect(sent.size).toBe(1)
  expect(sent).not.toContain(`Bearer ${stale}`)
})

test('a refresh token that the authorization server refuses ends the session with a 401, and the cookie stays (RF-04, R7)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  world.provider.revokeTokens('alice')
  world.clock.advance(280_000)

  const refused = await tab.fetch('/api/orders')
  const again = await tab.fetch('/api/orders')

  expect([refused.status, again.status]).toEqual([401, 401])
  expect(refused.member('code')).toBe('session_expired')
  expect(refused.headers['set-cookie']).toBeUndefined()
  expect(browser.jar.get(SESSION)).toBeDefined()
  expect(world.provider.count('refresh_token')).toBe(1)
  expect(world.upstream.requests).toEqual([])
})

test('each login gives a new session id, and the session before it is ended (SC-08)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const first = browser.jar.get(SESSION)?.value ?? ''

  await world.signIn(tab)

  const second = browser.jar.get(SESSION)?.value
  expect(second).not.toBe(first)
  const thief = world.browser()
  thief.jar.set(`${SESSION}=${first}; Secure; HttpOnly; Path=/; SameSite=Strict`, new URL(world.url), 'strict')
  expect((await thief.newTab().fetch('/api/orders', { from: world.url })).status).toBe(401)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('another user who signs in meanwhile in another tab takes the browser over, and the first one’s session is gone (SC-08)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn({ user: 'alice' })
  const alices = browser.jar.get(SESSION)?.value ?? ''
  const other = browser.newTab()
  await other.navigate(`${world.url}/`)

  await other.navigate('/bff/login?prompt=login&returnTo=/second')
  await other.submit('bob')
  await other.settle()

  expect(other.page.url).toBe(`${world.url}/second`)
  expect((await tab.fetch('/bff/session')).json()).toMatchObject({ user: { sub: 'bob' } })
  browser.jar.set(`${SESSION}=${alices}; Secure; HttpOnly; Path=/; SameSite=Strict`, new URL(world.url), 'strict')
  expect((await tab.fetch('/api/orders')).status).toBe(401)
})

test('a user who cancels sees a page with a way to try again; no token is asked for and the server’s words are not shown (CB-06, CB-07, R48)', async () => {
  const world = await start()
  const tab = world.browser().newTab()
  await tab.navigate(`${world.url}/`)
  await tab.navigate('/bff/login?returnTo=/orders')

  const page = await tab.submit('yes')

  expect(page.status).toBe(400)
  expect(page.headers).toMatchObject({ 'sidegate-error': 'login_failed', 'content-type': 'text/html; charset=utf-8' })
  expect(page.text).not.toContain('The sign-in was cancelled')
  expect(world.provider.count()).toBe(0)
  await tab.click('/bff/login')
  await tab.submit('alice')
  expect(tab.page.url).toBe(`${world.url}/orders`)
})

test('an answer that names no issuer, or another, never reaches the token endpoint (CB-04)', async () => {
  const world = await start()
  const outcomes: number[] = []
  for (const change of [
    (url: URL) => url.searchParams.delete('iss'),
    (url: URL) => url.searchParams.set('iss', 'https://evil.example'),
  ]) {
    const tab = world.browser().newTab()
    await tab.navigate(`${world.url}/`)
    await tab.navigate('/bff/login')
    const redirect = await tab.submit('alice', { stopBefore: `${world.url}/bff/callback` })
    const callback = new URL(redirect.headers.location ?? '')
    change(callback)
    outcomes.push((await tab.navigate(callback)).status)
  }

  expect(outcomes).toEqual([400, 400])
  expect(world.provider.count()).toBe(0)
})

test('a page of another site cannot start a login by itself: it gets a page with one button (AR-09)', async () => {
  const world = await start()
  const tab = world.browser().newTab()
  await tab.navigate(`${world.provider.issuer}/jwks`)

  const page = await tab.navigate(`${world.url}/bff/login?returnTo=/orders`)
  const framed = await tab.navigate(`${world.url}/bff/login`, { frame: true })

  expect(page.status).toBe(200)
  expect(page.headers.location).toBeUndefined()
  expect(framed.status).toBe(400)
  await tab.click('/bff/login')
  await tab.submit('alice')
  expect(tab.page.url).toBe(`${world.url}/orders`)
})

test('a foreign returnTo is replaced by the start page (AR-10)', async () => {
  const world = await start()

  const { tab } = await world.signedIn({ returnTo: '//evil.example/phish' })

  expect(tab.page.url).toBe(`${world.url}/`)
})

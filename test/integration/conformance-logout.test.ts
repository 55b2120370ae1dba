/** Signing out, from both ends, at a whole gateway before a server that does what it is told. */
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Tab } from '../support/browser.ts'
import { startRedis } from '../support/redis.ts'
import { startScriptedWorld } from '../support/scripted-world.ts'
import type { ScriptedWorld, ScriptedWorldOptions } from '../support/scripted-world.ts'
import { startWorld } from '../support/world.ts'

async function start(options: ScriptedWorldOptions = {}): Promise<ScriptedWorld> {
  const scripted = await startScriptedWorld(options)
  onTestFinished(() => scripted[Symbol.asyncDispose]())
  return scripted
}

/** Someone who has signed in, with what their tab shows. */
async function signedIn(scripted: ScriptedWorld, claims: Record<string, unknown> = {}, sub = 'alice'): Promise<Tab> {
  const tab = await scripted.visitor()
  await scripted.signIn(tab, { sub, claims })
  return tab
}

async function isSignedIn(tab: Tab, { url }: ScriptedWorld): Promise<boolean> {
  return (await tab.fetch(`${url}/api/orders`, { from: url })).status === 200
}

async function backChannel(
  { url }: ScriptedWorld,
  form: Record<string, string> | string,
  init: RequestInit = {},
): Promise<Response> {
  const body = typeof form === 'string' ? form : new URLSearchParams(form)
  return await fetch(`${url}/bff/backchannel-logout`, { method: 'POST', body, ...init })
}

describe('the way back from the authorization server (LO-04)', () => {
  test.each([
    '',
    '?state=',
    '?state=another',
    `?state=${'x'.repeat(5_000)}`,
    '?state=a&state=b',
    '?error=server_error',
  ])('ends on our own signed-out page with the query %s', async (query) => {
    const scripted = await start()
    const tab = await signedIn(scripted)

    const page = await tab.navigate(`${scripted.url}/bff/logout/callback${query}`, { from: scripted.server.origin })

    expect(page.status).toBe(200)
    expect(page.hops).toHaveLength(1)
    expect(page.text).toContain('You are signed out')
    expect(page.headers['cache-control']).toBe('no-store')
    // It is a page and no more: whoever is sent there without having signed out stays signed in.
    expect(await isSignedIn(tab, scripted)).toBe(true)
  })
})

test('the trip out carries the last ID token, client, registered address and state, and nothing of it passes through script (LO-03)', async () => {
  const scripted = await start()
  const tab = await signedIn(scripted)
  const { redirectUrl } = (await tab.fetch('/bff/logout', { method: 'POST', from: scripted.url })).json() as {
    redirectUrl: string
  }

  const trip = await tab.navigate(new URL(redirectUrl, scripted.url), { follow: false })

  expect(redirectUrl).not.toMatch(/eyJ/)
  const location = new URL(trip.headers.location ?? '')
  expect(location.href).toMatch(new RegExp(`^${scripted.server.origin}/logout`))
  expect(location.searchParams.get('id_token_hint')).toMatch(/^eyJ/)
  expect(location.searchParams.get('client_id')).toBe('shop')
  expect(location.searchParams.get('post_logout_redirect_uri')).toBe(`${scripted.url}/bff/logout/callback`)
  expect(location.searchParams.get('state')).toMatch(/^[\w-]{20,}$/)
})

test.each([
  ['is out of order', { kind: 'status', status: 503 }],
  ['never answers', { kind: 'hang' }],
] as const)(
  'signing out ends the session first, also when the revocation endpoint %s (LO-01, LO-02)',
  async (_name, fault) => {
    const scripted = await start({
      script: (server) => {
        server.faults.revocation = fault
      },
      // Longer than any test: whoever waits for the server waits in vain.
      provider: { timeout: '60s' },
    })
    const browser = scripted.world.browser()
    const tab = browser.newTab()
    await tab.navigate(`${scripted.url}/`)
    await scripted.signIn(tab)
    const kept = browser.jar.get('__Host-Http-sidegate')?.value

    const answer = await tab.fetch('/bff/logout?local=true', { method: 'POST', from: scripted.url })

    expect(answer.status).toBe(204)
    const [pair, ...attributes] = (answer.headers['set-cookie']?.[0] ?? '').split('; ')
    expect(pair).toBe('__Host-Http-sidegate=')
    expect(attributes).toEqual(expect.arrayContaining(['Path=/', 'Secure', 'HttpOnly', 'SameSite=Strict', 'Max-Age=0']))
    // Gone here, and not only in this browser.
    const stolen = { cookie: `__Host-Http-sidegate=${kept}`, 'sec-fetch-site': 'same-origin' }
    const replay = await fetch(`${scripted.url}/api/orders`, { headers: stolen })
    expect([replay.status, replay.headers.get('sidegate-error')]).toEqual([401, 'session_expired'])
    scripted.server.release()
  },
)

test('an image, a frame or a link of another site signs nobody out (CS-07)', async () => {
  const scripted = await start()
  const tab = await signedIn(scripted)
  const elsewhere = 'https://evil.example/'

  await tab.fetch(`${scripted.url}/bff/logout`, { from: elsewhere, mode: 'no-cors', credentials: 'include' })
  await tab.navigate(`${scripted.url}/bff/logout`, { from: elsewhere, frame: true })
  await tab.navigate(`${scripted.url}/bff/logout`, { from: elsewhere })

  expect(await isSignedIn(tab, scripted)).toBe(true)
})

describe('the back channel', () => {
  test('takes a posted token from anybody, with other fields beside it, and answers 200 without a body (LO-06, LO-09)', async () => {
    const scripted = await start()
    const tab = await signedIn(scripted)
    const logout_token = await scripted.server.logoutToken()

    const answer = await backChannel(scripted, { logout_token, unknown: 'x' })

    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(await answer.text()).toBe('')
    expect(await isSignedIn(tab, scripted)).toBe(false)
  })

  test('answers 200, too, when there is nobody to sign out (LO-09)', async () => {
    const scripted = await start()

    const answer = await backChannel(scripted, { logout_token: await scripted.server.logoutToken({ sub: 'nobody' }) })

    expect(answer.status).toBe(200)
  })

  test.each(['GET', 'PUT', 'DELETE'])('does not take %s (LO-06)', async (method) => {
    const scripted = await start()

    const answer = await fetch(`${scripted.url}/bff/backchannel-logout`, { method })

    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
  })

  test.each<[string, (scripted: ScriptedWorld) => Promise<string>]>([
    ['no token', async () => ''],
    [
      'two tokens',
      async ({ server }) => `logout_token=${await server.logoutToken()}&logout_token=${await server.logoutToken()}`,
    ],
    ['something else', async () => 'logout_token=x'],
    ['an unsigned one', async ({ server }) => `logout_token=${await server.logoutToken({}, { alg: 'none' })}`],
    [
      'one of another issuer',
      async ({ server }) => `logout_token=${await server.logoutToken({ iss: 'https://evil.example' })}`,
    ],
    ['one for another client', async ({ server }) => `logout_token=${await server.logoutToken({ aud: 'other' })}`],
    ['one with a nonce', async ({ server }) => `logout_token=${await server.logoutToken({ nonce: 'n' })}`],
    ['one without an event', async ({ server }) => `logout_token=${await server.logoutToken({ events: {} })}`],
    ['an access token', async ({ server }) => `logout_token=${await server.logoutToken({}, { typ: 'at+jwt' })}`],
    ['one that has expired', async ({ server }) => `logout_token=${await server.logoutToken({ exp: 1_000_000_000 })}`],
  ])('answers %s by 400 as data, and nobody is signed out (LO-07, LO-08, LO-09)', async (_name, make) => {
    const scripted = await start()
    const tab = await signedIn(scripted)

    const answer = await backChannel(scripted, await make(scripted), {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })

    expect(answer.status).toBe(400)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(await isSignedIn(tab, scripted)).toBe(true)
    const lines = scripted.world.log.lines().filter(({ event }) => event === 'logout.backchannel')
    expect(lines).toHaveLength(1)
  })

  test('answers 400 while the store is away, and the same token works afterwards (LO-09, LO-11)', async () => {
    const redis = await startRedis()
    onTestFinished(() => redis.stop())
    const scripted = await start({
      config: {
        store: { redis: { url: redis.url, commandTimeout: '300ms' } },
        session: { keys: ['A'.repeat(43)] },
      },
    })
    const tab = await signedIn(scripted)
    const logout_token = await scripted.server.logoutToken()

    redis.freeze()
    const during = await backChannel(scripted, { logout_token })
    redis.thaw()

    expect(during.status).toBe(400)
    await expect.poll(async () => (await backChannel(scripted, { logout_token })).status, { timeout: 10_000 }).toBe(200)
    expect(await isSignedIn(tab, scripted)).toBe(false)
  })

  test('takes a token once: again it is 400, and who has signed in since stays signed in (LO-11)', async () => {
    const scripted = await start()
    await signedIn(scripted, { sid: 'one' })
    const logout_token = await scripted.server.logoutToken({ sid: 'one' })
    expect((await backChannel(scripted, { logout_token })).status).toBe(200)
    const again = await signedIn(scripted, { sid: 'one' })

    const replay = await backChannel(scripted, { logout_token })

    expect(replay.status).toBe(400)
    expect(await isSignedIn(again, scripted)).toBe(true)
  })

  test.each(['one', 'a b', 'quo"te', 'c:o:l:o:n', '{brace}', "back\\slash'*?[x]"])(
    'ends the sessions of exactly the session id %j, and of nobody else (LO-10)',
    async (sid) => {
      const scripted = await start()
      const [meant, other] = [await signedIn(scripted, { sid }), await signedIn(scripted, { sid: `${sid} too` })]

      const answer = await backChannel(scripted, { logout_token: await scripted.server.logoutToken({ sid }) })

      expect(answer.status).toBe(200)
      expect(await isSignedIn(meant, scripted)).toBe(false)
      expect(await isSignedIn(other, scripted)).toBe(true)
    },
  )

  test('ends all sessions of a subject when there is no session id, and of nobody else (LO-10)', async () => {
    const scripted = await start()
    const sub = 'al "i:c{e} '
    const meant = [await signedIn(scripted, {}, sub), await signedIn(scripted, { sid: 'two' }, sub)]
    const other = await signedIn(scripted, {}, 'bob')

    await backChannel(scripted, { logout_token: await scripted.server.logoutToken({ sub }) })

    for (const tab of meant) expect(await isSignedIn(tab, scripted)).toBe(false)
    expect(await isSignedIn(other, scripted)).toBe(true)
  })
})

test('a refresh whose answer comes after the sign-out brings nothing back, and its tokens are revoked (RF-06)', async () => {
  // The sign-out's own revocation would make the refresh fail, and nothing would come late.
  const world = await startWorld({ config: { provider: { logout: { revoke: false } } } })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { tab } = await world.signedIn()
  world.clock.advance(300_000)
  const release = world.provider.hold('/token')
  const call = tab.fetch('/api/orders', { from: world.url })
  await world.provider.arrived('/token', 2)

  const signOut = await tab.fetch('/bff/logout?local=true', { method: 'POST', from: world.url })
  release()

  expect(signOut.status).toBe(204)
  expect((await call).status).toBe(401)
  expect((await tab.fetch('/api/orders', { from: world.url })).status).toBe(401)
  await world.provider.arrived('/token/revocation', 1)
  await expect.poll(() => world.provider.issued.slice(-3).some((token) => world.provider.isActive(token))).toBe(false)
})

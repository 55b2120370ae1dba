import { expect, onTestFinished, test } from 'vitest'
import { startWorld } from '../support/world.ts'
import type { World, WorldOptions } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

async function start(options: WorldOptions = {}): Promise<World> {
  const world = await startWorld(options)
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

test('signing out by fetch ends the session, revokes the refresh token and leads through the authorization server (LO-01, LO-02, LO-03)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const value = browser.jar.get(SESSION)?.value ?? ''

  const answer = await tab.fetch('/bff/logout', { method: 'POST' })

  expect(answer.status).toBe(200)
  expect(browser.jar.get(SESSION)).toBeUndefined()
  expect(await world.gateway.service.manager.peek(value)).toBeUndefined()
  expect(world.provider.issued.some((token) => world.provider.isActive(token))).toBe(false)
  const redirectUrl = answer.member('redirectUrl')
  expect(redirectUrl).not.toContain('id_token')
  await tab.navigate(redirectUrl)
  await tab.settle()
  expect(tab.page.url).toContain(`${world.url}/bff/logout/callback`)
  expect(tab.page.status).toBe(200)
  await tab.navigate(`${world.url}/`, { from: 'none' })
  await tab.navigate('/bff/login')
  expect(tab.page.url).toContain(`${world.provider.issuer}/interaction/`)
})

test('the address that leads to the authorization server’s logout works once (LO-03)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  const redirectUrl = (await tab.fetch('/bff/logout', { method: 'POST' })).member('redirectUrl')

  const first = await tab.navigate(redirectUrl, { follow: false })
  const second = await tab.navigate(new URL(redirectUrl, world.url), { follow: false })

  expect(first.status).toBe(303)
  expect(first.headers.location).toContain(`${world.provider.issuer}/session/end`)
  expect(second.headers.location ?? '').not.toContain(world.provider.issuer)
})

test('signing out by a form goes there by one 303 (LO-03)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()

  const answer = await tab.navigate('/bff/logout', { method: 'POST', form: new URLSearchParams(), follow: false })

  expect(answer.status).toBe(303)
  expect(answer.headers.location).toContain(`${world.provider.issuer}/session/end`)
  expect((await tab.fetch('/api/orders', { from: world.url })).status).toBe(401)
})

test('a local sign-out stays here: 204, the session is gone, the authorization server still knows the user', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()

  const answer = await tab.fetch('/bff/logout?local=true', { method: 'POST' })

  expect(answer.status).toBe(204)
  expect(browser.jar.get(SESSION)).toBeUndefined()
  expect((await tab.fetch('/api/orders')).status).toBe(401)
  await world.signIn(tab, { returnTo: '/again' })
  expect(tab.page.url).toBe(`${world.url}/again`)
})

test('the sign-out link of the session works for its own browser; without its token, or elsewhere, it changes nothing (CS-07)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const logoutUrl = (await tab.fetch('/bff/session')).member('logoutUrl')
  const other = await world.signedIn({ user: 'bob' })

  const bare = await tab.navigate('/bff/logout', { follow: false })
  const elsewhere = await other.tab.navigate(logoutUrl, { follow: false })

  expect([bare.status, elsewhere.status]).toEqual([200, 200])
  expect((await tab.fetch('/api/orders', { from: world.url })).status).toBe(200)
  expect((await other.tab.fetch('/api/orders', { from: world.url })).status).toBe(200)
  const meant = await tab.navigate(new URL(logoutUrl, world.url), { from: world.url, follow: false })
  expect(meant.status).toBe(303)
  expect(meant.headers.location).toContain(`${world.provider.issuer}/session/end`)
  expect(browser.jar.get(SESSION)).toBeUndefined()
})

test('a page of another site cannot sign anybody out: not by a form, a frame or a call (CS-01, CS-07)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const evil = browser.newTab()
  await evil.navigate(`${world.provider.issuer}/jwks`, { from: 'none' })

  await evil.fetch(`${world.url}/bff/logout`, { method: 'POST', mode: 'no-cors', credentials: 'include' })
  await evil.navigate(`${world.url}/bff/logout`, { frame: true })
  // By this one a Strict cookie does not come, but the answer of a top-level navigation could clear it.
  await evil.navigate(`${world.url}/bff/logout`, { method: 'POST', form: new URLSearchParams() })

  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a page of a sibling origin, with which the cookie does come, is refused the sign-out (CS-01, CS-06, CS-07)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const sibling = browser.newTab()
  const from = 'http://localhost:1/'

  const called = await sibling.fetch(`${world.url}/bff/logout`, {
    method: 'POST',
    mode: 'no-cors',
    credentials: 'include',
    from,
  })
  const posted = await sibling.navigate(`${world.url}/bff/logout`, {
    method: 'POST',
    form: new URLSearchParams(),
    from,
  })

  for (const answer of [called, posted]) {
    expect(answer.status).toBe(403)
    expect(answer.headers['sidegate-error']).toBe('csrf_rejected')
  }
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a sign-out at the authorization server ends the session here by the back channel (LO-06, LO-08)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const elsewhere = browser.newTab()

  await elsewhere.navigate(`${world.provider.issuer}/session/end`, { from: 'none' })
  await elsewhere.submit('yes')

  const answer = await tab.fetch('/api/orders')
  expect(answer.status).toBe(401)
  expect(answer.headers['set-cookie']).toBeUndefined()
})

test('signing out works while the authorization server is down (LO-01, LO-02)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  await world.provider.close()

  const answer = await tab.fetch('/bff/logout', { method: 'POST' })

  expect(answer.status).toBe(200)
  expect(browser.jar.get(SESSION)).toBeUndefined()
  expect((await tab.fetch('/api/orders')).status).toBe(401)
})

test.each<[style: string, end: (issuer: string) => string, name: string | undefined]>([
  ['auth0', (issuer) => `${issuer}/v2/logout`, 'returnTo'],
  ['cognito', (issuer) => `${issuer}/logout`, 'logout_uri'],
  ['none', () => '/bff/logout/callback', undefined],
])(
  'a server with the logout of style %s is left in its own way, and the token is revoked all the same (LO-02)',
  async (style, end, name) => {
    const world = await start({ config: { provider: { logout: { style } } } })
    const { tab } = await world.signedIn()

    const answer = await tab.fetch('/bff/logout', { method: 'POST' })
    const { headers } = await tab.navigate(answer.member('redirectUrl'), { follow: false })

    const place = new URL(headers.location ?? '', world.url)
    expect(place.href.split('?')[0]).toBe(new URL(end(world.provider.issuer), world.url).href)
    if (name === undefined) expect(place.search).toBe('')
    else {
      expect(place.searchParams.get('client_id')).toBe('shop')
      expect(place.searchParams.get(name)).toMatch(`${world.url}/bff/logout/callback`)
    }
    expect(place.href).not.toContain('id_token_hint')
    expect(world.provider.issued.some((token) => world.provider.isActive(token))).toBe(false)
  },
)

import { expect, onTestFinished, test } from 'vitest'
import type { Browser, Tab } from '../support/browser.ts'
import { startWorld } from '../support/world.ts'
import type { World, WorldOptions } from '../support/world.ts'

async function start(options: WorldOptions = {}): Promise<World> {
  const world = await startWorld(options)
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

/** A browser that has signed in at the authorization server and is about to open this callback address. */
async function beforeCallback(
  world: World,
  returnTo = '/orders',
): Promise<{ browser: Browser; tab: Tab; callback: string }> {
  const browser = world.browser()
  const tab = browser.newTab()
  await tab.navigate(`${world.url}/`)
  await tab.navigate(`/bff/login?returnTo=${encodeURIComponent(returnTo)}`)
  const redirect = await tab.submit('alice', { stopBefore: `${world.url}/bff/callback` })
  return { browser, tab, callback: redirect.headers.location ?? '' }
}

test('a callback that is loaded again in its own browser goes on to the same page, without a second token call (CB-01, CB-02, R44)', async () => {
  const world = await start()
  const { tab, callback } = await beforeCallback(world)
  await tab.navigate(callback)

  const reloaded = await tab.navigate(callback, { from: 'none', follow: false })

  expect(reloaded.status).toBe(303)
  expect(new URL(reloaded.headers.location ?? '', world.url).href).toBe(`${world.url}/orders`)
  expect(world.provider.count('authorization_code')).toBe(1)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a callback that is opened twice at once makes one token call, and both end signed in on the same page (CB-02, R49, F2-09)', async () => {
  const world = await start()
  const { browser, tab, callback } = await beforeCallback(world)
  const release = world.provider.hold('/token')
  const twin = browser.newTab()

  const pages = [tab.navigate(callback), twin.navigate(callback, { from: world.provider.issuer })]
  await world.provider.arrived('/token')
  release()

  expect((await Promise.all(pages)).map(({ url }) => url)).toEqual([`${world.url}/orders`, `${world.url}/orders`])
  expect(world.provider.count('authorization_code')).toBe(1)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
  expect((await twin.fetch('/api/orders')).status).toBe(200)
})

test('a callback in another browser is refused without a token call, and stays good in its own (CB-01)', async () => {
  const world = await start()
  const { tab, callback } = await beforeCallback(world)
  const other = world.browser()

  const stolen = await other.newTab().navigate(callback)

  expect(stolen.status).toBe(400)
  expect(stolen.headers['sidegate-error']).toBe('login_failed')
  expect(world.provider.count()).toBe(0)
  expect(other.jar.all()).toEqual([])
  expect((await tab.navigate(callback)).url).toBe(`${world.url}/orders`)
})

test('a callback that was used is refused in another browser, although the login succeeded (CB-01)', async () => {
  const world = await start()
  const { tab, callback } = await beforeCallback(world)
  await tab.navigate(callback)

  const stolen = await world.browser().newTab().navigate(callback)

  expect(stolen.status).toBe(400)
  expect(world.provider.count('authorization_code')).toBe(1)
})

test('a callback whose login failed stays refused when it is loaded again (CB-01, CB-07)', async () => {
  const world = await start()
  const { tab, callback } = await beforeCallback(world)
  const tampered = new URL(callback)
  tampered.searchParams.set('code', 'not-a-code')

  const statuses: number[] = []
  for (const url of [tampered.href, callback]) statuses.push((await tab.navigate(url)).status)

  expect(statuses).toEqual([400, 400])
  expect(world.provider.count('authorization_code')).toBe(1)
  expect((await tab.fetch('/bff/session', { from: world.url })).json()).toMatchObject({ authenticated: false })
})

test.each([
  ['without a state', (url: URL) => url.searchParams.delete('state')],
  ['with another state', (url: URL) => url.searchParams.set('state', 'A'.repeat(43))],
  ['with two states', (url: URL) => url.searchParams.append('state', url.searchParams.get('state') ?? '')],
  ['with two codes', (url: URL) => url.searchParams.append('code', 'x')],
  ['with an ID token', (url: URL) => url.searchParams.set('id_token', 'x')],
])('a callback %s is refused without a token call (CB-01, CB-08, CB-09)', async (_, change) => {
  const world = await start()
  const { tab, callback } = await beforeCallback(world)
  const changed = new URL(callback)
  change(changed)

  const answer = await tab.navigate(changed)

  expect(answer.status).toBe(400)
  expect(answer.headers['sidegate-error']).toBe('login_failed')
  expect(world.provider.count()).toBe(0)
})

test('unknown parameters of a callback are ignored (CB-08)', async () => {
  const world = await start()
  const { tab, callback } = await beforeCallback(world)

  const page = await tab.navigate(`${callback}&session_state=abc&whatever=1`)

  expect(page.url).toBe(`${world.url}/orders`)
})

test('a sign-in page left open overnight ends on a page with one way on, and nothing restarts by itself (AR-08, CB-07, R45)', async () => {
  const world = await start()
  const { tab, callback } = await beforeCallback(world)
  world.clock.advance(601_000)

  const page = await tab.navigate(callback)

  expect(page.status).toBe(400)
  expect(page.hops).toHaveLength(1)
  expect(world.provider.count()).toBe(0)
  await tab.click('/bff/login')
  expect(tab.page.url).toBe(`${world.url}/`)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a browser that keeps no cookies ends on a page and not in a loop (R46)', async () => {
  const world = await start()
  const { browser, tab, callback } = await beforeCallback(world)
  browser.jar.clear()

  const page = await tab.navigate(callback)

  expect(page.status).toBe(400)
  expect(page.hops).toHaveLength(1)
})

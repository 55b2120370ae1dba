import { expect, onTestFinished, test } from 'vitest'
import { startWorld } from '../support/world.ts'
import type { World, WorldOptions } from '../support/world.ts'

async function start(options: WorldOptions = {}): Promise<World> {
  const world = await startWorld(options)
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

test('a silent login that finds nobody signed in goes back to the app, which learns that nobody is (R48)', async () => {
  const world = await start()
  const tab = world.browser().newTab()
  await tab.navigate(`${world.url}/`)

  await tab.navigate('/bff/login?prompt=none&returnTo=/orders')

  expect(tab.page.url).toBe(`${world.url}/orders`)
  expect((await tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: false })
  expect(world.provider.count()).toBe(0)
})

test('a silent login that is refused leaves the session that there is alone (R48)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  for (const { name, domain } of browser.jar.all()) if (domain === '127.0.0.1') browser.jar.delete(name)

  await tab.navigate('/bff/login?prompt=none&returnTo=/orders')

  expect(tab.page.url).toBe(`${world.url}/orders`)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a silent login of a user who is signed in at the authorization server signs in without a page', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  await tab.fetch('/bff/logout?local=true', { method: 'POST' })

  await tab.navigate('/bff/login?prompt=none&returnTo=/orders')

  expect(tab.page.url).toBe(`${world.url}/orders`)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a login in a popup ends on a page of ours that closes it', async () => {
  const world = await start()
  const tab = world.browser().newTab()
  await tab.navigate(`${world.url}/`)
  await tab.navigate('/bff/login?mode=popup&returnTo=/orders')

  const page = await tab.submit('alice')

  expect(page.url).toBe(`${world.url}/bff/login/done`)
  expect(page.text).toContain('window.close()')
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('an answer that is signed and comes by a form signs in, at a real server (CB-11, CB-03)', async () => {
  const world = await start({
    config: { provider: { responseMode: 'form_post.jwt' } },
    provider: { configuration: { features: { jwtResponseModes: { enabled: true } } } },
  })
  const { browser, tab } = await world.signedIn({ returnTo: '/orders' })
  // The page of the server sends its form by script.
  await tab.settle()

  expect(tab.page.url).toBe(`${world.url}/orders`)
  const callback = browser.hops.find(({ url }) => new URL(url).pathname === '/bff/callback')
  expect([callback?.method, callback?.url, callback?.status]).toEqual(['POST', `${world.url}/bff/callback`, 303])
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a login whose max_age asks for a fresh sign-in gets one although the user is signed in at the authorization server (ID-09)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()

  await tab.navigate('/bff/login?max_age=0&returnTo=/orders')

  expect(tab.page.url).toContain(`${world.provider.issuer}/interaction/`)
  await tab.submit('alice')
  expect(tab.page.url).toBe(`${world.url}/orders`)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a login that asks for a stronger context ends with it, in a session of its own (ID-10, SC-08)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const before = browser.jar.get('__Host-Http-sidegate')?.value

  await tab.navigate('/bff/login?acr_values=urn:sidegate:demo:second-factor&returnTo=/safe')
  expect(tab.page.text).toContain('Confirm that it is you')
  await tab.submit('alice')

  expect(tab.page.url).toBe(`${world.url}/safe`)
  expect(browser.jar.get('__Host-Http-sidegate')?.value).not.toBe(before)
})

test.each([
  ['twice', 'returnTo=/a&returnTo=/b'],
  ['under two names', 'returnTo=/a&rd=/b'],
  ['with a type that it does not have', 'max_age=soon'],
])('a login with a known parameter given %s is refused with 400 and starts nothing (AR-14)', async (_, query) => {
  const world = await start()
  const browser = world.browser()

  const answer = await browser.newTab().navigate(`${world.url}/bff/login?${query}`, { from: 'none' })

  expect(answer.status).toBe(400)
  expect(browser.jar.all()).toEqual([])
})

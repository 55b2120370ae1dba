import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Browser, Tab } from '../support/browser.ts'
import { startWorld } from '../support/world.ts'
import type { World } from '../support/world.ts'

const TABS = 20

/** Orders in which the tabs come back. */
const orders = fc.shuffledSubarray([...Array(TABS).keys()], { minLength: TABS })

/** Twenty tabs of one browser that all stand at the sign-in page, each with its own address to return to. */
async function tabsAtSignIn(world: World): Promise<{ browser: Browser; tabs: Tab[] }> {
  const browser = world.browser()
  const tabs = Array.from({ length: TABS }, () => browser.newTab())
  for (const [index, tab] of tabs.entries()) {
    await tab.navigate(`${world.url}/tab/${index}`)
    await tab.navigate(`/bff/login?returnTo=${encodeURIComponent(`/tab/${index}?from=login`)}`)
  }
  return { browser, tabs }
}

/** What the cookies of all pending logins weigh. */
function transactionBytes(browser: Browser): number {
  const cookies = browser.jar.all().filter(({ name }) => name.includes('-tx-'))
  return cookies.reduce((sum, { name, value }) => sum + name.length + value.length, 0)
}

/** How many sessions there are in the store, this browser's or not. */
async function countSessions(world: World): Promise<number> {
  let count = 0
  for await (const refs of world.gateway.service.manager.store.refs()) count += refs.length
  return count
}

async function expectAllSignedIn(world: World, browser: Browser, tabs: readonly Tab[]): Promise<void> {
  expect(tabs.map((tab) => tab.page.url)).toEqual(tabs.map((_, index) => `${world.url}/tab/${index}?from=login`))
  expect(await countSessions(world)).toBe(1)
  expect(transactionBytes(browser)).toBe(0)
  for (const tab of tabs) expect((await tab.fetch('/api/orders')).status).toBe(200)
}

test('twenty tabs that sign in one after the other, in any order, each end on their own address, with one session left in all (R43)', async () => {
  const property = fc.asyncProperty(orders, async (order) => {
    await using world = await startWorld()
    const { browser, tabs } = await tabsAtSignIn(world)
    expect(transactionBytes(browser)).toBeLessThan(6_000)

    for (const index of order) await tabs[index]?.submit('alice')

    await expectAllSignedIn(world, browser, tabs)
  })
  await fc.assert(property, { numRuns: 2, endOnFailure: true })
})

test('twenty tabs that come back at the same moment all end signed in, in whatever order the answers arrive (R43)', async () => {
  const property = fc.asyncProperty(orders, async (order) => {
    await using world = await startWorld()
    const { browser, tabs } = await tabsAtSignIn(world)
    const release = world.provider.hold('/token')
    const gates = tabs.map(() => Promise.withResolvers<void>())
    let answered = 0
    const allAnswered = Promise.withResolvers<void>()
    // Every callback has been answered before the first of the answers arrives.
    browser.network = async ({ url }) => {
      if (url.pathname !== '/bff/callback') return
      const gate = gates[answered]
      answered += 1
      if (answered === TABS) allAnswered.resolve()
      await gate?.promise
    }

    const pages = Promise.all(tabs.map((tab) => tab.submit('alice')))
    await world.provider.arrived('/token', TABS)
    release()
    await allAnswered.promise
    for (const index of order) {
      gates[index]?.resolve()
      // Lets that answer be taken in before the next one comes.
      await new Promise((resolve) => setImmediate(resolve))
    }
    await pages

    await expectAllSignedIn(world, browser, tabs)
  })
  await fc.assert(property, { numRuns: 3, endOnFailure: true })
})

test('tabs meet although one came back before the other had its transaction (R43)', async () => {
  await using world = await startWorld()
  // Known at the provider, so that no page is in between; and nothing is left here.
  const { browser, tab: first } = await world.signedIn()
  await first.fetch('/bff/logout?local=true', { method: 'POST' })
  browser.jar.delete('__Secure-sidegate-current')
  const second = browser.newTab()

  // The answer to the second tab's login is late; the first tab is back from the provider without its cookie.
  const late = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  browser.network = async ({ url }) => {
    if (!url.searchParams.get('returnTo')?.startsWith('/second')) return
    begun.resolve()
    await late.promise
  }
  const before = world.provider.count('authorization_code')
  const release = world.provider.hold('/token')
  const secondPage = second.navigate(`${world.url}/bff/login?returnTo=/second`, { from: world.url })
  await begun.promise
  const firstPage = first.navigate(`${world.url}/bff/login?returnTo=/first`, { from: world.url })
  await world.provider.arrived('/token', before + 1)
  late.resolve()
  await world.provider.arrived('/token', before + 2)
  release()

  expect((await firstPage).url).toBe(`${world.url}/first`)
  expect((await secondPage).url).toBe(`${world.url}/second`)
  for (const tab of [first, second]) expect((await tab.fetch('/api/orders')).status).toBe(200)
  expect(await countSessions(world)).toBe(1)
})

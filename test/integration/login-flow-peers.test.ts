import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisServer } from '../support/redis.ts'
import { startWorld, until } from '../support/world.ts'
import type { World } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

let worlds = 0

/** Four gateways on one Redis, which take a browser's requests in turn. */
async function start(): Promise<World> {
  worlds += 1
  const world = await startWorld({
    peers: 3,
    provider: { accessTokenSeconds: 120 },
    config: {
      // Each world has keys of its own in the one Redis.
      name: `world-${worlds}`,
      session: { keys: [KeyRing.generateKey()] },
      store: { redis: { url: redis.url } },
    },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

test('a login that begins at one instance ends at another, and every instance knows the session', async () => {
  const world = await start()

  const { tab } = await world.signedIn({ returnTo: '/orders' })

  expect(tab.page.url).toBe(`${world.url}/orders`)
  for (let call = 0; call < 8; call += 1) expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('a callback that is opened at two instances at once makes one token call (CB-02)', async () => {
  const world = await start()
  const browser = world.browser()
  const tab = browser.newTab()
  await tab.navigate(`${world.url}/`)
  await tab.navigate('/bff/login?returnTo=/orders')
  const redirect = await tab.submit('alice', { stopBefore: `${world.url}/bff/callback` })
  const callback = redirect.headers.location ?? ''
  const release = world.provider.hold('/token')

  const from = world.provider.issuer
  const pages = [tab, browser.newTab(), browser.newTab()].map((each) => each.navigate(callback, { from }))
  await world.provider.arrived('/token')
  release()

  expect((await Promise.all(pages)).map(({ url }) => url)).toEqual(Array(3).fill(`${world.url}/orders`))
  expect(world.provider.count('authorization_code')).toBe(1)
})

test('two hundred calls at once over four instances refresh a stale token once (RF-03, R2)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  world.clock.advance(280_000)

  const answers = await Promise.all(Array.from({ length: 200 }, () => tab.fetch('/api/orders')))

  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(world.provider.count('refresh_token')).toBe(1)
  expect(new Set(world.upstream.requests.map(({ headers }) => headers.authorization)).size).toBe(1)
})

test('a session that ends at one instance has ended at all of them', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const value = browser.jar.get(SESSION)?.value ?? ''
  // Every instance has it in its memory now.
  for (let call = 0; call < 8; call += 1) await tab.fetch('/api/orders')

  await tab.fetch('/bff/logout?local=true', { method: 'POST' })

  browser.jar.set(`${SESSION}=${value}; Secure; HttpOnly; Path=/; SameSite=Strict`, new URL(world.url), 'strict')
  await until(async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => tab.fetch('/api/orders')))
    return answers.every(({ status }) => status === 401)
  })
})

test('twenty tabs that come back at once to four instances all end signed in with one session (R43)', async () => {
  const world = await start()
  const browser = world.browser()
  const tabs = Array.from({ length: 20 }, () => browser.newTab())
  for (const [index, tab] of tabs.entries()) {
    await tab.navigate(`${world.url}/`)
    await tab.navigate(`/bff/login?returnTo=/tab/${index}`)
  }
  const release = world.provider.hold('/token')

  const pages = Promise.all(tabs.map((tab) => tab.submit('alice')))
  await world.provider.arrived('/token', 20)
  release()
  await pages

  expect(tabs.map((tab) => tab.page.url)).toEqual(tabs.map((_, index) => `${world.url}/tab/${index}`))
  let sessions = 0
  for await (const refs of world.gateway.service.manager.store.refs()) sessions += refs.length
  expect(sessions).toBe(1)
  for (const tab of tabs) expect((await tab.fetch('/api/orders')).status).toBe(200)
})

test('five hundred calls on a stale token over four gateways are one refresh and five hundred answers with the new token (RF-03, R2)', async () => {
  const world = await start()
  const { browser } = await world.signedIn()
  const name = `__Host-Http-${world.config.name}`
  const cookie = `${name}=${browser.jar.get(name)?.value ?? ''}`
  const before = world.provider.count('refresh_token')
  world.clock.advance(5 * 60_000)

  const answers = await Promise.all(
    Array.from({ length: 500 }, async (_, n) => {
      const { address } = world.instances[n % world.instances.length]!
      const response = await fetch(`${address}/api/${n}`, { headers: { cookie, 'sec-fetch-site': 'same-origin' } })
      await response.arrayBuffer()
      return response.status
    }),
  )

  expect(new Set(answers)).toEqual(new Set([200]))
  expect(world.provider.count('refresh_token') - before).toBe(1)
  const sent = world.upstream.requests.slice(-500).map(({ headers }) => headers.authorization)
  expect(new Set(sent).size).toBe(1)
})

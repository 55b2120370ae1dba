/** A whole gateway while Redis is away, and what it leaves there while all is well. */
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { freePort, startRedis } from '../support/redis.ts'
import { type ConfigInput, startWorld, until, type World } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

async function start(redisUrl: string, config: ConfigInput = {}): Promise<World> {
  const world = await startWorld({
    config: ({ upstream }) => ({
      store: { redis: { url: redisUrl, commandTimeout: '300ms' } },
      session: { keys: [KeyRing.generateKey()] },
      routes: [
        { path: '/api', upstream, session: 'required' },
        { path: '/open', upstream, session: 'none' },
        { path: '/optional', upstream, session: 'optional' },
        { path: '/', spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname }, session: 'none' },
      ],
      ...config,
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  await until(async () => (await fetch(`${world.gateway.managementUrl}/readyz`)).ok)
  return world
}

/** Logins that were redeemed so far. */
const logins = (world: World) => world.provider.count('authorization_code')

test('Redis is gone: sessions wait with 503 and keep their cookies, everything else goes on, and it heals by itself (R31, R34)', async () => {
  const port = await freePort()
  const redis = await startRedis({ port })
  const world = await start(redis.url)
  const { browser, tab } = await world.signedIn()
  const cookie = browser.jar.get(SESSION)?.value
  const visitor = world.browser().newTab()
  await visitor.navigate(`${world.url}/`)
  await redis.kill()

  for (const path of ['/api/orders', '/optional', '/bff/session', '/bff/user', '/bff/sessions']) {
    const answer = await tab.fetch(path)
    expect([path, answer.status, answer.headers['sidegate-error']]).toEqual([path, 503, 'store_unavailable'])
    expect(answer.headers['retry-after']).toMatch(/^[1-9]\d?$/)
    expect(answer.headers['set-cookie']).toBeUndefined()
  }
  expect(browser.jar.get(SESSION)?.value).toBe(cookie)
  expect([(await tab.fetch('/open')).status, (await tab.navigate('/')).status]).toEqual([200, 200])
  expect((await visitor.fetch('/optional')).status).toBe(200)
  expect((await visitor.fetch('/bff/session')).json()).toMatchObject({ authenticated: false })
  expect((await visitor.fetch('/api/orders')).status).toBe(401)
  const health = await fetch(`${world.gateway.managementUrl}/healthz`)
  const ready = await fetch(`${world.gateway.managementUrl}/readyz`)
  expect([health.status, ready.status, await ready.json()]).toEqual([
    200,
    200,
    expect.objectContaining({ degraded: ['store'] }),
  ])

  const reborn = await startRedis({ port })
  onTestFinished(async () => {
    await reborn.stop()
    await redis.stop()
  })
  await until(async () => (await tab.fetch('/api/orders')).status !== 503)
  // All data is lost: one login, and that is it.
  const before = logins(world)
  expect((await tab.fetch('/api/orders')).headers['sidegate-error']).toBe('session_expired')
  await world.signIn(tab)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
  expect(logins(world) - before).toBe(1)
})

test('a logout while Redis is gone clears the cookie all the same, and a callback says that it cannot be finished now (SC-12)', async () => {
  const redis = await startRedis()
  onTestFinished(() => redis.stop())
  const world = await start(redis.url)
  const { browser, tab } = await world.signedIn()
  const other = world.browser().newTab()
  const begun = await other.navigate(`${world.url}/bff/login`, { from: 'none', follow: false })
  const callback = await world.provider.login(begun.headers.location ?? '')
  await redis.kill()

  const callbackAnswer = await other.navigate(callback, { from: world.provider.issuer })
  const signedOut = await tab.fetch('/bff/logout?local=true', { method: 'POST' })

  expect([callbackAnswer.status, callbackAnswer.headers['sidegate-error']]).toEqual([503, 'store_unavailable'])
  expect(logins(world)).toBe(1)
  expect(signedOut.status).toBe(204)
  expect(browser.jar.get(SESSION)).toBeUndefined()
})

test('logins that are never finished leave nothing in Redis, but for long return addresses, which go by themselves (R41)', async () => {
  const redis = await startRedis()
  const operator = new Redis(redis.url)
  onTestFinished(async () => {
    operator.disconnect()
    await redis.stop()
  })
  const world = await start(redis.url)
  const tab = world.browser().newTab()
  const begin = (returnTo: string) =>
    tab.navigate(`${world.url}/bff/login?returnTo=${encodeURIComponent(returnTo)}`, { from: 'none', follow: false })
  const keys = () => operator.keys('sidegate:*')
  const base = (await keys()).length

  for (let n = 0; n < 100; n += 1) expect((await begin(`/orders?page=${n}`)).status).toBe(302)
  expect(await keys()).toHaveLength(base)

  for (let n = 0; n < 20; n += 1) await begin(`/orders?${'x'.repeat(400)}${n}`)
  const kept = (await keys()).filter((key) => key.startsWith('sidegate:r:'))
  expect(kept).toHaveLength(20)
  for (const key of kept) {
    const lifetime = await operator.pttl(key)
    expect(lifetime).toBeGreaterThan(0)
    expect(lifetime).toBeLessThanOrEqual(600_000)
    expect(await operator.memory('USAGE', key)).toBeLessThanOrEqual(1_024)
  }
})

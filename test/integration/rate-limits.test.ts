import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import { RateLimiter } from '../../src/http/rate-limit.ts'
import { SharedRateLimiter } from '../../src/http/shared-rate-limit.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import type { Answer } from '../support/browser.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { redisConfig } from '../support/sessions.ts'
import { startWorld, until, type World, type WorldOptions } from '../support/world.ts'

const silentLog = { debug() {}, info() {}, warn() {}, error() {} }
const keys = [KeyRing.generateKey()]
let redis: RedisServer
let client: Redis

beforeAll(async () => {
  redis = await startRedis()
  client = new Redis(redis.url)
})
afterAll(async () => {
  client.disconnect()
  await redis.stop()
})
beforeEach(async () => void (await client.flushall()))

async function start(rateLimits: object, options: WorldOptions = {}): Promise<World> {
  const world = await startWorld({
    peers: 1,
    ...options,
    config: { store: { redis: { url: redis.url } }, session: { keys }, rateLimits: { login: 'off', ...rateLimits } },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

/** Starts a login; a browser's requests go to the instances in turn. */
function login(world: World, browser = world.browser()): Promise<Answer> {
  return browser.newTab().navigate(`${world.url}/bff/login`, { from: 'none', follow: false })
}

function answers(store: RedisStore): Promise<boolean> {
  return store.probe().then(
    () => true,
    () => false,
  )
}

test('two instances count logins of an address together, and say when to come again', async () => {
  const world = await start({ login: '3/min' })
  const browser = world.browser()

  const answers = []
  for (let turn = 0; turn < 6; turn += 1) answers.push(await login(world, browser))

  expect(answers.map(({ status }) => status)).toEqual([302, 302, 302, 429, 429, 429])
  const retryAfter = Number(answers.at(-1)?.headers['retry-after'])
  expect(retryAfter).toBeGreaterThan(30)
  expect(retryAfter).toBeLessThanOrEqual(60)
})

test('API calls are counted for each session, wherever they arrive', async () => {
  const world = await start({ api: '4/min' })
  const [{ tab: alice }, { tab: bob }] = [await world.signedIn(), await world.signedIn({ user: 'bob' })]

  const calls = []
  for (let call = 0; call < 6; call += 1) calls.push((await alice.fetch('/api/x')).status)

  expect(calls).toEqual([200, 200, 200, 200, 429, 429])
  expect((await bob.fetch('/api/x')).status).toBe(200)
})

test('what is counted names no address, lies under the prefix and goes by itself', async () => {
  const world = await start({ login: '3/min' })
  await login(world)

  const counts = await client.keys('sidegate:c:*')

  expect(counts).toEqual([expect.stringMatching(/^sidegate:c:\{[\w-]{20,}\}$/)])
  const left = await client.pttl(counts[0] ?? '')
  expect(left).toBeGreaterThan(0)
  expect(left).toBeLessThanOrEqual(60_000)
})

test('while Redis does not answer nobody is refused for it, and each instance counts for itself (R31)', async () => {
  const own = await startRedis()
  onTestFinished(() => own.stop())
  const store = new RedisStore({
    config: redisConfig({ url: own.url, commandTimeout: 200 }),
    name: 'sidegate',
    log: silentLog,
  })
  onTestFinished(() => store.close())
  const warnings: string[] = []
  const limiter = new SharedRateLimiter({
    counter: store,
    keyRing: new KeyRing(keys),
    own: new RateLimiter({ now: Date.now }),
    log: { ...silentLog, warn: (_fields, message) => void warnings.push(message) },
  })
  const rate = { limit: 2, windowMs: 60_000 }
  const allowed = async () => (await limiter.take('login 192.0.2.1', rate)).allowed
  await until(() => answers(store))
  expect([await allowed(), await allowed(), await allowed()]).toEqual([true, true, false])

  own.freeze()
  expect([await allowed(), await allowed(), await allowed()]).toEqual([true, true, false])
  expect(warnings).toHaveLength(1)

  own.thaw()
  await until(() => answers(store))
  // The window that was begun in Redis holds again.
  expect(await allowed()).toBe(false)
  expect(await limiter.take('login 192.0.2.2', rate)).toEqual({ allowed: true, retryAfterSeconds: 60 })
})

test('a count that would never end, or is none, begins anew or counts here', async () => {
  const store = new RedisStore({ config: redisConfig({ url: redis.url }), name: 'sidegate', log: silentLog })
  onTestFinished(() => store.close())
  await until(() => answers(store))
  await client.set('sidegate:c:{forever}', 1_000)
  await client.hset('sidegate:c:{hash}', 'a', 'b', 'c', 'd')
  await client.pexpire('sidegate:c:{hash}', 60_000)

  expect(await store.countUse('c:{forever}', 1, 1_000)).toEqual({ allowed: true, endsInMs: 1_000 })
  await expect(store.countUse('c:{hash}', 1, 1_000)).rejects.toMatchObject({ code: 'store_unavailable' })
})

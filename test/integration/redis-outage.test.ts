import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import type { BffError } from '../../src/errors.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { freePort, type RedisServer, startRedis } from '../support/redis.ts'
import { managerWorld, Recorder, redisConfig, REQUEST, untilInStep } from '../support/sessions.ts'

const realTime = Object.assign(Date.now, { advance: () => {} })
const noCache = { cache: { maxEntries: 0, ttl: 0 } }

/** A gateway's session side over this Redis, closed after the test. */
async function gateway(url: string, settings: Parameters<typeof managerWorld>[0] = {}, commandTimeout = 500) {
  const log = new Recorder()
  const store = new RedisStore({ config: redisConfig({ url, commandTimeout }), name: 'sidegate', log })
  const world = managerWorld({ store, clock: realTime, ...settings })
  onTestFinished(async () => {
    await world.manager.close()
    await store.close()
  })
  await untilInStep(store)
  const login = () => world.manager.create({ provider: 'default', result: world.provider.login() })
  return { ...world, store, storeLog: log, login }
}

async function redisServer(args: string[] = []): Promise<RedisServer> {
  const redis = await startRedis({ args })
  onTestFinished(() => redis.stop())
  return redis
}

async function behindProxy(args: string[] = []): Promise<{ redis: RedisServer; proxy: FaultProxy; url: string }> {
  const redis = await redisServer(args)
  const proxy = await startFaultProxy(redis.port)
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return { redis, proxy, url: `redis://127.0.0.1:${proxy.port}` }
}

/** An operator's connection to the server, past our own. */
function operator(redis: RedisServer): Redis {
  const client = new Redis(redis.url)
  onTestFinished(() => client.disconnect())
  return client
}

const code = (error: BffError) => error.code

test('Redis is killed: 503 within the time-out and at once after that; it comes back, and so do we (R31, R34)', async () => {
  const port = await freePort()
  const redis = await startRedis({ port })
  const { manager, login } = await gateway(redis.url, { settings: noCache })
  const { cookieValue } = await login()
  await redis.kill()

  const started = performance.now()
  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({
    code: 'store_unavailable',
    statusCode: 503,
    retryAfterSeconds: 5,
  })
  expect(performance.now() - started).toBeLessThan(1_000)
  const answers = await Promise.all(
    Array.from({ length: 1_000 }, () => manager.resolve(cookieValue, REQUEST).then(() => 'ok', code)),
  )
  expect(new Set(answers)).toEqual(new Set(['store_unavailable']))

  const reborn = await startRedis({ port })
  onTestFinished(async () => {
    await reborn.stop()
    await redis.stop()
  })
  // All data is lost: one clean login, no failure.
  await expect
    .poll(() => manager.resolve(cookieValue, REQUEST).then(() => 'ok', code), { timeout: 5_000 })
    .toBe('session_expired')
  await expect(login()).resolves.toBeDefined()
})

test('Redis is frozen: every request has its answer in time, nothing piles up, and it heals (R32)', async () => {
  const redis = await redisServer()
  const { manager, login } = await gateway(redis.url, { settings: noCache }, 1_000)
  const made: Awaited<ReturnType<typeof login>>[] = []
  while (made.length < 400) made.push(...(await Promise.all(Array.from({ length: 20 }, login))))
  redis.freeze()
  const times: number[] = []
  const ask = async (cookieValue: string) => {
    const started = performance.now()
    const answer = await manager.resolve(cookieValue, REQUEST).then(() => 'ok', code)
    times.push(performance.now() - started)
    return answer
  }
  const answers: Promise<string>[] = []
  for (let i = 0; i < 150; i++) {
    // Others each time: reads of one session at once are one.
    const first = (i * 8) % made.length
    for (const { cookieValue } of made.slice(first, first + 8)) answers.push(ask(cookieValue))
    await delay(20)
  }

  expect(new Set(await Promise.all(answers))).toEqual(new Set(['store_unavailable']))
  expect(Math.max(...times)).toBeLessThan(1_600)
  // Most were refused at once: a server that does not answer is not asked by everyone.
  expect(times.filter((time) => time < 50).length).toBeGreaterThan(times.length / 2)
  redis.thaw()
  await expect
    .poll(() => manager.resolve(made[0]?.cookieValue ?? '', REQUEST).then(() => 'ok', code), { timeout: 3_000 })
    .toBe('ok')
  for (const { cookieValue } of made) await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
})

test('Redis is slow: it works, more slowly (R33)', async () => {
  const { proxy, url } = await behindProxy()
  const { manager, login } = await gateway(url, { settings: noCache })
  const { cookieValue } = await login()
  proxy.set({ kind: 'delay', ms: 100 }) // each way: 200 ms a command

  await expect(
    Promise.all(Array.from({ length: 50 }, () => manager.resolve(cookieValue, REQUEST))),
  ).resolves.toHaveLength(50)
})

test('every connection is cut again and again: requests fail cleanly or work, and nothing else happens (R31)', async () => {
  const { proxy, url } = await behindProxy()
  const { manager, login, store } = await gateway(url, { settings: noCache })
  const { cookieValue } = await login()
  const answers = new Set<string>()
  for (let i = 0; i < 40; i++) {
    const asked = Array.from({ length: 20 }, () => manager.resolve(cookieValue, REQUEST).then(() => 'ok', code))
    if (i % 4 === 0) proxy.cut()
    for (const answer of await Promise.all(asked)) answers.add(answer)
    await delay(20)
  }

  expect([...answers].filter((answer) => answer !== 'ok' && answer !== 'store_unavailable')).toEqual([])
  await untilInStep(store)
  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
})

test('a data connection that went silent is replaced (R32)', async () => {
  const { proxy, url } = await behindProxy()
  const { manager, login } = await gateway(url, { settings: noCache })
  const { cookieValue } = await login()

  expect(proxy.blackhole(({ sent }) => !/subscribe/i.test(sent))).toBeGreaterThan(0)

  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'store_unavailable' })
  await expect.poll(() => manager.resolve(cookieValue, REQUEST).then(() => 'ok', code), { timeout: 8_000 }).toBe('ok')
})

test('a subscription that went silent is noticed: within a second nothing that ended is served, and it heals', async () => {
  const { redis, proxy, url } = await behindProxy()
  const here = await gateway(url)
  const there = await gateway(redis.url, { keyRing: here.keyRing })
  const { cookieValue, session } = await here.login()
  const heard: unknown[] = []
  here.manager.onSessionEvent(session.ref, (event) => heard.push(event))
  expect(here.manager.tryResolve(cookieValue, REQUEST)).toBeDefined()

  expect(proxy.blackhole(({ sent }) => /subscribe/i.test(sent))).toBe(1)
  const endedAt = performance.now()
  await there.manager.end(cookieValue, 'logout')
  await expect
    .poll(() => here.manager.resolve(cookieValue, REQUEST).then(() => 'ok', code), { interval: 10, timeout: 2_000 })
    .toBe('session_expired')

  expect(performance.now() - endedAt).toBeLessThan(1_100)
  // The event never arrived; whoever holds something open is told all the same.
  await expect.poll(() => heard, { timeout: 2_000 }).toEqual([{ type: 'ended', reason: 'unknown' }])
  await untilInStep(here.store)
  const again = await here.login()
  expect(here.manager.tryResolve(again.cookieValue, REQUEST)).toBeDefined()
})

test('after a gap in the subscription nothing from before it is served from the cache', async () => {
  const { redis, proxy, url } = await behindProxy()
  const here = await gateway(url)
  const there = await gateway(redis.url, { keyRing: here.keyRing })
  const { cookieValue } = await here.login()
  proxy.refuse(true)
  proxy.cut()
  await there.manager.end(cookieValue, 'logout')
  proxy.refuse(false)
  await untilInStep(here.store)

  expect(here.manager.tryResolve(cookieValue, REQUEST)).toBeUndefined()
  await expect(here.manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
})

test('what is read while nobody listens is not trusted once somebody listens again', async () => {
  const { redis, proxy, url } = await behindProxy()
  const here = await gateway(url)
  const there = await gateway(redis.url, { keyRing: here.keyRing })
  const { cookieValue } = await here.login()
  const isSubscription = ({ sent }: { sent: string }) => /subscribe/i.test(sent)
  proxy.refuse(true)
  proxy.blackhole(isSubscription)
  // Given up, and the next attempt fails: there is no subscription, and the data connection works.
  for (let lost = 0; lost < 3; lost++) await new Promise<void>((resolve) => here.store.onDoubt(resolve))
  await here.manager.peek(cookieValue)
  await there.manager.end(cookieValue, 'logout')
  proxy.refuse(false)
  await untilInStep(here.store)

  expect(here.manager.tryResolve(cookieValue, REQUEST)).toBeUndefined()
})

test('a subscription that lags is out of step, although ticks keep arriving', async () => {
  const { redis, proxy, url } = await behindProxy()
  const here = await gateway(url)
  const there = await gateway(redis.url, { keyRing: here.keyRing })
  const { cookieValue } = await here.login()
  expect(proxy.slow(({ sent }) => /subscribe/i.test(sent), 1_500)).toBe(1)
  await there.manager.end(cookieValue, 'logout')
  await delay(1_100)

  expect(here.manager.tryResolve(cookieValue, REQUEST)).toBeUndefined()
  for (let i = 0; i < 10; i++) {
    expect(here.store.inStep).toBe(false)
    await delay(100)
  }
})

test('the master becomes a read-only replica: 503 for writes, not a crash, and it is left as soon as there is a way (R36)', async () => {
  const redis = await redisServer()
  const { manager, login, store } = await gateway(redis.url, { settings: noCache })
  const { cookieValue } = await login()
  await operator(redis).replicaof('127.0.0.1', String(await freePort()))

  await expect(login()).rejects.toMatchObject({ code: 'store_unavailable' })
  await expect(store.probe()).rejects.toMatchObject({ code: 'store_unavailable' })
  await operator(redis).replicaof('NO', 'ONE')
  await expect.poll(() => login().then(() => 'ok', code), { timeout: 4_000 }).toBe('ok')
  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
})

test('after a fail-over behind one address the old master, a replica now, is left by itself (R35, R36)', async () => {
  const { redis: old, proxy, url } = await behindProxy(['--repl-diskless-sync-delay', '0'])
  const successor = await redisServer(['--replicaof', '127.0.0.1', String(old.port)])
  const { manager, login, store } = await gateway(url, { settings: noCache })
  const { cookieValue } = await login()
  const watcher = operator(successor)
  await expect.poll(() => watcher.dbsize(), { timeout: 8_000 }).toBeGreaterThan(0)

  await watcher.replicaof('NO', 'ONE')
  await operator(old).replicaof('127.0.0.1', String(successor.port))
  proxy.retarget(successor.port)

  await expect.poll(() => login().then(() => 'ok', code), { timeout: 6_000 }).toBe('ok')
  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
  await untilInStep(store)
})

test('Redis is away between the server’s answer and the write: the new tokens are held and stored (R10)', async () => {
  const { redis, proxy, url } = await behindProxy()
  const here = await gateway(url, { settings: noCache })
  const there = await gateway(redis.url, { keyRing: here.keyRing, settings: noCache })
  const { cookieValue } = await here.login()
  here.provider.script.push(async () => {
    proxy.refuse(true)
    proxy.cut()
    setTimeout(() => proxy.refuse(false), 2_000)
    return here.provider.succeed()
  })

  expect((await here.manager.refreshNow(cookieValue)).tokens.accessToken).toBe('access-2')
  expect((await there.manager.peek(cookieValue))?.tokens).toMatchObject({ refreshToken: 'refresh-2' })
  expect(here.provider.asked).toEqual(['refresh-1'])
  expect(here.provider.revoked).toEqual([])
})

test.each([
  ['a strict server: one clean end', { kind: 'rejected', reason: 'invalid_grant' } as const, 'session_expired'],
  ['a server with a reuse interval: nobody notices', undefined, 'ok'],
])('a rotation is lost in a fail-over; at %s, and no loop (R35, R5)', async (_name, answer, outcome) => {
  const redis = await redisServer()
  const { manager, login, provider } = await gateway(redis.url, { settings: noCache })
  const client = operator(redis)
  const { cookieValue, session } = await login()
  const key = `sidegate:s:{${session.ref}}`
  const replicated = (await client.dumpBuffer(key)) ?? Buffer.alloc(0)
  await manager.refreshNow(cookieValue)

  // The replica that takes over had not yet been told.
  await client.call('RESTORE', key, '0', replicated, 'REPLACE')
  expect((await manager.resolve(cookieValue, REQUEST)).tokens.accessToken).toBe('access-1')
  if (answer) provider.script.push(() => answer)
  const refreshed = await manager.refreshNow(cookieValue).then(() => 'ok', code)
  const again = await manager.resolve(cookieValue, REQUEST).then(() => 'ok', code)

  expect([refreshed, again]).toEqual([outcome, outcome])
  expect(provider.asked).toEqual(['refresh-1', 'refresh-1'])
})

test('only the data connection fails over: the subscription left behind is noticed and replaced', async () => {
  const { redis: old, proxy, url } = await behindProxy(['--repl-diskless-sync-delay', '0'])
  const successor = await redisServer(['--replicaof', '127.0.0.1', String(old.port)])
  const here = await gateway(url)
  const { cookieValue } = await here.login()
  const watcher = operator(successor)
  await expect.poll(() => watcher.dbsize(), { timeout: 8_000 }).toBeGreaterThan(0)
  await watcher.replicaof('NO', 'ONE')

  // The old master lives on, alone, and still has our subscription; what is published goes to the new one.
  proxy.retarget(successor.port)
  proxy.cut(({ sent }) => !/subscribe/i.test(sent))
  const there = await gateway(successor.url, { keyRing: here.keyRing })
  await there.manager.end(cookieValue, 'logout')
  await expect
    .poll(() => here.manager.resolve(cookieValue, REQUEST).then(() => 'ok', code), { timeout: 2_000 })
    .toBe('session_expired')

  await untilInStep(here.store)
  const { cookieValue: next, session } = await there.login()
  await here.manager.resolve(next, REQUEST)
  const heard: unknown[] = []
  here.manager.onSessionEvent(session.ref, (event) => heard.push(event))
  await there.manager.end(next, 'logout')
  await expect.poll(() => heard).toEqual([{ type: 'ended', reason: 'logout' }])
})

test('Redis is full: sessions go on, logins get 503 with the reason in the log, and the probe says so (R37)', async () => {
  const redis = await redisServer()
  const { manager, login, store } = await gateway(redis.url, { settings: noCache })
  const { cookieValue } = await login()
  await operator(redis).config('SET', 'maxmemory', '1mb')

  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
  await expect(login()).rejects.toMatchObject({ code: 'store_unavailable', message: 'Redis is full' })
  await expect(store.probe()).rejects.toMatchObject({ message: 'Redis is full' })
  await expect(manager.end(cookieValue, 'logout')).resolves.toBeDefined()
})

test('one session is evicted or deleted by hand: that user signs in again, nobody else (R38)', async () => {
  const redis = await redisServer()
  const { manager, login } = await gateway(redis.url, { settings: noCache })
  const [mine, other] = [await login(), await login()]
  await operator(redis).del(`sidegate:s:{${mine.session.ref}}`)

  await expect(manager.resolve(mine.cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  await expect(manager.resolve(other.cookieValue, REQUEST)).resolves.toBeDefined()
})

test.each([
  ['a string', (client: Redis, key: string) => client.set(key, 'garbage')],
  ['a list', (client: Redis, key: string) => client.lpush(key, 'x')],
  ['a hash of something else', (client: Redis, key: string) => client.hset(key, 'x', '1')],
  ['a version that is none', (client: Redis, key: string) => client.hset(key, { v: 'x', k: 'k', d: 'd', t: 't' })],
  ['a record cut short', (client: Redis, key: string) => client.hset(key, { v: '1', k: 'k', t: '1', d: 'short' })],
])('%s under a session key is no session, and stays where it is (R39)', async (_name, write) => {
  const redis = await redisServer()
  const { manager, login } = await gateway(redis.url, { settings: noCache })
  const { cookieValue, session } = await login()
  const client = operator(redis)
  const key = `sidegate:s:{${session.ref}}`
  await client.del(key)
  await write(client, key)

  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  expect(await client.exists(key)).toBe(1)
  expect(await manager.end(cookieValue, 'logout')).toBeUndefined()
  expect(await client.exists(key)).toBe(0)
})

test('a wrong password is a reason in the log, without the password (R40)', async () => {
  const redis = await redisServer(['--requirepass', 'the-right-one'])
  const log = new Recorder()
  const config = redisConfig({ url: `redis://:the-wrong-one@127.0.0.1:${redis.port}` })
  const store = new RedisStore({ config, name: 'sidegate', log })
  onTestFinished(() => store.close())

  await expect(store.probe()).rejects.toMatchObject({ code: 'store_unavailable' })
  await expect
    .poll(() => log.lines.map(({ fields }) => String(fields.err)))
    .toContainEqual(expect.stringMatching(/WRONGPASS/))
  expect(log.lines.flatMap(({ fields }) => Object.values(fields).flatMap(everything)).join()).not.toContain(
    'the-wrong-one',
  )
})

test('the password may stand beside the URL, and a database be chosen', async () => {
  const redis = await redisServer(['--requirepass', 'p@ss/word'])
  const config = redisConfig({ url: `redis://127.0.0.1:${redis.port}/3`, password: 'p@ss/word', prefix: 'shop:' })
  const store = new RedisStore({ config, name: 'sidegate', log: new Recorder() })
  onTestFinished(() => store.close())
  await untilInStep(store)
  await store.note('j:{x}', 'used', 10_000)
  const client = new Redis(`redis://:${encodeURIComponent('p@ss/word')}@127.0.0.1:${redis.port}/3`)
  onTestFinished(() => client.disconnect())

  expect(await client.get('shop:j:{x}')).toBe('used')
})

test('a user whose rights end with the prefix can do all that a gateway does', async () => {
  const redis = await redisServer()
  await operator(redis).acl(
    'SETUSER',
    'gateway',
    'on',
    '>secret',
    '~sidegate:*',
    '&sidegate:*',
    '+@all',
    '-@dangerous',
    '-@admin',
  )
  const { manager, login, store, storeLog } = await gateway(`redis://gateway:secret@127.0.0.1:${redis.port}`)
  const { cookieValue, session } = await login()
  await manager.refreshNow(cookieValue)

  expect(await manager.list(session)).toHaveLength(1)
  await store.probe()
  expect(await manager.endAll('revoked_by_admin')).toBe(1)
  expect(storeLog.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
})

test('at start an operator is warned of eviction and of missing persistence, and of nothing else (R37)', async () => {
  const bad = await redisServer(['--maxmemory-policy', 'allkeys-lru'])
  const good = await redisServer(['--appendonly', 'yes'])
  const { storeLog } = await gateway(bad.url)
  const quiet = await gateway(good.url)

  const warnings = () => storeLog.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)
  await expect.poll(warnings).toHaveLength(2)
  expect(warnings()).toEqual([
    expect.stringContaining('maxmemory-policy is allkeys-lru'),
    expect.stringContaining('persists nothing'),
  ])
  expect(await quiet.store.warnings()).toEqual([])
})

test.each([
  ['redis://10.0.0.5:6379', true],
  ['redis://redis:6379', true],
  ['rediss://redis:6379', false],
  ['redis://127.0.0.1:6379', false],
  ['redis://localhost', false],
  ['redis://[::1]:6379', false],
  ['/run/redis.sock', false],
])('%s is warned about for its missing TLS: %s', async (url, isWarned) => {
  const store = new RedisStore({ config: redisConfig({ url, commandTimeout: 50 }), name: 'x', log: new Recorder() })
  const warnings = await store.warnings()
  await store.close()

  expect(warnings.some((warning) => warning.includes('without TLS'))).toBe(isWarned)
})

test('a steady load costs no command when cached, and one read when not (R42)', async () => {
  const redis = await redisServer()
  const cached = await gateway(redis.url)
  const uncached = await gateway(redis.url, { settings: noCache, keyRing: cached.keyRing })
  const { cookieValue } = await cached.login()
  const client = operator(redis)
  const commands = async (run: () => Promise<void>) => {
    await client.config('RESETSTAT')
    await run()
    const stats = await client.info('commandstats')
    const count = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
    return { reads: count('hmget') + count('hget') + count('get'), touches: count('evalsha') + count('eval') }
  }

  const hits = await commands(async () => {
    for (let i = 0; i < 1_000; i++) await cached.manager.resolve(cookieValue, REQUEST)
  })
  const misses = await commands(async () => {
    for (let i = 0; i < 1_000; i++) await uncached.manager.resolve(cookieValue, REQUEST)
  })

  expect(hits.reads).toBe(0)
  expect(hits.touches).toBeLessThanOrEqual(2)
  expect(misses.reads).toBeLessThanOrEqual(1_005)
  expect(misses.touches).toBeLessThanOrEqual(45)
})

/** Every text in a value, causes included. */
function everything(value: unknown): string[] {
  if (value instanceof Error) {
    return [value.message, value.stack ?? '', JSON.stringify(value), ...everything(value.cause)]
  }
  return [JSON.stringify(value) ?? '']
}

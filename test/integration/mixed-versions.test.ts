/** Two versions of the gateway on one Redis, and the way back (R29). */
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { openTransactions, sealTransaction } from '../../src/http/login-cookies.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import type { Session } from '../../src/session/session.ts'
import { startRedis } from '../support/redis.ts'
import { managerWorld, manualClock, Recorder, redisConfig, REQUEST, untilInStep } from '../support/sessions.ts'
import { startWorld } from '../support/world.ts'

async function gateway() {
  const redis = await startRedis()
  const storeLog = new Recorder()
  const store = new RedisStore({ config: redisConfig({ url: redis.url }), name: 'sidegate', log: storeLog })
  const operator = new Redis(redis.url)
  const clock = manualClock(Date.now())
  const world = managerWorld({ store, clock, settings: { cache: { maxEntries: 0, ttl: 0 } } })
  onTestFinished(async () => {
    operator.disconnect()
    await world.manager.close()
    await store.close()
    await redis.stop()
  })
  await untilInStep(store)
  const { cookieValue, session } = await world.manager.create({
    provider: 'default',
    result: world.provider.login({ sid: 'sid-1' }),
  })
  /** Writes the session as another version would have it. */
  const rewrite = async (change: (session: Session) => object, version = session.version): Promise<void> => {
    const json = JSON.stringify(change(session))
    const { keyId, sealed } = world.keyRing.sealSession(cookieValue, session.ref, version, json)
    await operator.hset(`sidegate:s:{${session.ref}}`, { v: version, k: keyId, d: sealed })
  }
  const ask = () => world.manager.resolve(cookieValue, REQUEST)
  return { ...world, store, storeLog, operator, clock, cookieValue, session, rewrite, ask }
}

test('members of a record that this version does not know are kept by its writes, for the one that does (R29)', async () => {
  const { rewrite, ask, clock, provider, operator, keyRing, session, cookieValue, store } = await gateway()
  await rewrite((one) => ({ ...one, shape: { of: 'tomorrow' } }))
  await operator.hset(`sidegate:s:{${session.ref}}`, 'z', 'a field of tomorrow')
  clock.advance(provider.lifetimeMs)

  expect((await ask()).tokens.accessToken).toBe('access-2')

  const stored = await store.get(session.ref)
  const opened = stored && keyRing.openSession(cookieValue, session.ref, stored)
  expect(opened && 'json' in opened && JSON.parse(opened.json)).toMatchObject({ version: 2, shape: { of: 'tomorrow' } })
  expect(await operator.hget(`sidegate:s:{${session.ref}}`, 'z')).toBe('a field of tomorrow')
})

test('a record that lacks what this version writes is read, refreshed, listed and ended (R29)', async () => {
  const { rewrite, ask, clock, provider, manager, cookieValue, session } = await gateway()
  await rewrite(({ configuredIssuer: _issuer, indexed: _entries, userAgent: _agent, ...old }) => old)
  clock.advance(provider.lifetimeMs)

  expect((await ask()).tokens.accessToken).toBe('access-2')
  expect(await manager.list(session)).toHaveLength(1)
  expect(await manager.end(cookieValue, 'logout')).toMatchObject({ sub: 'alice' })
})

test('a record of a newer format is no session and no failure, and stays where it is (R29)', async () => {
  const { ask, operator, session, manager, cookieValue, log } = await gateway()
  const key = `sidegate:s:{${session.ref}}`
  const sealed = (await operator.hgetBuffer(key, 'd')) ?? Buffer.alloc(0)
  await operator.hset(key, 'd', Buffer.concat([Buffer.of(2), sealed.subarray(1)]))
  const before = await operator.hgetallBuffer(key)

  await expect(ask()).rejects.toMatchObject({ code: 'session_expired' })
  expect(await manager.peek(cookieValue)).toBeUndefined()
  expect(await operator.hgetallBuffer(key)).toEqual(before)
  expect(log.lines.map(({ message }) => message)).toContain('a stored session cannot be opened and counts as none')
  // The way back: what the newer version wrote it still has, and what this one wrote it reads.
  await operator.hset(key, 'd', sealed)
  await expect(ask()).resolves.toMatchObject({ sub: 'alice' })
})

test('events that this version does not know are nothing, and a reason it does not know is no reason of its own (R29)', async () => {
  const { operator, manager, session, store } = await gateway()
  const heard: unknown[] = []
  manager.onSessionEvent(session.ref, (event) => heard.push(event))
  const say = (event: object) => operator.publish('sidegate:events', JSON.stringify(event))

  await say({ type: 'moved', ref: session.ref, from: 'tomorrow' })
  await say({ type: 'refreshed', ref: session.ref, version: 'two', from: 'tomorrow' })
  await operator.publish('sidegate:events', 'tick of a kind that nobody knows')
  await say({ type: 'ended', ref: session.ref, reason: 'quantum_leap', from: 'tomorrow', more: [] })

  await expect.poll(() => heard).toEqual([{ type: 'ended', reason: 'unknown' }])
  expect(store.inStep).toBe(true)
})

test('a login that was begun by a version that named no issuer in it ends well (R29)', async () => {
  const key = KeyRing.generateKey()
  const world = await startWorld({ config: { session: { keys: [key] } } })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const browser = world.browser()
  const tab = browser.newTab()
  const begun = await tab.navigate(`${world.url}/bff/login?returnTo=%2Forders`, { from: 'none', follow: false })
  const callback = await world.provider.login(begun.headers.location ?? '')
  const ring = new KeyRing([key])
  const cookie = browser.jar.all().find(({ name }) => name.startsWith('__Secure-sidegate-tx-'))!
  const id = cookie.name.slice('__Secure-sidegate-tx-'.length)
  const { issuer, ...old } = openTransactions(ring, new Map([[id, cookie.value]]), Date.now()).held[0]!.transaction
  Object.assign(cookie, { value: sealTransaction(ring, old) })

  const answer = await tab.navigate(callback, { from: world.provider.issuer, follow: false })

  expect(issuer).toMatch(/^[\w-]{8}$/)
  expect([answer.status, answer.headers.location]).toEqual([303, '/orders'])
})

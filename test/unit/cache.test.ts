import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { SessionCache } from '../../src/session/cache.ts'
import type { Session } from '../../src/session/session.ts'
import { managerWorld, REQUEST } from '../support/sessions.ts'

async function entry(version = 1) {
  const { manager, provider } = managerWorld()
  const { session } = await manager.create({ provider: 'default', result: provider.login() })
  const use = { ref: session.ref, expiresAt: 0, lastSeenAt: 0, writtenAt: 0, isDirty: false, isWriting: false }
  const at = (one: number): { session: Session; use: typeof use } => ({ session: { ...session, version: one }, use })
  return { ref: session.ref, result: at(version), at }
}

const open = (changes = {}) => new SessionCache({ maxEntries: 100, ttl: 30_000, keepsDoubtful: false, ...changes })

test('what the store said is kept', async () => {
  const { ref, result } = await entry()
  const cache = open()
  cache.finish(cache.begin(ref), result)

  expect(cache.get(ref)?.session).toBe(result.session)
})

test('what began before an end is not kept, what began after it is', async () => {
  const { ref, result } = await entry()
  const cache = open()
  const early = cache.begin(ref)
  cache.drop(ref)
  cache.finish(early, result)
  expect(cache.get(ref)).toBeUndefined()

  cache.finish(cache.begin(ref), result)
  expect(cache.get(ref)).toBeDefined()
})

test('an older version neither replaces a newer one nor slips in behind its event', async () => {
  const { ref, at } = await entry()
  const cache = open()
  cache.finish(cache.begin(ref), at(3))
  cache.finish(cache.begin(ref), at(2))
  expect(cache.get(ref)?.session.version).toBe(3)

  cache.dropBelow(ref, 3)
  expect(cache.get(ref)?.session.version).toBe(3)
  cache.dropBelow(ref, 4)
  expect(cache.get(ref)).toBeUndefined()
  const ticket = cache.begin(ref)
  cache.dropBelow(ref, 5)
  cache.finish(ticket, at(4))
  expect(cache.get(ref)).toBeUndefined()
})

test('doubt empties the cache, and spoils what was under way', async () => {
  const { ref, result } = await entry()
  const cache = open()
  cache.finish(cache.begin(ref), result)
  const ticket = cache.begin(ref)
  cache.doubt()
  cache.finish(ticket, result)

  expect(cache.get(ref)).toBeUndefined()
  expect(cache.size).toBe(0)
})

test('what is in doubt may be kept for an outage, and is no hit', async () => {
  const { ref, result } = await entry()
  const cache = open({ keepsDoubtful: true })
  cache.finish(cache.begin(ref), result)
  cache.doubt()

  expect(cache.get(ref)).toBeUndefined()
  expect(cache.getDoubtful(ref, 60_000)).toBeDefined()
  expect(cache.getDoubtful(ref, 0)).toBeUndefined()
  cache.drop(ref)
  expect(cache.getDoubtful(ref, 60_000)).toBeUndefined()
})

test('an entry is confirmed again after its time', async () => {
  const { ref, result } = await entry()
  const cache = open({ ttl: 15 })
  cache.finish(cache.begin(ref), result)
  await delay(20)

  expect(cache.get(ref)).toBeUndefined()
})

test('the cache is bounded, and can be turned off', async () => {
  const { result } = await entry()
  const small = open({ maxEntries: 10 })
  const off = open({ maxEntries: 0 })
  for (let i = 0; i < 100; i++) {
    small.finish(small.begin(`ref ${i}`), result)
    off.finish(off.begin(`ref ${i}`), result)
  }

  expect(small.size).toBe(10)
  expect(off.size).toBe(0)
  expect(off.get('ref 99')).toBeUndefined()
})

test('a cache hit asks the store nothing, opens nothing, and starts no timer (R42)', async () => {
  const { manager, provider, store, keyRing, now } = managerWorld()
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })
  await manager.resolve(cookieValue, REQUEST)
  const asked: string[] = []
  for (const name of ['get', 'touch', 'lastSeen'] as const) {
    store[name] = () => {
      asked.push(name)
      throw new Error('not on the hot path')
    }
  }
  keyRing.openSession = () => {
    asked.push('openSession')
    throw new Error('not on the hot path')
  }
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const before = timers()
  now.advance(1)
  for (let i = 0; i < 1_000; i++) expect(manager.tryResolve(cookieValue, REQUEST)).toBeDefined()

  expect(asked).toEqual([])
  expect(timers()).toBe(before)
})

test('while events are not in step nothing is served from the cache', async () => {
  const { manager, provider, store } = managerWorld()
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })
  let isInStep = true
  Object.defineProperty(store, 'inStep', { get: () => isInStep })
  expect(manager.tryResolve(cookieValue, REQUEST)).toBeDefined()

  isInStep = false
  expect(manager.tryResolve(cookieValue, REQUEST)).toBeUndefined()
  expect(await manager.resolve(cookieValue, REQUEST)).toBeDefined()
})

/** The promises of SessionStore, run for every implementation. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore, StoredSession, StoreEvent } from '../../src/session/store.ts'

export interface StoreUnderTest {
  readonly store: SessionStore
  /** Another instance on the same data; the same one where there is only one process. */
  readonly other: SessionStore
  /** Lets time pass for expiry. */
  readonly pass: (ms: number) => Promise<void>
  readonly now: () => number
  readonly close: () => Promise<void>
}

const newRef = () => randomBytes(32).toString('base64url')

/** Registers the tests; `open` is called once for all of them. */
export function describeStoreContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`${name} keeps the promises of a session store`, () => {
    let world: StoreUnderTest
    let store: SessionStore
    let other: SessionStore
    beforeAll(async () => {
      world = await open()
      ;({ store, other } = world)
    })
    afterAll(() => world.close())

    const record = (changes: Partial<StoredSession> = {}): StoredSession => ({
      version: 1,
      keyId: 'key-1',
      sealed: Buffer.from([0, 255, 10, 13, 128]),
      lastSeenAt: world.now(),
      createdAt: world.now() - 5,
      ...changes,
    })
    const inMs = (ms: number) => world.now() + ms

    /** Collects this session's events, as the other instance sees them. */
    function watch(ref: string) {
      const seen: StoreEvent[] = []
      const waiting = new Set<() => void>()
      const stop = other.onEvent((event) => {
        if (!('ref' in event) || event.ref !== ref) return
        seen.push(event)
        for (const wake of waiting) wake()
      })
      const until = async (type: StoreEvent['type']) => {
        while (!seen.some((event) => event.type === type)) {
          await new Promise<void>((resolve) => waiting.add(resolve))
        }
        return seen.find((event) => event.type === type)
      }
      return { seen, until, stop }
    }

    test('a session comes back byte for byte, to every instance, and an unknown one is undefined', async () => {
      const ref = newRef()
      const stored = record()
      await store.create(ref, stored, inMs(60_000))

      expect(await other.get(ref)).toEqual(stored)
      expect(await store.get(newRef())).toBeUndefined()
    })

    test('a session is never created over another', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(60_000))

      await expect(store.create(ref, record({ version: 9 }), inMs(60_000))).rejects.toThrow()
      expect((await store.get(ref))?.version).toBe(1)
    })

    test('a session whose time has come is not there, and nothing brings it back (RF-06)', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(40))
      await world.pass(60)

      expect(await store.get(ref)).toBeUndefined()
      expect(await store.touch(ref, world.now(), inMs(60_000))).toBe(false)
      expect(
        await store.replace(ref, record({ version: 2 }), inMs(60_000), { expectedVersion: 1, announce: 'refreshed' }),
      ).toBe('gone')
      expect(await store.delete(ref, 'logout')).toBeUndefined()
      expect(await store.get(ref)).toBeUndefined()
    })

    test('replace writes only over the version it was told (RF-02)', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(60_000))
      const write = (version: number, expectedVersion: number) =>
        store.replace(ref, record({ version, sealed: Buffer.from(`v${version}`) }), inMs(60_000), {
          expectedVersion,
          announce: 'refreshed',
        })

      expect(await write(2, 1)).toBe('replaced')
      expect(await write(3, 1)).toBe('conflict')
      expect((await store.get(ref))?.sealed.toString()).toBe('v2')
    })

    test('of many writers of one version one wins (R2)', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(60_000))

      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          (i % 2 ? store : other).replace(ref, record({ version: 2, sealed: Buffer.from([i]) }), inMs(60_000), {
            expectedVersion: 1,
            announce: 'refreshed',
          }),
        ),
      )

      expect(outcomes.filter((outcome) => outcome === 'replaced')).toHaveLength(1)
    })

    test('replace is refused while another owner holds the lock, and its own lock does not hinder it (R4)', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(60_000))
      await other.acquire(ref, 'successor', 10_000)
      const write = (owner: string) =>
        store.replace(ref, record({ version: 2 }), inMs(60_000), { expectedVersion: 1, owner, announce: 'refreshed' })

      expect(await write('sleeper')).toBe('conflict')
      expect((await store.get(ref))?.version).toBe(1)
      expect(await write('successor')).toBe('replaced')
    })

    test('replace never recreates an ended session (RF-06, R13)', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(60_000))
      await other.delete(ref, 'logout')

      expect(
        await store.replace(ref, record({ version: 2 }), inMs(60_000), { expectedVersion: 1, announce: 'refreshed' }),
      ).toBe('gone')
      expect(await store.get(ref)).toBeUndefined()
    })

    test('last use and expiry never move backwards', async () => {
      const ref = newRef()
      const start = world.now()
      await store.create(ref, record({ lastSeenAt: start }), inMs(60_000))
      await store.touch(ref, start + 5_000, inMs(90_000))
      await store.touch(ref, start + 1_000, inMs(10))
      await store.replace(ref, record({ version: 2, lastSeenAt: start + 2_000 }), inMs(10), {
        expectedVersion: 1,
        announce: 'updated',
      })
      await world.pass(30)

      expect((await store.get(ref))?.lastSeenAt).toBe(start + 5_000)
    })

    test('touch never recreates an ended session (SC-09)', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(60_000))
      await store.delete(ref, 'logout')

      expect(await store.touch(ref, world.now(), inMs(60_000))).toBe(false)
      expect(await store.get(ref)).toBeUndefined()
    })

    test('delete gives the last record once, tells every instance why, and is idempotent', async () => {
      const ref = newRef()
      const stored = record()
      await store.create(ref, stored, inMs(60_000))
      const events = watch(ref)

      const taken = await Promise.all([store.delete(ref, 'logout'), other.delete(ref, 'logout')])

      expect(taken.filter(Boolean)).toEqual([stored])
      expect(await events.until('ended')).toMatchObject({ reason: 'logout' })
      expect(await store.delete(ref, 'logout')).toBeUndefined()
      events.stop()
    })

    test('delete does nothing when its condition does not hold, and tells nobody', async () => {
      const ref = newRef()
      const start = world.now()
      await store.create(ref, record({ version: 3, lastSeenAt: start, createdAt: start }), inMs(60_000))
      const events = watch(ref)

      expect(await store.delete(ref, 'refresh_rejected', { version: 2 })).toBeUndefined()
      expect(await store.delete(ref, 'idle_timeout', { lastSeenAt: start - 1 })).toBeUndefined()
      expect(await store.delete(ref, 'revoked_by_admin', { createdBefore: start })).toBeUndefined()
      expect(await store.get(ref)).toBeDefined()
      expect(
        await store.delete(ref, 'absolute_timeout', { version: 3, lastSeenAt: start, createdBefore: start + 1 }),
      ).toBeDefined()
      await events.until('ended')
      expect(events.seen.map((event) => ('reason' in event ? event.reason : event.type))).toEqual(['absolute_timeout'])
      events.stop()
    })

    test('a write tells every instance what it was, and a refused one nothing', async () => {
      const ref = newRef()
      await store.create(ref, record(), inMs(60_000))
      const events = watch(ref)
      const write = (version: number, announce: 'refreshed' | 'updated') =>
        store.replace(ref, record({ version }), inMs(60_000), { expectedVersion: version - 1, announce })

      await write(2, 'updated')
      await write(2, 'refreshed')
      await write(3, 'refreshed')
      await events.until('refreshed')

      expect(events.seen.map(({ type }) => type)).toEqual(['updated', 'refreshed'])
      expect(events.seen.every(({ from }) => from === store.instance)).toBe(true)
      events.stop()
    })

    test('the lock has one holder, who may take it again (a lost answer, R11)', async () => {
      const ref = newRef()

      expect(await store.acquire(ref, 'a', 10_000)).toBe(0)
      expect(await store.acquire(ref, 'a', 10_000)).toBe(0)
      const left = await other.acquire(ref, 'b', 10_000)
      expect(left).toBeGreaterThan(5_000)
      expect(left).toBeLessThanOrEqual(10_000)
    })

    test('a lock lapses with its lease, and who slept can neither renew nor release it (R9)', async () => {
      const ref = newRef()
      await store.acquire(ref, 'sleeper', 40)
      await world.pass(60)

      expect(await other.acquire(ref, 'successor', 10_000)).toBe(0)
      expect(await store.renew(ref, 'sleeper', 10_000)).toBe(false)
      await store.release(ref, 'sleeper')
      expect(await store.acquire(ref, 'third', 10_000)).toBeGreaterThan(0)
    })

    test('a lease that is renewed does not lapse (R4)', async () => {
      const ref = newRef()
      await store.acquire(ref, 'a', 60)
      expect(await store.renew(ref, 'a', 10_000)).toBe(true)
      await world.pass(80)

      expect(await other.acquire(ref, 'b', 10_000)).toBeGreaterThan(0)
    })

    test('releasing a lock frees it and wakes every instance', async () => {
      const ref = newRef()
      await store.acquire(ref, 'a', 10_000)
      const events = watch(ref)

      await store.release(ref, 'a')

      await events.until('released')
      expect(await other.acquire(ref, 'b', 10_000)).toBe(0)
      events.stop()
    })

    test('an index holds its members until their own end, whatever comes later (LO-10)', async () => {
      const key = `u:{${newRef()}}`
      await store.addToIndex(key, 'long', inMs(60_000))
      await store.addToIndex(key, 'short', inMs(40))
      expect((await other.readIndex(key)).toSorted()).toEqual(['long', 'short'])
      await world.pass(60)

      expect(await store.readIndex(key)).toEqual(['long'])
      expect(await other.isIndexed(key, 'long')).toBe(true)
      expect(await other.isIndexed(key, 'short')).toBe(false)
      await store.addToIndex(key, 'another', inMs(60_000))
      await store.removeFromIndex(key, ['long', 'unknown'])
      expect(await other.readIndex(key)).toEqual(['another'])
      expect(await store.isIndexed(key, 'long')).toBe(false)
      await store.removeFromIndex(key, [])
      expect(await store.readIndex(`u:{${newRef()}}`)).toEqual([])
      expect(await store.isIndexed(`u:{${newRef()}}`, 'long')).toBe(false)
    })

    test('last use is read for many sessions at once, undefined for those that are gone', async () => {
      const [there, gone] = [newRef(), newRef()]
      const seenAt = world.now() - 7
      await store.create(there, record({ lastSeenAt: seenAt }), inMs(60_000))

      expect(await store.lastSeen([gone, there])).toEqual([undefined, seenAt])
    })

    test('every session is found when all are to be ended', async () => {
      const mine = Array.from({ length: 700 }, newRef)
      await Promise.all(mine.map((ref) => store.create(ref, record(), inMs(60_000))))

      const found = new Set<string>()
      for await (const batch of other.refs()) for (const ref of batch) found.add(ref)

      expect(mine.filter((ref) => !found.has(ref))).toEqual([])
    })

    test('a note is written once, and of many who take it one gets it (CB-01)', async () => {
      const key = `t:{${newRef()}}`
      const written = await Promise.all(
        Array.from({ length: 10 }, (_, i) => (i % 2 ? store : other).noteIfAbsent(key, `n${i}`, 60_000)),
      )
      expect(written.filter((earlier) => earlier === undefined)).toHaveLength(1)
      const first = await store.readNote(key)
      expect(new Set(written.filter(Boolean))).toEqual(new Set([first]))

      const taken = await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 ? store : other).takeNote(key)))
      expect(taken.filter(Boolean)).toEqual([first])
      expect(await store.readNote(key)).toBeUndefined()
    })

    test('a note is overwritten by note, and gone after its time', async () => {
      const key = `j:{${newRef()}}`
      await store.noteIfAbsent(key, 'pending', 60_000)
      await store.note(key, 'done', 40)
      expect(await other.readNote(key)).toBe('done')
      await world.pass(60)

      expect(await store.readNote(key)).toBeUndefined()
      expect(await store.noteIfAbsent(key, 'again', 60_000)).toBeUndefined()
    })

    test('what is published reaches every instance, its sender included', async () => {
      const ref = newRef()
      const own: StoreEvent[] = []
      const stop = store.onEvent((event) => own.push(event))
      const events = watch(ref)
      store.publish({ type: 'ended', ref, reason: 'logout', from: store.instance })

      await events.until('ended')
      await expect.poll(() => own).toContainEqual({ type: 'ended', ref, reason: 'logout', from: store.instance })
      stop()
      events.stop()
    })

    test('a probe proves that writes are taken', async () => {
      await expect(store.probe()).resolves.toBeUndefined()
    })
  })
}

import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import { sessionRef } from '../../src/session/session.ts'
import { managerWorld, REQUEST } from '../support/sessions.ts'

const MINUTE = 60_000

test('a session id has 256 random bits, and each login gets a new one (SC-07, SC-08)', async () => {
  const { manager, provider } = managerWorld()
  const first = await manager.create({ provider: 'default', result: provider.login() })
  const second = await manager.create({ provider: 'default', result: provider.login() })

  expect(first.cookieValue).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(second.cookieValue).not.toBe(first.cookieValue)
  expect(first.session.ref).toBe(sessionRef(first.cookieValue))
})

test('a created session resolves with its tokens, by the hot path and by the store alike', async () => {
  const { manager, provider } = managerWorld()
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  const cold = managerWorld({ settings: { cache: { maxEntries: 0, ttl: 0 } } })
  const other = await cold.manager.create({ provider: 'default', result: cold.provider.login() })

  expect(manager.tryResolve(cookieValue, REQUEST)).toEqual(session)
  expect(cold.manager.tryResolve(other.cookieValue, REQUEST)).toBeUndefined()
  expect(await cold.manager.resolve(other.cookieValue, REQUEST)).toEqual(other.session)
})

test.each(['', 'x', 'A'.repeat(43), randomBytes(32).toString('base64url'), 'é'.repeat(500)])(
  'an unknown id is never adopted: %j (SC-05, R47)',
  async (cookieValue) => {
    const { manager, store } = managerWorld()

    await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
    expect(await manager.peek(cookieValue)).toBeUndefined()
    expect(await store.get(sessionRef(cookieValue))).toBeUndefined()
  },
)

test('a login whose claims name nobody makes no session', async () => {
  const { manager, provider } = managerWorld()
  const result = { ...provider.login(), claims: { iss: provider.issuer } }

  await expect(manager.create({ provider: 'default', result })).rejects.toMatchObject({ code: 'login_failed' })
})

test('a session ends when it is not used for the idle timeout, to the millisecond (SC-09, R19)', async () => {
  const { manager, provider, now, log } = managerWorld({ settings: { refreshMargin: 0 } })
  provider.lifetimeMs = 100 * MINUTE
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })

  now.advance(30 * MINUTE - 1)
  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
  now.advance(30 * MINUTE - 1)
  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
  now.advance(30 * MINUTE)
  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  expect(log.events).toContain('session.ended idle_timeout')
})

test('polling that does not slide, peeking and listening do not keep a session alive (SC-09, SC-11)', async () => {
  const { manager, provider, now } = managerWorld()
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  manager.onSessionEvent(session.ref, () => {})

  now.advance(29 * MINUTE)
  await manager.resolve(cookieValue, { ...REQUEST, slides: false })
  await manager.peek(cookieValue)
  await manager.refreshNow(cookieValue)
  await manager.list(session)
  now.advance(2 * MINUTE)

  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  await manager.close()
})

test('nothing moves the absolute end: neither use nor refresh (SC-09, R19)', async () => {
  const { manager, provider, now, log } = managerWorld()
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })

  for (let minutes = 10; minutes < 600; minutes += 10) {
    now.advance(10 * MINUTE)
    const current = await manager.resolve(cookieValue, REQUEST)
    expect(current.expiresAt).toBe(session.expiresAt)
  }
  now.advance(10 * MINUTE)

  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  expect(log.events).toContain('session.ended absolute_timeout')
})

test('the absolute end comes while a refresh is under way: the limit wins, and what it brought is not used (R19)', async () => {
  const { manager, provider, now, store } = managerWorld({ settings: { maxLifetime: 10 * MINUTE } })
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  now.advance(provider.lifetimeMs)
  provider.script.push(async () => {
    now.advance(10 * MINUTE - provider.lifetimeMs)
    return provider.succeed()
  })

  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  expect(await store.get(session.ref)).toBeUndefined()
})

test('the idle end comes while a refresh is under way: it is not moved by what the refresh brings (R19)', async () => {
  const { manager, provider, now, store } = managerWorld({ settings: { idleTimeout: 10 * MINUTE } })
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  now.advance(provider.lifetimeMs)
  provider.script.push(async () => {
    now.advance(10 * MINUTE)
    return provider.succeed()
  })
  await manager.resolve(cookieValue, REQUEST)

  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  expect(await store.get(session.ref)).toBeUndefined()
})

test('the absolute end holds for a session that is in the cache and in use (SC-09)', async () => {
  const { manager, provider, now } = managerWorld({ settings: { maxLifetime: 60 * MINUTE } })
  provider.lifetimeMs = 600 * MINUTE
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })
  for (let i = 0; i < 3; i++) {
    now.advance(20 * MINUTE - 1)
    await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
  }
  now.advance(3)

  expect(manager.tryResolve(cookieValue, REQUEST)).toBeUndefined()
  await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
})

test('a use in the very moment of the verdict "idle" saves the session', async () => {
  const { manager, provider, store, now } = managerWorld()
  provider.lifetimeMs = 600 * MINUTE
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  now.advance(30 * MINUTE + 1_000)
  const end = store.delete.bind(store)
  store.delete = async (...args) => {
    await store.touch(session.ref, now(), session.expiresAt)
    return end(...args)
  }

  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
})

test('idleExpiresAt follows each use at once', async () => {
  const { manager, provider, now } = managerWorld()
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  now.advance(7_000)
  const used = await manager.resolve(cookieValue, REQUEST)

  expect(manager.idleExpiresAt(used)).toBe(session.createdAt + 7_000 + 30 * MINUTE)
})

test('hot requests write nothing: one touch in each interval, with the real time of the last use (R42)', async () => {
  const { manager, provider, store, now } = managerWorld()
  provider.lifetimeMs = 600 * MINUTE
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  let touches = 0
  const touch = store.touch.bind(store)
  store.touch = (...args) => {
    touches += 1
    return touch(...args)
  }

  for (let second = 0; second < 300; second++) {
    now.advance(1_000)
    for (let i = 0; i < 10; i++) await manager.resolve(cookieValue, REQUEST)
    if (second % 15 === 14) await manager.flush()
  }

  expect(touches).toBeLessThanOrEqual(2 * (300 / 15))
  expect((await store.get(session.ref))?.lastSeenAt).toBe(now())
})

test('another instance that looks right before the idle end sees the use', async () => {
  const world = managerWorld()
  const { manager, provider, store, now, keyRing } = world
  const other = managerWorld({ store, keyRing, clock: now, provider })
  provider.lifetimeMs = 600 * MINUTE
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })

  now.advance(29.9 * MINUTE)
  await manager.resolve(cookieValue, REQUEST)
  now.advance(0.5 * MINUTE)

  await expect(other.manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
})

test('a cached session that looks idle here and was used elsewhere goes on', async () => {
  const { manager, provider, store, now, keyRing } = managerWorld()
  const other = managerWorld({ store, keyRing, clock: now, provider })
  provider.lifetimeMs = 600 * MINUTE
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })
  await manager.resolve(cookieValue, REQUEST)
  now.advance(20 * MINUTE)
  await other.manager.resolve(cookieValue, REQUEST)
  await other.manager.flush()
  now.advance(20 * MINUTE)

  await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
})

test('ending gives the last record once, and every manager refuses the session from then on', async () => {
  const { manager, provider, store, now, keyRing } = managerWorld()
  const other = managerWorld({ store, keyRing, clock: now, provider })
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  await other.manager.resolve(cookieValue, REQUEST)

  expect(await manager.end(cookieValue, 'logout')).toEqual(session)
  expect(await manager.end(cookieValue, 'logout')).toBeUndefined()
  for (const one of [manager, other.manager]) {
    expect(one.tryResolve(cookieValue, REQUEST)).toBeUndefined()
    await expect(one.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  }
  expect(await manager.list(session)).toEqual([])
})

test('an answer that was overtaken by the end of its session is not cached (R13)', async () => {
  const { manager, provider, store, now, keyRing } = managerWorld()
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })
  const other = managerWorld({ store, keyRing, clock: now, provider })
  const get = store.get.bind(store)
  store.get = async (ref) => {
    const stored = await get(ref)
    await manager.end(cookieValue, 'logout')
    return stored
  }
  await other.manager.peek(cookieValue)
  store.get = get

  expect(other.manager.tryResolve(cookieValue, REQUEST)).toBeUndefined()
  expect(await other.manager.peek(cookieValue)).toBeUndefined()
})

test('listeners on every instance learn of the end, with its reason, once', async () => {
  const { manager, provider, store, now, keyRing } = managerWorld()
  const other = managerWorld({ store, keyRing, clock: now, provider })
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  const heard: string[] = []
  manager.onSessionEvent(session.ref, (event) => heard.push(`here ${JSON.stringify(event)}`))
  other.manager.onSessionEvent(session.ref, (event) => heard.push(`there ${JSON.stringify(event)}`))

  await manager.refreshNow(cookieValue)
  await manager.endByRef(session.ref, 'revoked_by_admin')
  await manager.endByRef(session.ref, 'logout')
  await expect.poll(() => heard.length).toBe(4)

  expect(heard.toSorted()).toEqual([
    'here {"type":"ended","reason":"revoked_by_admin"}',
    'here {"type":"refreshed"}',
    'there {"type":"ended","reason":"revoked_by_admin"}',
    'there {"type":"refreshed"}',
  ])
})

test('who listens learns of the idle and of the absolute end, although nobody asks', async () => {
  const { manager, provider, now } = managerWorld({ settings: { maxLifetime: 60 * MINUTE } })
  provider.lifetimeMs = 600 * MINUTE
  const first = await manager.create({ provider: 'default', result: provider.login() })
  const heard: string[] = []
  const hear = (name: string) => (event: { type: string; reason?: string }) => heard.push(`${name} ${event.reason}`)
  manager.onSessionEvent(first.session.ref, hear('idle'), first.session.expiresAt)
  now.advance(30 * MINUTE)
  await expect.poll(() => heard).toEqual(['idle idle_timeout'])

  const second = await manager.create({ provider: 'default', result: provider.login() })
  manager.onSessionEvent(second.session.ref, hear('absolute'), second.session.expiresAt)
  for (let i = 0; i < 3; i++) {
    now.advance(20 * MINUTE)
    await manager.resolve(second.cookieValue, REQUEST).catch(() => {})
  }
  await expect.poll(() => heard).toEqual(['idle idle_timeout', 'absolute absolute_timeout'])
  await manager.close()
})

test('a listener that fails keeps nobody else from hearing', async () => {
  const { manager, provider, log } = managerWorld()
  const { session } = await manager.create({ provider: 'default', result: provider.login() })
  const heard: string[] = []
  manager.onSessionEvent(session.ref, () => {
    throw new Error('broken')
  })
  manager.onSessionEvent(session.ref, (event) => heard.push(event.type))
  const stop = manager.onSessionEvent(session.ref, () => heard.push('unsubscribed'))
  stop()
  await manager.endByRef(session.ref, 'logout')

  expect(heard).toEqual(['ended'])
  expect(log.lines.some(({ level }) => level === 'error')).toBe(true)
})

test('all sessions of a provider session end, and only those (LO-10, R20)', async () => {
  const { manager, provider } = managerWorld()
  const sid = 'a "strange" sid: with, everything [1]'
  const mine = await manager.create({ provider: 'default', result: provider.login({ sid }) })
  const also = await manager.create({ provider: 'default', result: provider.login({ sid }) })
  const other = await manager.create({ provider: 'default', result: provider.login({ sid: 'another' }) })

  expect(await manager.endByProviderSession(provider.issuer, sid, 'backchannel_logout')).toBe(2)
  expect(await manager.endByProviderSession(provider.issuer, sid, 'backchannel_logout')).toBe(0)
  expect(await manager.peek(mine.cookieValue)).toBeUndefined()
  expect(await manager.peek(also.cookieValue)).toBeUndefined()
  expect(await manager.peek(other.cookieValue)).toBeDefined()
  expect(await manager.endByProviderSession('https://other.example', 'another', 'backchannel_logout')).toBe(0)
})

test('a subject’s sessions that began before a moment end, later ones stay (LO-10, R20)', async () => {
  const { manager, provider, now } = managerWorld()
  const before = await manager.create({ provider: 'default', result: provider.login() })
  now.advance(1_000)
  const moment = now()
  const after = await manager.create({ provider: 'default', result: provider.login() })
  const bob = await manager.create({ provider: 'default', result: provider.login({ sub: 'bob' }) })

  expect(await manager.endBySubject(provider.issuer, 'alice', 'backchannel_logout', moment)).toBe(1)
  expect(await manager.peek(before.cookieValue)).toBeUndefined()
  expect(await manager.peek(after.cookieValue)).toBeDefined()
  expect(await manager.endBySubject(provider.issuer, 'alice', 'revoked_by_admin')).toBe(1)
  expect(await manager.peek(bob.cookieValue)).toBeDefined()
})

test('the entries of a session are there before it: without them there is none (LO-10)', async () => {
  const { manager, provider, store } = managerWorld()
  const add = store.addToIndex.bind(store)
  store.addToIndex = () => Promise.reject(new BffError('store_unavailable', 'down'))
  const login = () => manager.create({ provider: 'default', result: provider.login({ sid: 'one' }) })

  await expect(login()).rejects.toMatchObject({ code: 'store_unavailable' })
  for await (const refs of store.refs()) expect(refs).toEqual([])
  store.addToIndex = add
  await expect(login()).resolves.toBeDefined()
})

test.each([
  ['before', 'sid'],
  ['before', 'sub'],
  ['after', 'sid'],
  ['after', 'sub'],
])('a logout that arrives just %s a session is written ends it too, by its %s (LO-10)', async (when, by) => {
  const { manager, provider, store, keyRing, now } = managerWorld()
  const other = managerWorld({ store, keyRing, clock: now, provider }).manager
  const logout = () =>
    by === 'sid'
      ? other.endByProviderSession(provider.issuer, 'one', 'backchannel_logout')
      : other.endBySubject(provider.issuer, 'alice', 'backchannel_logout', now() + 1)
  const create = store.create.bind(store)
  const written: string[] = []
  store.create = async (ref, ...rest) => {
    written.push(ref)
    if (when === 'before') await logout()
    await create(ref, ...rest)
    if (when === 'after') await logout()
  }

  const login = manager.create({ provider: 'default', result: provider.login({ sid: 'one' }) })

  await expect(login).rejects.toMatchObject({ code: 'login_failed' })
  expect(await store.get(written[0] ?? '')).toBeUndefined()
})

test('a logout of before does not hinder a session that is being written (LO-10)', async () => {
  const { manager, provider, store, now } = managerWorld()
  const create = store.create.bind(store)
  store.create = async (...args) => {
    await manager.endBySubject(provider.issuer, 'alice', 'backchannel_logout', now())
    await create(...args)
  }

  await expect(manager.create({ provider: 'default', result: provider.login() })).resolves.toBeDefined()
})

test('a session that is finished while a logout, which saw none, takes its entries out is ended by it (LO-10)', async () => {
  const { manager, provider, store, keyRing, now } = managerWorld()
  const other = managerWorld({ store, keyRing, clock: now, provider }).manager
  const [create, lastSeen] = [store.create.bind(store), store.lastSeen.bind(store)]
  const looked = Promise.withResolvers<void>()
  let logout: Promise<number> | undefined
  store.create = async (...args) => {
    logout = other.endByProviderSession(provider.issuer, 'one', 'backchannel_logout')
    await looked.promise
    await create(...args)
  }
  store.lastSeen = async (refs) => {
    const seen = await lastSeen(refs)
    looked.resolve()
    await login
    return seen
  }

  const login = manager.create({ provider: 'default', result: provider.login({ sid: 'one' }) })
  const { cookieValue } = await login

  expect(await logout).toBe(1)
  expect(await manager.peek(cookieValue)).toBeUndefined()
})

test('all sessions end at once when the operator says so (SC-13)', async () => {
  const { manager, provider } = managerWorld()
  const cookies: string[] = []
  for (let i = 0; i < 250; i++) {
    const { cookieValue } = await manager.create({ provider: 'default', result: provider.login({ sub: `user ${i}` }) })
    cookies.push(cookieValue)
  }

  expect(await manager.endAll('revoked_by_admin')).toBe(250)
  for (const cookieValue of cookies) expect(await manager.peek(cookieValue)).toBeUndefined()
})

test('a user’s sessions are listed with device and last use; the operator finds them too (SC-13)', async () => {
  const { manager, provider, now } = managerWorld()
  const phone = await manager.create({ provider: 'default', result: provider.login({ sid: 'x' }), userAgent: 'Phone' })
  now.advance(60_000)
  const laptop = await manager.create({ provider: 'default', result: provider.login(), userAgent: 'L'.repeat(999) })
  await manager.create({ provider: 'default', result: provider.login({ sub: 'bob' }) })
  now.advance(60_000)
  await manager.resolve(phone.cookieValue, REQUEST)
  await manager.flush()

  const sessions = await manager.list(laptop.session)
  expect(sessions.toSorted((a, b) => a.createdAt - b.createdAt)).toEqual([
    {
      ref: phone.session.ref,
      createdAt: phone.session.createdAt,
      expiresAt: phone.session.expiresAt,
      userAgent: 'Phone',
      lastSeenAt: now(),
    },
    expect.objectContaining({
      ref: laptop.session.ref,
      userAgent: 'L'.repeat(256),
      lastSeenAt: laptop.session.createdAt,
    }),
  ])
  expect(await manager.find({ by: 'sub', issuer: provider.issuer, value: 'alice' })).toHaveLength(2)
  expect(await manager.find({ by: 'sid', issuer: provider.issuer, value: 'x' })).toHaveLength(1)
  const byRef = await manager.find({ by: 'ref', ref: phone.session.ref.slice(0, 16) })
  expect(byRef).toMatchObject([{ ref: phone.session.ref, expiresAt: phone.session.expiresAt, lastSeenAt: now() }])
})

test('index entries of sessions long gone are taken out when somebody looks', async () => {
  const { manager, provider, store, now } = managerWorld()
  const gone = await manager.create({ provider: 'default', result: provider.login() })
  const mine = await manager.create({ provider: 'default', result: provider.login() })
  await manager.endByRef(gone.session.ref, 'logout')
  const key = mine.session.indexed?.keys[0] ?? ''
  now.advance(120_000)
  expect(await store.readIndex(key)).toHaveLength(2)

  expect(await manager.list(mine.session)).toHaveLength(1)
  expect(await store.readIndex(key)).toHaveLength(1)
})

test('with a limit the oldest session makes room for a new one (SC-13)', async () => {
  const { manager, provider, now, log } = managerWorld({ settings: { limit: { perUser: 2, onExceed: 'endOldest' } } })
  const made = []
  for (let i = 0; i < 3; i++) {
    made.push(await manager.create({ provider: 'default', result: provider.login() }))
    now.advance(1_000)
  }
  const bob = await manager.create({ provider: 'default', result: provider.login({ sub: 'bob' }) })

  const alive = await Promise.all([...made, bob].map(({ cookieValue }) => manager.peek(cookieValue)))
  expect(alive.map(Boolean)).toEqual([false, true, true, true])
  expect(log.events).toContain('session.ended session_limit')
})

test('a limit may refuse the login instead; what it takes the place of does not count (SC-13)', async () => {
  const { manager, provider, now } = managerWorld({ settings: { limit: { perUser: 1, onExceed: 'refuse' } } })
  const first = await manager.create({ provider: 'default', result: provider.login() })
  now.advance(10_000)

  await expect(manager.create({ provider: 'default', result: provider.login() })).rejects.toMatchObject({
    code: 'forbidden',
  })
  const replaces = [first.session.ref]
  const second = await manager.create({ provider: 'default', result: provider.login(), replaces })
  expect(await manager.peek(first.cookieValue)).toBeUndefined()
  expect(await manager.list(second.session)).toHaveLength(1)
})

test('of many logins at once no more stay than the limit allows (SC-13)', async () => {
  for (const onExceed of ['refuse', 'endOldest'] as const) {
    const { manager, provider, now } = managerWorld({ settings: { limit: { perUser: 3, onExceed } } })
    const logins = Array.from({ length: 12 }, () => manager.create({ provider: 'default', result: provider.login() }))
    const made = (await Promise.allSettled(logins)).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    now.advance(1_000)
    const alive = await Promise.all(made.map(({ cookieValue }) => manager.peek(cookieValue)))

    expect(alive.filter(Boolean).length).toBeLessThanOrEqual(3)
    expect(alive.filter(Boolean).length).toBeGreaterThan(0)
  }
})

test('a record under an unknown key makes the ring be read again, once for all who ask', async () => {
  const [oldKey, newKey] = [KeyRing.generateKey(), KeyRing.generateKey()]
  const { manager, store, now, provider } = managerWorld({ keyRing: new KeyRing([newKey, oldKey]) })
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })
  const late = new KeyRing([oldKey])
  let rereads = 0
  const onUnknownKey = async () => {
    rereads += 1
    late.update([oldKey, newKey])
  }
  const other = managerWorld({ store, keyRing: late, clock: now, provider, onUnknownKey })

  await Promise.all(Array.from({ length: 10 }, () => other.manager.resolve(cookieValue, REQUEST)))
  expect(rereads).toBe(1)
})

test('a record that nothing opens is no session, is logged without content and stays where it is (R39)', async () => {
  const { manager, store, now, provider } = managerWorld()
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  let rereads = 0
  const other = managerWorld({ store, clock: now, provider, onUnknownKey: async () => void (rereads += 1) })

  await expect(other.manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  await expect(other.manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
  expect(rereads).toBe(1)
  expect(await store.get(session.ref)).toBeDefined()
  expect(JSON.stringify(other.log.lines)).not.toContain(cookieValue)
  expect(await manager.peek(cookieValue)).toBeDefined()
})

test('a session is sealed anew with its next write, and then survives the removal of the old key (R28)', async () => {
  const [oldKey, newKey] = [KeyRing.generateKey(), KeyRing.generateKey()]
  const keyRing = new KeyRing([oldKey])
  const { manager, store, provider, now } = managerWorld({ keyRing })
  const active = await manager.create({ provider: 'default', result: provider.login({ sid: 'active' }) })
  const asleep = await manager.create({ provider: 'default', result: provider.login() })
  keyRing.update([oldKey, newKey])
  keyRing.update([newKey, oldKey])
  await manager.refreshNow(active.cookieValue)

  const fresh = managerWorld({ store, keyRing: new KeyRing([newKey]), clock: now, provider })
  expect(await fresh.manager.peek(active.cookieValue)).toBeDefined()
  expect(await fresh.manager.peek(asleep.cookieValue)).toBeUndefined()
  expect(await fresh.manager.endByProviderSession(provider.issuer, 'active', 'backchannel_logout')).toBe(1)
})

test('look-ups find what was written under an older key of the ring', async () => {
  const [oldKey, newKey] = [KeyRing.generateKey(), KeyRing.generateKey()]
  const keyRing = new KeyRing([oldKey])
  const { manager, provider } = managerWorld({ keyRing })
  const { session } = await manager.create({ provider: 'default', result: provider.login({ sid: 'one' }) })
  keyRing.update([newKey, oldKey])
  await manager.create({ provider: 'default', result: provider.login() })

  expect(await manager.list(session)).toHaveLength(2)
  expect(await manager.endByProviderSession(provider.issuer, 'one', 'backchannel_logout')).toBe(1)
})

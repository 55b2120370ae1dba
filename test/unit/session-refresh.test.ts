import { describe, expect, onTestFinished, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import type { RefreshOutcome } from '../../src/oidc/provider.ts'
import { refreshDueAt } from '../../src/session/refresh.ts'
import { Slots } from '../../src/session/slots.ts'
import { managerWorld, type ManagerWorld, REQUEST } from '../support/sessions.ts'

const storeDown = () => Promise.reject(new BffError('store_unavailable', 'down'))

/** A world with one session whose access token is in the state that is asked for. */
async function signedIn(
  state: 'valid' | 'stale' | 'expired' = 'expired',
  changes: Parameters<typeof managerWorld>[0] = {},
) {
  const world = managerWorld(changes)
  onTestFinished(() => world.manager.close())
  const { cookieValue, session } = await world.manager.create({ provider: 'default', result: world.provider.login() })
  const leftMs = { valid: 200_000, stale: 20_000, expired: -1 }[state]
  world.now.advance(world.provider.lifetimeMs - leftMs)
  const resolve = () => world.manager.resolve(cookieValue, REQUEST)
  return { ...world, cookieValue, session, resolve, sibling: () => sibling(world) }
}

function sibling({ store, keyRing, now, provider }: ManagerWorld): ManagerWorld {
  const other = managerWorld({ store, keyRing, clock: now, provider })
  onTestFinished(() => other.manager.close())
  return other
}

function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { open: resolve, passed: promise }
}

describe('one refresh, whoever asks', () => {
  test('200 requests on one expired session cause one grant and all get the new token (R1, RF-01, RF-03)', async () => {
    const { resolve, provider, store } = await signedIn()
    const acquire = store.acquire.bind(store)
    let locks = 0
    store.acquire = (...args) => {
      locks += 1
      return acquire(...args)
    }

    const sessions = await Promise.all(Array.from({ length: 200 }, resolve))

    expect(provider.asked).toEqual(['refresh-1'])
    expect(locks).toBe(1)
    expect(new Set(sessions.map(({ tokens }) => tokens.accessToken))).toEqual(new Set(['access-2']))
  })

  test('the same over four managers on one store (R2, RF-03)', async () => {
    const world = await signedIn()
    const managers = [world, world.sibling(), world.sibling(), world.sibling()].map(({ manager }) => manager)
    const slow = gate()
    world.provider.script.push(async () => (await slow.passed, world.provider.succeed()))

    const answers = managers.flatMap((manager) =>
      Array.from({ length: 25 }, () => manager.resolve(world.cookieValue, REQUEST)),
    )
    await expect.poll(() => world.provider.asked).toHaveLength(1)
    slow.open()

    expect(new Set((await Promise.all(answers)).map(({ tokens }) => tokens.accessToken))).toEqual(new Set(['access-2']))
    expect(world.provider.asked).toEqual(['refresh-1'])
  })

  test('who gets the lock reads the session again first: the work may have been done (R2, RF-03)', async () => {
    const world = await signedIn()
    const other = world.sibling()
    const acquire = world.store.acquire.bind(world.store)
    world.store.acquire = async (...args) => {
      world.store.acquire = acquire
      await other.manager.resolve(world.cookieValue, REQUEST)
      return acquire(...args)
    }

    expect((await world.resolve()).tokens.accessToken).toBe('access-2')
    expect(world.provider.asked).toHaveLength(1)
  })

  test('a token within the margin is refreshed in line, a fresh one is not (RF-01)', async () => {
    const stale = await signedIn('stale')
    const valid = await signedIn('valid')

    expect((await stale.resolve()).tokens.accessToken).toBe('access-2')
    expect((await valid.resolve()).tokens.accessToken).toBe('access-1')
    expect((await stale.manager.resolve(stale.cookieValue, { ...REQUEST, token: false })).ref).toBe(stale.session.ref)
  })

  test('tokens that live no longer than the margin are not refreshed with every request', async () => {
    const { resolve, provider, now } = await signedIn('expired')
    provider.lifetimeMs = 20_000
    await resolve()
    for (let i = 0; i < 9; i++) {
      now.advance(1_000)
      await resolve()
    }
    expect(provider.asked).toHaveLength(1)
    now.advance(1_500)
    await resolve()
    expect(provider.asked).toHaveLength(2)
  })

  test('a request that asks for no token never waits for a refresh', async () => {
    const { manager, cookieValue, provider } = await signedIn()

    await manager.resolve(cookieValue, { ...REQUEST, token: false })

    expect(provider.asked).toEqual([])
  })

  test('the refresh goes on and is stored when the request that caused it has gone (R8)', async () => {
    const { manager, cookieValue, provider, resolve } = await signedIn('expired', { patienceMs: 20 })
    const slow = gate()
    provider.script.push(async () => (await slow.passed, provider.succeed()))

    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable' })
    slow.open()

    await expect.poll(async () => (await manager.peek(cookieValue))?.tokens.accessToken).toBe('access-2')
    expect(provider.asked).toHaveLength(1)
  })

  test('who cannot wait any longer goes on with the old token while it is valid', async () => {
    const { provider, resolve } = await signedIn('stale', { patienceMs: 20 })
    const slow = gate()
    provider.script.push(async () => (await slow.passed, provider.succeed()))

    expect((await resolve()).tokens.accessToken).toBe('access-1')
    slow.open()
    await expect.poll(async () => (await resolve()).tokens.accessToken).toBe('access-2')
  })

  test('what the provider does not send again stays as it was (RF-02, R12)', async () => {
    const { provider, resolve } = await signedIn()
    provider.script.push(() => ({
      kind: 'refreshed',
      tokens: { accessToken: 'new', tokenType: 'bearer', accessTokenExpiresAt: Number.MAX_SAFE_INTEGER },
      claims: { sub: 'alice', role: 'admin' },
    }))

    const { tokens, claims } = await resolve()

    expect(tokens).toMatchObject({ accessToken: 'new', refreshToken: 'refresh-1', idToken: 'id-1' })
    expect(claims).toEqual({ sub: 'alice', role: 'admin' })
  })

  test('a forced refresh asks although the token is fresh, and two of them ask once', async () => {
    const { manager, cookieValue, provider } = await signedIn('valid')

    const both = await Promise.all([manager.refreshNow(cookieValue), manager.refreshNow(cookieValue)])

    expect(both.map(({ tokens }) => tokens.accessToken)).toEqual(['access-2', 'access-2'])
    expect(provider.asked).toHaveLength(1)
  })

  test('a session without a refresh token is served until its access token expires, then needs a login (SC-10)', async () => {
    const { manager, provider, now } = managerWorld()
    const { refreshToken: _none, ...tokens } = provider.issue()
    const { cookieValue } = await manager.create({ provider: 'default', result: { ...provider.login(), tokens } })
    now.advance(provider.lifetimeMs - 1)
    await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
    await expect(manager.refreshNow(cookieValue)).resolves.toBeDefined()
    now.advance(1)

    await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
    await expect(manager.refreshNow(cookieValue)).rejects.toMatchObject({ code: 'session_expired' })
    expect(await manager.peek(cookieValue)).toBeDefined()
    expect(provider.asked).toEqual([])
  })

  test('slots are handed on in order, also past a task that fails', async () => {
    const slots = new Slots(1)
    const order: number[] = []
    const tasks = [1, 2, 3].map((n) =>
      slots.run(async () => {
        order.push(n)
        if (n === 2) throw new Error('failed')
      }),
    )
    await Promise.allSettled(tasks)

    expect(order).toEqual([1, 2, 3])
  })
})

describe('what a refusal means', () => {
  const rejected: RefreshOutcome = { kind: 'rejected', reason: 'invalid_grant' }

  test('invalid_grant ends the session for all who wait, with one call (R7, RF-04)', async () => {
    const { resolve, provider, manager, cookieValue, log } = await signedIn()
    provider.script.push(() => rejected)

    const answers = await Promise.allSettled(Array.from({ length: 200 }, resolve))

    expect(new Set(answers.map((one) => one.status === 'rejected' && (one.reason as BffError).code))).toEqual(
      new Set(['session_expired']),
    )
    expect(provider.asked).toHaveLength(1)
    expect(await manager.peek(cookieValue)).toBeUndefined()
    expect(log.events).toContain('session.ended refresh_rejected')
    expect(log.events).toContain('refresh.failed invalid_grant')
  })

  test('invalid_grant also ends a session whose access token is still good (RF-04)', async () => {
    const { resolve, provider } = await signedIn('stale')
    provider.script.push(() => rejected)

    await expect(resolve()).rejects.toMatchObject({ code: 'session_expired' })
  })

  test('an ID token for somebody else ends the session (RF-05)', async () => {
    const { resolve, provider, log } = await signedIn('stale')
    provider.script.push(() => ({ kind: 'rejected', reason: 'identity_changed' }))

    await expect(resolve()).rejects.toMatchObject({ code: 'session_expired' })
    expect(log.events).toContain('session.ended refresh_rejected')
  })

  test('a verdict about one version ends no other: newer tokens that arrive in the last moment win (R6)', async () => {
    const { resolve, provider, cookieValue, store, keyRing, session } = await signedIn()
    provider.script.push(() => rejected)
    const end = store.delete.bind(store)
    store.delete = async (...args) => {
      store.delete = end
      const newer = { ...session, version: 2, tokens: { ...provider.issue(), accessToken: 'newer' } }
      const sealed = keyRing.sealSession(cookieValue, session.ref, 2, JSON.stringify(newer))
      const record = { ...sealed, version: 2, lastSeenAt: 0, createdAt: 0 }
      await store.replace(session.ref, record, session.expiresAt, { expectedVersion: 1, announce: 'refreshed' })
      return end(...args)
    }

    expect((await resolve()).tokens.accessToken).toBe('newer')
  })

  test('a 400 with another error is final only once the access token has expired', async () => {
    const refused: RefreshOutcome = { kind: 'refused', reason: 'invalid_request' }
    const stale = await signedIn('stale')
    stale.provider.script.push(
      () => refused,
      () => refused,
    )
    expect((await stale.resolve()).tokens.accessToken).toBe('access-1')
    stale.now.advance(25_000)
    await expect(stale.resolve()).rejects.toMatchObject({ code: 'session_expired' })
    expect(stale.log.events).toContain('session.ended refresh_rejected')
  })

  test('invalid_client signs nobody out and raises an alarm (R3)', async () => {
    const { resolve, provider, log, manager, cookieValue } = await signedIn()
    provider.script.push(() => ({ kind: 'misconfigured', reason: 'invalid_client' }))

    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable', statusCode: 503 })
    expect(log.lines).toContainEqual(
      expect.objectContaining({
        level: 'error',
        fields: expect.objectContaining({ alarm: 'provider_client_refused' }),
      }),
    )
    expect(await manager.peek(cookieValue)).toBeDefined()
    expect((await resolve()).tokens.accessToken).toBe('access-2')
  })

  test('a temporary failure keeps the session: the old token while it is valid, then 503, then healed (R3, RF-04)', async () => {
    const { resolve, provider, now, manager, cookieValue } = await signedIn('stale')
    const down: RefreshOutcome = { kind: 'unavailable', reason: 'status 503' }
    provider.script.push(
      () => down,
      () => down,
      () => down,
    )

    expect((await resolve()).tokens.accessToken).toBe('access-1')
    now.advance(25_000)
    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable', retryAfterSeconds: 5 })
    await expect(manager.refreshNow(cookieValue)).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect((await resolve()).tokens.accessToken).toBe('access-2')
  })

  test('while the old token is good, a provider that is down is asked seldom, and nobody waits for it', async () => {
    const { resolve, provider, now } = await signedIn('stale')
    provider.script.push(() => ({ kind: 'unavailable', reason: 'refused' }))
    await resolve()
    for (let i = 0; i < 100; i++) await resolve()
    expect(provider.asked).toHaveLength(1)

    const slow = gate()
    provider.script.push(async () => (await slow.passed, provider.succeed()))
    now.advance(3_000)
    expect((await resolve()).tokens.accessToken).toBe('access-1')
    slow.open()
    await expect.poll(async () => (await resolve()).tokens.accessToken).toBe('access-2')
    expect(provider.asked).toHaveLength(2)
  })

  test('Retry-After of the provider is honoured and handed on (R3)', async () => {
    const { resolve, provider, now } = await signedIn()
    provider.script.push(() => ({ kind: 'unavailable', reason: 'status 429', retryAfterSeconds: 7 }))

    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable', retryAfterSeconds: 7 })
    now.advance(3_000)
    await expect(resolve()).rejects.toMatchObject({ retryAfterSeconds: 4 })
    expect(provider.asked).toHaveLength(1)
    now.advance(4_000)
    await expect(resolve()).resolves.toMatchObject({ tokens: { accessToken: 'access-2' } })
  })

  test('a provider that throws has lost the answer, and nobody is signed out', async () => {
    const { resolve, provider, manager, cookieValue } = await signedIn()
    provider.script.push(() => {
      throw new Error('a defect')
    })

    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect((await manager.peek(cookieValue))?.refreshInDoubt?.losses).toBe(1)
  })
})

describe('a token that an API has refused before its time (PX-13)', () => {
  test('is replaced once, for all who bring it, on every instance, at once and later', async () => {
    const world = await signedIn('valid')
    const managers = [world.manager, world.sibling().manager]
    const replace = (refused: string) =>
      Promise.all(managers.flatMap((manager) => [0, 1, 2].map(() => manager.replaceToken(world.cookieValue, refused))))

    const sessions = [...(await replace('access-1')), ...(await replace('access-1'))]

    expect(new Set(sessions.map((session) => session?.tokens.accessToken))).toEqual(new Set(['access-2']))
    expect(world.provider.asked).toEqual(['refresh-1'])
    expect((await world.resolve()).tokens.accessToken).toBe('access-2')
  })

  test('has no successor where there is no refresh token, or where the provider sends the same again', async () => {
    const { manager, provider, store } = managerWorld()
    onTestFinished(() => manager.close())
    const { refreshToken: _none, ...tokens } = provider.issue()
    const poor = await manager.create({ provider: 'default', result: { ...provider.login(), tokens } })
    const rich = await manager.create({ provider: 'default', result: provider.login() })
    const refused = rich.session.tokens.accessToken
    provider.script.push(() => provider.succeed({ accessToken: refused }))
    const acquire = store.acquire.bind(store)
    store.acquire = () => Promise.reject(new Error('nobody needs the lock'))

    expect(await manager.replaceToken(poor.cookieValue, tokens.accessToken)).toBeUndefined()
    expect(provider.asked).toEqual([])
    store.acquire = acquire
    expect(await manager.replaceToken(rich.cookieValue, refused)).toBeUndefined()
    expect(provider.asked).toHaveLength(1)
  })

  test('a provider that is down is asked once and then left alone; the session stays', async () => {
    const { manager, provider, cookieValue, resolve, now } = await signedIn('valid')
    provider.script.push(() => ({ kind: 'unavailable', reason: 'status 503' }))
    const replace = () => manager.replaceToken(cookieValue, 'access-1')

    await expect(replace()).rejects.toMatchObject({ code: 'provider_unavailable' })
    await expect(replace()).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(provider.asked).toHaveLength(1)
    expect((await resolve()).tokens.accessToken).toBe('access-1')
    now.advance(2_000)
    expect((await replace())?.tokens.accessToken).toBe('access-2')
  })

  test('invalid_grant ends the session, and one that is gone already says so (RF-04)', async () => {
    const { manager, provider, cookieValue } = await signedIn('valid')
    provider.script.push(() => ({ kind: 'rejected', reason: 'invalid_grant' }))

    await expect(manager.replaceToken(cookieValue, 'access-1')).rejects.toMatchObject({ code: 'session_expired' })
    await expect(manager.replaceToken(cookieValue, 'access-1')).rejects.toMatchObject({ code: 'session_expired' })
    expect(await manager.peek(cookieValue)).toBeUndefined()
  })
})

describe('an answer that got lost', () => {
  const lost: RefreshOutcome = { kind: 'lost', reason: 'reset' }

  test('the token is tried again, and a server with a grace period heals it (R5)', async () => {
    const { resolve, provider, manager, cookieValue } = await signedIn()
    provider.script.push(() => lost)

    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect((await resolve()).tokens.accessToken).toBe('access-2')
    expect((await manager.peek(cookieValue))?.refreshInDoubt).toBeUndefined()
    expect(provider.asked).toEqual(['refresh-1', 'refresh-1'])
  })

  test('invalid_grant after a loss ends the session with a reason of its own (R5)', async () => {
    const { resolve, provider, log } = await signedIn()
    provider.script.push(
      () => lost,
      () => ({ kind: 'rejected', reason: 'invalid_grant' }),
    )

    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable' })
    await expect(resolve()).rejects.toMatchObject({ code: 'session_expired' })
    expect(provider.asked).toHaveLength(2)
    expect(log.events).toContain('session.ended refresh_lost')
  })

  test('after two losses the token is not tried again soon, by no instance (R5)', async () => {
    const world = await signedIn()
    const other = world.sibling()
    world.provider.script.push(
      () => lost,
      () => lost,
    )
    const attempt = (manager = world.manager) => manager.resolve(world.cookieValue, REQUEST)

    for (let i = 0; i < 10; i++) {
      await expect(attempt()).rejects.toMatchObject({ code: 'provider_unavailable' })
      await expect(attempt(other.manager)).rejects.toMatchObject({ code: 'provider_unavailable' })
    }
    expect(world.provider.asked).toHaveLength(2)

    world.now.advance(10_001)
    expect((await attempt(other.manager)).tokens.accessToken).toBe('access-2')
  })

  test('who gets the lock after another’s second loss leaves the token alone (R5)', async () => {
    const world = await signedIn()
    const other = world.sibling()
    world.provider.script.push(
      () => lost,
      () => lost,
    )
    const acquire = world.store.acquire.bind(world.store)
    world.store.acquire = async (...args) => {
      world.store.acquire = acquire
      for (let i = 0; i < 2; i++) await other.manager.resolve(world.cookieValue, REQUEST).catch(() => {})
      return acquire(...args)
    }

    await expect(world.resolve()).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(world.provider.asked).toHaveLength(2)
  })

  test('after two losses a good access token is not put at risk by a third try', async () => {
    const { resolve, provider, now } = await signedIn('stale')
    provider.script.push(
      () => lost,
      () => lost,
    )
    await resolve()
    now.advance(3_000)
    await expect.poll(async () => (await resolve(), provider.asked.length)).toBe(2)
    now.advance(15_000)
    await resolve()
    expect(provider.asked).toHaveLength(2)

    now.advance(5_000)
    await expect(resolve()).resolves.toMatchObject({ tokens: { accessToken: 'access-2' } })
  })

  test('who waited for a grant whose answer got lost does not try at once as well (R5)', async () => {
    const world = await signedIn()
    const other = world.sibling()
    const slow = gate()
    world.provider.script.push(async () => (await slow.passed, lost))
    const here = world.resolve()
    await expect.poll(() => world.provider.asked).toHaveLength(1)
    const there = other.manager.resolve(world.cookieValue, REQUEST)
    await new Promise((resolve) => setTimeout(resolve, 20))
    slow.open()

    await expect(here).rejects.toMatchObject({ code: 'provider_unavailable' })
    await expect(there).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(world.provider.asked).toHaveLength(1)
  })
})

describe('the session ends, or the store fails, while tokens are refreshed', () => {
  test('logout wins: nothing is stored, and the new tokens are revoked (R13, RF-06)', async () => {
    const { resolve, provider, manager, cookieValue, store, session } = await signedIn()
    const slow = gate()
    provider.script.push(async () => (await slow.passed, provider.succeed()))
    const answers = Promise.allSettled(Array.from({ length: 50 }, resolve))
    await expect.poll(() => provider.asked).toHaveLength(1)

    expect(await manager.end(cookieValue, 'logout')).toBeDefined()
    slow.open()

    for (const one of await answers) expect(one).toMatchObject({ reason: { code: 'session_expired' } })
    expect(provider.revoked).toEqual(['refresh-2'])
    expect(await store.get(session.ref)).toBeUndefined()
  })

  test('new tokens survive an outage of the store that is shorter than five seconds (R10)', async () => {
    const { resolve, store } = await signedIn()
    const replace = store.replace.bind(store)
    let failures = 0
    store.replace = (...args) => (++failures <= 4 ? storeDown() : replace(...args))

    expect((await resolve()).tokens.accessToken).toBe('access-2')
    expect(failures).toBe(5)
  })

  test('a write whose answer was lost is recognised as our own (R10)', async () => {
    const { resolve, provider, store, manager, cookieValue } = await signedIn()
    const replace = store.replace.bind(store)
    store.replace = async (...args) => {
      await replace(...args)
      store.replace = replace
      return storeDown()
    }

    expect((await resolve()).tokens.accessToken).toBe('access-2')
    expect((await manager.peek(cookieValue))?.version).toBe(2)
    expect(provider.revoked).toEqual([])
  })

  test('the answer of the lock gets lost: we hold it all the same, and nobody waits for its lease (R11)', async () => {
    const { resolve, store } = await signedIn()
    const acquire = store.acquire.bind(store)
    store.acquire = async (...args) => {
      await acquire(...args)
      store.acquire = acquire
      return storeDown()
    }

    expect((await resolve()).tokens.accessToken).toBe('access-2')
  })

  test('another change of the session meanwhile is kept, and the new tokens go on top of it', async () => {
    const { resolve, provider, store, keyRing, session, cookieValue } = await signedIn()
    provider.script.push(async () => {
      const changed = { ...session, version: 2, userAgent: 'changed meanwhile' }
      const sealed = keyRing.sealSession(cookieValue, session.ref, 2, JSON.stringify(changed))
      const record = { ...sealed, version: 2, lastSeenAt: 0, createdAt: 0 }
      await store.replace(session.ref, record, session.expiresAt, { expectedVersion: 1, announce: 'updated' })
      return provider.succeed()
    })

    expect(await resolve()).toMatchObject({
      version: 3,
      userAgent: 'changed meanwhile',
      tokens: { accessToken: 'access-2' },
    })
  })

  test('a holder that slept through its lease writes nothing over its successor (R4, R9)', async () => {
    const world = await signedIn('expired', { leaseMs: 30_000 })
    const other = world.sibling()
    const asleep = gate()
    world.provider.script.push(
      async () => (await asleep.passed, world.provider.succeed({ accessToken: 'of the sleeper' })),
    )
    const sleeper = world.resolve()
    await expect.poll(() => world.provider.asked).toHaveLength(1)
    world.now.advance(30_001) // its timers did not run either
    const successor = await other.manager.resolve(world.cookieValue, REQUEST)
    asleep.open()

    expect(successor.tokens.accessToken).toBe('access-2')
    expect((await sleeper).tokens.accessToken).toBe('access-2')
    expect((await other.manager.peek(world.cookieValue))?.tokens.accessToken).toBe('access-2')
    expect(world.provider.revoked).toEqual([])
  })

  test('closing waits for a grant under way and stores what it brings (R23)', async () => {
    const { resolve, provider, manager, sibling, cookieValue } = await signedIn()
    const slow = gate()
    provider.script.push(async () => (await slow.passed, provider.succeed()))
    const answer = resolve()
    await expect.poll(() => provider.asked).toHaveLength(1)

    const closed = manager.close()
    slow.open()
    await closed

    expect((await answer).tokens.accessToken).toBe('access-2')
    expect((await sibling().manager.peek(cookieValue))?.tokens.accessToken).toBe('access-2')
  })

  test('a clock that jumps ahead causes one refresh (R15)', async () => {
    const { resolve, provider, now, manager, cookieValue } = await signedIn('valid', {
      settings: { idleTimeout: 36_000_000 },
    })
    now.advance(3_600_000)
    await Promise.all(Array.from({ length: 20 }, resolve))

    expect(provider.asked).toHaveLength(1)
    expect(await manager.peek(cookieValue)).toBeDefined()
  })
})

describe('an outage of the store', () => {
  test('is no logout: 503 with Retry-After, and the session is there afterwards (SC-12)', async () => {
    const { store, manager, cookieValue } = await signedIn('valid', { settings: { cache: { maxEntries: 0, ttl: 0 } } })
    const get = store.get.bind(store)
    store.get = storeDown

    await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({
      code: 'store_unavailable',
      retryAfterSeconds: 5,
    })
    await expect(manager.peek(cookieValue)).rejects.toMatchObject({ code: 'store_unavailable' })
    store.get = get
    await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
  })

  test('with outageGrace, cached sessions with a good token go on for safe methods, and no others', async () => {
    const { store, manager, cookieValue, now, provider } = await signedIn('valid', {
      settings: { outageGrace: 60_000, cache: { maxEntries: 10, ttl: 0 } },
    })
    const unknown = await managerWorld({ store, clock: now, provider }).manager.create({
      provider: 'default',
      result: provider.login(),
    })
    await manager.peek(cookieValue)
    store.get = storeDown

    await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
    await expect(manager.resolve(cookieValue, { ...REQUEST, safeMethod: false })).rejects.toMatchObject({
      code: 'store_unavailable',
    })
    await expect(manager.resolve(unknown.cookieValue, REQUEST)).rejects.toMatchObject({ code: 'store_unavailable' })
    now.advance(200_001)
    await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'store_unavailable' })
  })

  test('outageGrace ends', async () => {
    const { store, manager, cookieValue } = await signedIn('valid', {
      settings: { outageGrace: 1_000, cache: { maxEntries: 10, ttl: 0 } },
    })
    await manager.peek(cookieValue)
    store.get = storeDown
    await manager.resolve(cookieValue, REQUEST)

    await expect
      .poll(() => manager.resolve(cookieValue, REQUEST).catch((error: BffError) => error.code), { timeout: 4_000 })
      .toBe('store_unavailable')
  })
})

test.each([
  ['of a login', { refreshedAt: undefined, expiresInMs: 20_000 }, -10_000],
  ['of a refresh that outlive the margin', { refreshedAt: 0, expiresInMs: 31_000 }, 1_000],
  ['of a refresh that do not', { refreshedAt: 0, expiresInMs: 20_000 }, 10_000],
])(
  'tokens %s are due when the margin begins, or at half their life',
  async (_name, { refreshedAt, expiresInMs }, due) => {
    const { session } = await signedIn()
    const tokens = { ...session.tokens, accessTokenExpiresAt: expiresInMs }

    expect(refreshDueAt({ ...session, tokens, ...(refreshedAt !== undefined && { refreshedAt }) }, 30_000)).toBe(due)
  },
)

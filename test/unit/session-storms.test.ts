/** Refreshes in the numbers of a bad day: what holds once holds each time. */
import { expect, onTestFinished, test } from 'vitest'
import type { RefreshOutcome } from '../../src/oidc/provider.ts'
import { managerWorld, REQUEST } from '../support/sessions.ts'

const rejected: RefreshOutcome = { kind: 'rejected', reason: 'invalid_grant' }

function open(changes: Parameters<typeof managerWorld>[0] = {}) {
  const world = managerWorld(changes)
  onTestFinished(() => world.manager.close())
  return world
}

/** Lets so many turns of the event loop pass. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Lets a few things happen: a count of microtasks for an even number, of turns of the event loop for an odd one. */
async function waits(count: number): Promise<void> {
  if (count % 2 === 1) return turns((count + 1) / 2)
  for (let i = 0; i < count * 4; i++) await Promise.resolve()
}

test('a hundred times over, 200 requests at once are a hundred grants (R1)', async () => {
  const { manager, provider, now } = open()
  const { cookieValue } = await manager.create({ provider: 'default', result: provider.login() })
  now.advance(provider.lifetimeMs)
  for (let round = 1; round <= 100; round += 1) {
    provider.script.push(async () => (await turns(2), provider.succeed()))
    const sessions = await Promise.all(Array.from({ length: 200 }, () => manager.resolve(cookieValue, REQUEST)))
    expect(new Set(sessions.map(({ tokens }) => tokens.accessToken))).toEqual(new Set([`access-${round + 1}`]))
    now.advance(provider.lifetimeMs)
  }

  expect(provider.asked).toHaveLength(100)
  expect(new Set(provider.asked).size).toBe(100)
})

test('100 sessions that expire together each keep their own tokens, in 100,000 calls (R1b)', async () => {
  const { manager, provider, now } = open()
  const made = await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      manager.create({ provider: 'default', result: provider.login({ sub: `user ${i}` }) }),
    ),
  )
  provider.refresh = async (session) => {
    provider.asked.push(session.tokens.refreshToken ?? '')
    await turns(1)
    return provider.succeed({ accessToken: `of ${session.sub} ${provider.asked.length}` })
  }
  let mixedUp = 0
  const callEach = (times: number) =>
    made.flatMap(({ cookieValue, session }) =>
      Array.from({ length: times }, async () => {
        const { tokens, sub } = await manager.resolve(cookieValue, REQUEST)
        if (sub !== session.sub || !tokens.accessToken.startsWith(`of ${session.sub} `)) mixedUp += 1
      }),
    )

  for (let round = 1; round <= 10; round += 1) {
    now.advance(provider.lifetimeMs)
    await Promise.all(callEach(20)) // these wait for the grants
    await Promise.all(callEach(80)) // these find what they brought
    expect(provider.asked).toHaveLength(100 * round)
  }

  expect(mixedUp).toBe(0)
  expect(new Set(provider.asked).size).toBe(1_000)
})

test('of 5,000 sessions that expire in one second no more than 50 are at the provider at once, and all are served (R18)', async () => {
  const { manager, provider, now } = open({ patienceMs: 60_000 })
  const made = await Promise.all(
    Array.from({ length: 5_000 }, (_, i) =>
      manager.create({ provider: 'default', result: provider.login({ sub: `user ${i}` }) }),
    ),
  )
  now.advance(provider.lifetimeMs + 1)
  let underWay = 0
  let most = 0
  provider.refresh = async ({ sub }) => {
    most = Math.max(most, (underWay += 1))
    await turns(1)
    underWay -= 1
    return provider.succeed({ accessToken: `of ${sub}` })
  }

  const sessions = await Promise.all(made.map(({ cookieValue }) => manager.resolve(cookieValue, REQUEST)))

  expect(most).toBe(50)
  expect(sessions.map(({ tokens }) => tokens.accessToken)).toEqual(sessions.map((_, i) => `of user ${i}`))
})

test('invalid_grant while another has just stored newer tokens ends nothing, in 1,000 races: the newer record wins (R6)', async () => {
  const { manager, provider, store, keyRing, now } = open()
  for (let i = 0; i < 1_000; i++) {
    const expired = provider.login({ tokens: { accessTokenExpiresAt: now() - 1 } })
    const { cookieValue, session } = await manager.create({ provider: 'default', result: expired })
    provider.script.push(async () => {
      // Another instance, which does not mind our lock: it slept through a lease of its own.
      const tokens = { ...provider.issue(), accessToken: 'newer' }
      const newer = { ...session, version: 2, tokens }
      const sealed = keyRing.sealSession(cookieValue, session.ref, 2, JSON.stringify(newer))
      const record = { ...sealed, version: 2, lastSeenAt: 0, createdAt: 0 }
      await store.replace(session.ref, record, session.expiresAt, { expectedVersion: 1, announce: 'refreshed' })
      return rejected
    })

    expect((await manager.resolve(cookieValue, REQUEST)).tokens.accessToken).toBe('newer')
  }
})

test('in 1,000 runs, at whatever moment a logout comes, no ended session is revived and no new token stays good (R13)', async () => {
  const { manager, provider, store, now } = open()
  for (let i = 0; i < 1_000; i++) {
    const expired = provider.login({ tokens: { accessTokenExpiresAt: now() - 1 } })
    const { cookieValue, session } = await manager.create({ provider: 'default', result: expired })
    const fresh = provider.issue()
    provider.script.push(async () => (await turns(1), { kind: 'refreshed', tokens: fresh }))
    const calls = Array.from({ length: i % 20 === 0 ? 50 : 5 }, () => manager.resolve(cookieValue, REQUEST))
    const answers = Promise.allSettled(calls)
    await waits(i % 12)
    const last = await manager.end(cookieValue, 'logout')
    await answers

    expect(await store.get(session.ref)).toBeUndefined()
    await expect(manager.resolve(cookieValue, REQUEST)).rejects.toMatchObject({ code: 'session_expired' })
    // Either the logout has got the new tokens, or whoever was to store them has revoked them, or they were never asked for.
    const isAccountedFor =
      last?.tokens.refreshToken === fresh.refreshToken ||
      provider.revoked.includes(fresh.refreshToken ?? '') ||
      provider.script.length === 1
    expect(isAccountedFor).toBe(true)
    provider.script.length = 0
  }
  expect(provider.revoked.length).toBeGreaterThan(100)
})

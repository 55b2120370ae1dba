/** What one browser hears of its session, over a time that the test moves. */
import { fastify } from 'fastify'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Judged } from '../../src/http/judge.ts'
import { EventStreams, registerEvents } from '../../src/routes/events.ts'
import type { SessionListener } from '../../src/session/events.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { sessionOf } from '../support/proxy-app.ts'

beforeEach(
  () => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] }),
)
afterEach(() => void vi.useRealTimers())

/** An open stream of a session that ends in an hour, and whose idle end the test sets. */
async function listen(idleMs = Number.MAX_SAFE_INTEGER) {
  const start = Date.now()
  const session = { ...sessionOf({ sub: 'alice' }), createdAt: start, expiresAt: start + 3_600_000 }
  const listeners = new Set<SessionListener>()
  const state = { idleExpiresAt: start + idleMs, isStoreDown: false, slow: Promise.resolve() }
  const app = fastify()
  app.decorateRequest('judged', null)
  app.addHook('onRequest', async (request) => {
    request.judged = { session, sessionCookie: 'cookie' } as unknown as Judged // as much of it as the route reads
  })
  registerEvents(app, new EventStreams(), {
    manager: {
      idleExpiresAt: () => state.idleExpiresAt,
      refreshNow: async () => session,
      peek: async () => {
        await state.slow
        if (state.isStoreDown) throw new Error('down')
        return session
      },
      onSessionEvent: (_ref, listener) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
    },
    metrics: new Metrics(),
    claims: ['sub'],
    basePath: '/bff',
    now: Date.now,
  })
  await app.ready()
  const timersBefore = vi.getTimerCount()
  const answer = app.inject('/session/events')
  await vi.waitUntil(() => listeners.size === 1)
  const end = async (): Promise<string[]> => {
    for (const listener of listeners) listener({ type: 'ended', reason: 'logout' })
    return (await answer).payload.split('\n\n').map((block) => block.split('\n')[0] ?? '')
  }
  return { state, listeners, end, timers: () => vi.getTimerCount() - timersBefore }
}

const EXPIRING = 'event: expiring'

test('a heartbeat each fifteen seconds keeps what is in between from closing a quiet stream', async () => {
  const { end } = await listen()
  await vi.advanceTimersByTimeAsync(46_000)

  expect(await end()).toEqual(['event: session', ...Array(3).fill(': still here'), 'event: ended', ''])
})

test('the absolute end is told a minute before, once', async () => {
  const { end } = await listen()
  await vi.advanceTimersByTimeAsync(3_539_000)
  await vi.advanceTimersByTimeAsync(20_000)

  expect((await end()).filter((event) => event === EXPIRING)).toHaveLength(1)
})

test('an idle end that moves is told anew, and one that has moved away is not told', async () => {
  const { state, end } = await listen(100_000)
  await vi.advanceTimersByTimeAsync(41_000)
  state.idleExpiresAt += 100_000 // used elsewhere, after the warning
  await vi.advanceTimersByTimeAsync(100_000)
  state.idleExpiresAt += 100_000
  await vi.advanceTimersByTimeAsync(1_000)

  expect((await end()).filter((event) => event === EXPIRING)).toHaveLength(2)
})

test('while the store is away nobody is told of an end, and afterwards the look goes on', async () => {
  const { state, end } = await listen(100_000)
  state.isStoreDown = true
  await vi.advanceTimersByTimeAsync(42_000)
  state.isStoreDown = false
  await vi.advanceTimersByTimeAsync(5_000)

  expect((await end()).filter((event) => event === EXPIRING)).toHaveLength(1)
})

test('after the end nothing listens and no timer runs, not even for a look that was under way', async () => {
  const { state, listeners, end, timers } = await listen(100_000)
  const { promise, resolve } = Promise.withResolvers<void>()
  Object.assign(state, { slow: promise, isStoreDown: true })
  await vi.advanceTimersByTimeAsync(41_000)
  expect(timers()).toBe(1) // the heartbeat: the look has begun

  await end()
  resolve()
  await vi.advanceTimersByTimeAsync(0)

  expect(listeners.size).toBe(0)
  expect(timers()).toBe(0)
})

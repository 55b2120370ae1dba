import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ScriptedAnswer, ScriptedBrowser, type ScriptedEvent } from '../support/scripted-tabs.ts'

const MINUTE = 60_000
const MINUTES = 16
const CODES = ['login_required', 'session_expired', 'step_up_required'] as const

const session = fc.nat(3).map((n) => {
  if (n === 0) return { authenticated: false, loginUrl: '/bff/login' }
  return { authenticated: true, createdAt: `2026-01-0${n}T00:00:00Z`, user: { sub: `user-${n}` } }
})
/** Anything that a gateway, an API, a proxy in between or an outage may say. */
const answer: fc.Arbitrary<ScriptedAnswer> = fc.record(
  {
    status: fc.constantFrom(200, 204, 400, 401, 403, 404, 429, 500, 503),
    code: fc.constantFrom(...CODES, 'csrf_rejected', 'store_unavailable'),
    body: fc.oneof(
      session,
      fc.constantFrom({}, [], null, { loginUrl: '/bff/login?max_age=0' }, { loginUrl: 'https://elsewhere.test/' }),
    ),
    isLost: fc.boolean(),
  },
  { requiredKeys: ['status'] },
)
const refusal: fc.Arbitrary<ScriptedAnswer> = fc
  .constantFrom(...CODES)
  .map((code) => ({ status: 401, code, body: { code, loginUrl: '/bff/login' } }))
const events: fc.Arbitrary<ScriptedEvent[] | undefined> = fc.option(
  fc.array(
    fc.oneof(
      session.map((data) => ({ type: 'session', data })),
      session.map((data) => ({ type: 'refreshed', data })),
      fc.constantFrom('logout', 'replaced', 'idle_timeout').map((reason) => ({ type: 'ended', data: { reason } })),
      fc.constant({ type: 'expiring', data: { expiresInSeconds: 60 } }),
    ),
    { maxLength: 4 },
  ),
  { nil: undefined },
)

/** Gives the same things over and over, in their order. */
function cycle<T>(items: readonly T[]): () => T {
  let at = 0
  return () => items[at++ % items.length] as T // not empty
}

/** Mostly the former: what makes a circle is seldom a failure. */
function mostly<T>(usual: fc.Arbitrary<T>, other: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 6, arbitrary: usual }, { weight: 1, arbitrary: other })
}

const known = session.map((body): ScriptedAnswer => ({ status: 200, body }))
const scripts = fc.record({
  calls: fc.array(mostly(refusal, answer), { minLength: 1, maxLength: 7 }),
  sessions: fc.array(mostly(known, answer), { minLength: 1, maxLength: 4 }),
  streams: fc.array(events, { minLength: 1, maxLength: 2 }),
  popup: fc.boolean(),
  tabs: fc.integer({ min: 1, max: 3 }),
})

test('whatever is answered, tabs whose application calls on and on sign in seldom, ask seldom, and never turn in a circle', async () => {
  await fc.assert(
    fc.asyncProperty(scripts, async ({ calls, sessions, streams, popup, tabs }) => {
      const [call, look, stream] = [cycle(calls), cycle(sessions), cycle(streams)]
      const browser = new ScriptedBrowser({ answer: (path) => (path === '/bff/session' ? look() : call()), stream })
      let made = 0
      for (let tab = 0; tab < tabs; tab += 1) {
        await browser.open({ popup }, (client, clock) => {
          client.onChange(() => {})
          const callAll = () => {
            for (const path of ['/api/a', '/api/b']) {
              made += 1
              client.fetch(path).catch(() => {})
            }
          }
          callAll()
          clock.setTimer(callAll, 20_000, 20_000)
        })
      }

      await browser.clock.advance(MINUTES * MINUTE)

      const loads = browser.signIns.flat().length + tabs
      for (const signIns of browser.signIns) {
        // For each reason: at once, after 1, 2, 4 and 8 minutes.
        expect(signIns.length).toBeLessThanOrEqual(CODES.length * 5)
        const inOneMinute = signIns.map((at) => signIns.filter((other) => other >= at && other < at + MINUTE).length)
        expect(Math.max(0, ...inOneMinute)).toBeLessThanOrEqual(CODES.length)
      }
      const asked = (wanted: string) => browser.asked.filter((path) => path.startsWith(wanted)).length
      // A call is made again at most once.
      expect(asked('/api/')).toBeLessThanOrEqual(2 * made)
      // A tab opens five streams a minute at most, and looks once for each event, once a minute and as its page loads;
      // what is new in one makes each of the others look once.
      const moments = loads + tabs * MINUTES
      expect(asked('/bff/session/events')).toBeLessThanOrEqual(5 * moments)
      expect(asked('/bff/session')).toBeLessThanOrEqual(5 * 5 * tabs * moments)
    }),
    { numRuns: 20 },
  )
})

test('tabs that get a different answer each time tell each other once, and are done', async () => {
  let asked = 0
  const browser = new ScriptedBrowser({
    answer: () => {
      asked += 1
      return { status: 200, body: { authenticated: true, createdAt: String(asked), user: { sub: 'alice' } } }
    },
    stream: () => [],
  })
  for (let tab = 0; tab < 3; tab += 1) await browser.open({}, (client) => void client.onChange(() => {}))

  await browser.clock.advance(MINUTE)

  // Each as it is opened, and each at most once for what either of the others had to tell.
  expect(asked).toBeLessThanOrEqual(9)
})

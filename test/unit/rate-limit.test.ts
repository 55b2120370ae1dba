import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RateLimiter } from '../../src/http/rate-limit.ts'

const rate = { limit: 3, windowMs: 60_000 }

function limiter(mostKeys?: number): { limiter: RateLimiter; clock: { now: number } } {
  const clock = { now: 1_000 }
  const limit = new RateLimiter({ now: () => clock.now, ...(mostKeys !== undefined && { mostKeys }) })
  return { limiter: limit, clock }
}

test('so many uses are allowed in a window, and the next ones are told when to come again', () => {
  const { limiter: one, clock } = limiter()
  for (let use = 0; use < 3; use += 1) expect(one.take('a', rate).allowed).toBe(true)
  clock.now += 20_500

  expect(one.take('a', rate)).toEqual({ allowed: false, retryAfterSeconds: 40 })
})

test('a new window begins when the old one has ended, however often it was asked meanwhile', () => {
  const { limiter: one, clock } = limiter()
  for (let use = 0; use < 50; use += 1) one.take('a', rate)
  clock.now += 59_999
  expect(one.take('a', rate)).toEqual({ allowed: false, retryAfterSeconds: 1 })
  clock.now += 1
  expect(one.take('a', rate)).toEqual({ allowed: true, retryAfterSeconds: 60 })
})

test('keys do not share a limit', () => {
  const { limiter: one } = limiter()
  for (let use = 0; use < 4; use += 1) one.take('a', rate)
  expect(one.take('b', rate).allowed).toBe(true)
})

test('a flood of keys keeps memory bounded and pushes out the oldest', () => {
  const { limiter: one } = limiter(100)
  for (let use = 0; use < 4; use += 1) one.take('victim', rate)
  for (let key = 0; key < 99; key += 1) one.take(`k${key}`, rate)
  expect(one.take('victim', rate).allowed).toBe(false)
  for (let key = 0; key < 1_000; key += 1) one.take(`flood${key}`, rate)

  expect(one.size).toBe(100)
  expect(one.take('victim', rate).allowed).toBe(true)
})

test('windows that have ended go before any that counts', () => {
  const { limiter: one, clock } = limiter(10)
  for (let key = 0; key < 10; key += 1) one.take(`old${key}`, rate)
  clock.now += 60_000
  one.take('new', rate)
  expect(one.size).toBe(1)
})

test('in any window of any sequence no more than the limit is allowed', () => {
  const steps = fc.array(fc.record({ after: fc.nat(30_000), key: fc.constantFrom('a', 'b') }), { maxLength: 60 })
  fc.assert(
    fc.property(steps, (sequence) => {
      const { limiter: one, clock } = limiter()
      const windows = new Map<string, { endsAt: number; allowed: number }>()
      for (const { after, key } of sequence) {
        clock.now += after
        let window = windows.get(key)
        if (!window || window.endsAt <= clock.now) window = { endsAt: clock.now + rate.windowMs, allowed: 0 }
        windows.set(key, window)
        const verdict = one.take(key, rate)
        if (verdict.allowed) window.allowed += 1
        expect(window.allowed).toBeLessThanOrEqual(rate.limit)
        expect(verdict.allowed || window.allowed === rate.limit).toBe(true)
        expect(clock.now + verdict.retryAfterSeconds * 1_000).toBeGreaterThanOrEqual(window.endsAt)
      }
    }),
  )
})

import { randomBytes } from 'node:crypto'
import { onTestFinished, expect, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { LoginLedger } from '../../src/session/login-ledger.ts'
import { MemoryStore } from '../../src/session/memory-store.ts'

function ledger() {
  const store = new MemoryStore()
  onTestFinished(() => store.close())
  const keyRing = new KeyRing([KeyRing.generateKey()])
  return { store, keyRing, ledger: new LoginLedger({ store, keyRing }) }
}

const state = () => randomBytes(32).toString('base64url')

test('of many callbacks of one login exactly one may trade the code (CB-02)', async () => {
  const { ledger: one } = ledger()
  const login = state()

  const claims = Array.from({ length: 20 }, () => one.claim(login, 5_000))
  const first = await Promise.race(claims)
  await one.succeed(login, { browser: 'b1', returnTo: '/orders' })
  const outcomes = await Promise.all(claims)

  expect(first).toBeUndefined()
  expect(outcomes.filter((outcome) => outcome === undefined)).toHaveLength(1)
  expect(outcomes.filter(Boolean)).toEqual(Array(19).fill({ kind: 'succeeded', browser: 'b1', returnTo: '/orders' }))
})

test('a login that failed stays failed', async () => {
  const { ledger: one } = ledger()
  const login = state()

  await one.claim(login, 0)
  await one.fail(login)

  expect(await one.claim(login, 0)).toEqual({ kind: 'failed' })
  expect(await one.lookUp(login)).toEqual({ kind: 'failed' })
})

test('who waits longer than its patience is told that it failed, and nothing is traded twice', async () => {
  const { ledger: one } = ledger()
  const login = state()
  await one.claim(login, 0)

  expect(await one.claim(login, 150)).toEqual({ kind: 'failed' })
})

test('an outcome that somebody wrote into the store is not believed', async () => {
  const { ledger: one, store, keyRing } = ledger()
  const login = state()
  const other = new KeyRing([KeyRing.generateKey()])
  await one.claim(login, 0)
  await one.succeed(login, { browser: 'b1', returnTo: '/orders' })

  expect(await new LoginLedger({ store, keyRing: other }).lookUp(login)).toEqual({ kind: 'failed' })
  expect(await new LoginLedger({ store, keyRing }).lookUp(login)).toMatchObject({ kind: 'succeeded' })
})

test('the leading login opens only with the seed of the transaction at which the logins meet', async () => {
  const { ledger: one } = ledger()
  const meeting = { state: state(), seed: randomBytes(32) }
  const first = { cookieValue: 'cookie-1', browser: 'b1' }
  const second = { cookieValue: 'cookie-2', browser: 'b2' }

  expect(await one.lead(meeting, first, 1_000)).toBeUndefined()
  expect(await one.lead(meeting, second, 1_000)).toEqual(first)
  expect(await one.lead({ ...meeting, seed: randomBytes(32) }, second, 1_000)).toBeUndefined()

  await one.takeLead(meeting, second, 1_000)
  expect(await one.lead(meeting, first, 1_000)).toEqual(second)
})

test('a long return address waits under its login and no other', async () => {
  const { ledger: one } = ledger()
  const login = state()

  await one.keepReturnTo(login, '/a/long/way', 1_000)

  expect(await one.keptReturnTo(login)).toBe('/a/long/way')
  expect(await one.keptReturnTo(state())).toBeUndefined()
})

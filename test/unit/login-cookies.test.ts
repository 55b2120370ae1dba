import { expect, test } from 'vitest'
import {
  MOST_TRANSACTIONS,
  openCurrent,
  openTransactions,
  sealCurrent,
  sealTransaction,
} from '../../src/http/login-cookies.ts'
import { createLoginTransaction, encodeTransaction, stateOf, transactionId } from '../../src/oidc/login-transaction.ts'
import { KeyRing } from '../../src/session/key-ring.ts'

const now = 1_800_000_000_000
const ring = new KeyRing([KeyRing.generateKey()])
const current = { cookieValue: 'c'.repeat(43), browser: 'b'.repeat(22) }

function begun(createdAt: number, returnTo = '/orders') {
  const transaction = createLoginTransaction({ createdAt, provider: 'default', issuer: 'a-mark_8', returnTo })
  return { id: transactionId(stateOf(transaction)), sealed: sealTransaction(ring, transaction), transaction }
}

test('a transaction cookie is at most 200 bytes with a short return address', () => {
  const { id, sealed } = begun(now, '/orders?page=2')

  expect(`__Secure-sidegate-tx-${id}=${sealed}`.length).toBeLessThanOrEqual(200)
})

test('twenty-four of them and the current cookie stay under 6 kB', () => {
  const cookies = Array.from({ length: MOST_TRANSACTIONS }, () => begun(now))

  const header = cookies.map(({ id, sealed }) => `__Secure-sidegate-tx-${id}=${sealed}; `).join('')

  expect(header.length + sealCurrent(ring, current).length + 30).toBeLessThan(6_000)
})

test('the transactions come oldest first, and of too many the oldest are to be cleared', () => {
  const all = Array.from({ length: 26 }, (_, n) => begun(now - 1_000 * n))

  const { held, stale } = openTransactions(ring, new Map(all.map(({ id, sealed }) => [id, sealed])), now)

  expect(held[0]?.id).toBe(all[25]?.id)
  expect(stale.toSorted()).toEqual([all[24]?.id ?? '', all[25]?.id ?? ''].toSorted())
})

test('a transaction older than ten minutes is none, even while its cookie is there (AR-08)', () => {
  const old = begun(now - 600_001)
  const young = begun(now - 600_000)

  const { held, stale } = openTransactions(
    ring,
    new Map([
      [old.id, old.sealed],
      [young.id, young.sealed],
    ]),
    now,
  )

  expect(held.map(({ id }) => id)).toEqual([young.id])
  expect(stale).toEqual([old.id])
})

test('a value under another name, changed, or sealed by a foreign key opens nothing (CB-01)', () => {
  const one = begun(now)
  const other = begun(now)
  const foreign = new KeyRing([KeyRing.generateKey()])
  // Not the last character: of that one some bits mean nothing.
  const flipped = one.sealed.slice(0, -2) + (one.sealed.at(-2) === 'A' ? 'B' : 'A') + one.sealed.slice(-1)

  expect(openTransactions(ring, new Map([[one.id, other.sealed]]), now).held).toEqual([])
  expect(openTransactions(ring, new Map([[one.id, flipped]]), now).held).toEqual([])
  expect(openTransactions(foreign, new Map([[one.id, one.sealed]]), now).held).toEqual([])
  expect(openTransactions(ring, new Map([[one.id, one.sealed]]), now).held).toHaveLength(1)
})

test('a transaction of another version of the gateway is none here, and stays for the instance that began it (R29)', () => {
  const { id, transaction } = begun(now)
  const newer = encodeTransaction(transaction)
  newer.writeUInt8(2, 0)

  const opened = openTransactions(ring, new Map([[id, ring.seal(`transaction ${id}`, newer)]]), now)

  expect(opened).toEqual({ held: [], stale: [] })
})

test('the current cookie gives its login back, and a transaction is no current cookie', () => {
  expect(openCurrent(ring, sealCurrent(ring, current))).toEqual(current)
  expect(openCurrent(ring, begun(now).sealed)).toBeUndefined()
  expect(openCurrent(ring, undefined)).toBeUndefined()
})

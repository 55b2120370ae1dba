/** The cookies that only the callback sees: logins on their way, and the session that the last one made. */
import {
  decodeTransaction,
  encodeTransaction,
  type LoginTransaction,
  stateOf,
  TRANSACTION_LIFETIME_MS,
  transactionId,
} from '../oidc/login-transaction.ts'
import type { KeyRing } from '../session/key-ring.ts'

/** More logins than this at once are no human's: the oldest go (the cookies together stay under 6 kB). */
export const MOST_TRANSACTIONS = 24

const CURRENT_PURPOSE = 'current'

type Sealer = Pick<KeyRing, 'seal' | 'open'>

/** Sealed for one cookie name: a value moved to another name does not open. */
function purposeOf(id: string): string {
  return `transaction ${id}`
}

/** A transaction together with its state, and the id that its cookie is named by. */
export interface HeldTransaction {
  readonly id: string
  readonly state: string
  readonly transaction: LoginTransaction
}

/**
 * The value of the transaction cookie, at most about 170 characters with a short returnTo.
 *
 * @param state the transaction's own, where the caller has derived it already
 */
export function sealTransaction(ring: Sealer, transaction: LoginTransaction, state = stateOf(transaction)): string {
  return ring.seal(purposeOf(transactionId(state)), encodeTransaction(transaction))
}

/**
 * The logins that this browser has begun and that are not too old, oldest first, and the ids of cookies to clear:
 * those that cannot be opened, have expired, or are too many.
 *
 * @param cookies id → value of each transaction cookie that came exactly once
 */
export function openTransactions(
  ring: Sealer,
  cookies: ReadonlyMap<string, string>,
  now: number,
): { held: HeldTransaction[]; stale: string[] } {
  const held: HeldTransaction[] = []
  const stale: string[] = []
  for (const [id, value] of cookies) {
    const plain = ring.open(purposeOf(id), value)
    const transaction = plain && decodeTransaction(plain)
    // Of another version of the gateway beside this one, which will finish it (R29).
    if (plain && !transaction) continue
    // The name is bound by the seal; that the id is this seed's keeps a foreign seed from posing under it.
    const state = transaction && stateOf(transaction)
    if (state && transactionId(state) === id && !isTooOld(transaction, now)) held.push({ id, state, transaction })
    else stale.push(id)
  }
  held.sort((a, b) => a.transaction.createdAt - b.transaction.createdAt || (a.id < b.id ? -1 : 1))
  const surplus = Math.max(0, held.length - MOST_TRANSACTIONS)
  return { held, stale: [...stale, ...held.slice(0, surplus).map(({ id }) => id)] }
}

/** A clock of another instance may be a little ahead: a start in the near future is taken. */
function isTooOld(transaction: LoginTransaction, now: number): boolean {
  const age = now - transaction.createdAt
  return age > TRANSACTION_LIFETIME_MS || age < -60_000
}

/** What the last callback in a browser left there. */
export interface CurrentLogin {
  /** Of the session that it made; the ref follows from it. */
  readonly cookieValue: string
  /** Stays the same from callback to callback: by it a reload is known to come from the browser that signed in. */
  readonly browser: string
}

/** The value of the current cookie. */
export function sealCurrent(ring: Sealer, current: CurrentLogin): string {
  return ring.seal(CURRENT_PURPOSE, `${current.cookieValue} ${current.browser}`)
}

/** `undefined` when there is no such cookie or it is not ours. */
export function openCurrent(ring: Sealer, value: string | undefined): CurrentLogin | undefined {
  const plain = value === undefined ? undefined : ring.open(CURRENT_PURPOSE, value)
  const [cookieValue, browser] = plain?.toString().split(' ') ?? []
  return cookieValue === undefined || browser === undefined ? undefined : { cookieValue, browser }
}

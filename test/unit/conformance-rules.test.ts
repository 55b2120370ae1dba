/** Requirements that a function of plain data keeps, held against what is written elsewhere and not against itself. */
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { openTransactions, sealTransaction } from '../../src/http/login-cookies.ts'
import { createLoginTransaction, encodeTransaction, stateOf, transactionId } from '../../src/oidc/login-transaction.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import { sessionRef } from '../../src/session/session.ts'

test('what the store knows a session by is the hash of its id: nobody who reads it there has the id (SC-07)', () => {
  const id = 'B'.repeat(43)

  expect(sessionRef(id)).toBe(createHash('sha256').update(id, 'ascii').digest('base64url'))
})

test('a login that somebody wrote into a cookie by hand is none: only what we sealed opens (CB-01)', () => {
  const ring = new KeyRing([KeyRing.generateKey()])
  const now = Date.now()
  const transaction = createLoginTransaction({ createdAt: now, provider: 'default', issuer: 'a-mark_8', returnTo: '/' })
  const id = transactionId(stateOf(transaction))
  const open = (value: string): number => openTransactions(ring, new Map([[id, value]]), now).held.length

  expect(open(sealTransaction(ring, transaction))).toBe(1)
  expect(open(encodeTransaction(transaction).toString('base64url'))).toBe(0)
})

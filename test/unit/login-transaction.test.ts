import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  codeVerifierOf,
  createLoginTransaction,
  decodeTransaction,
  encodeTransaction,
  type LoginTransaction,
  nonceOf,
  stateOf,
  transactionId,
} from '../../src/oidc/login-transaction.ts'

const start = { createdAt: 1_800_000_000_000, provider: 'default', issuer: 'a-mark_8', returnTo: '/' }

test('state, nonce and verifier are fresh, 256 bits wide and unlike each other (AR-02, AR-04, AR-05)', () => {
  const seen = new Set<string>()

  for (let n = 0; n < 1_000; n += 1) {
    const transaction = createLoginTransaction(start)
    for (const value of [stateOf(transaction), nonceOf(transaction), codeVerifierOf(transaction)]) {
      expect(value).toMatch(/^[A-Za-z0-9_-]{43}$/)
      seen.add(value)
    }
  }

  expect(seen.size).toBe(3_000)
})

test('the same transaction gives the same values after a journey through its cookie (AR-08)', () => {
  const arbitrary: fc.Arbitrary<LoginTransaction> = fc
    .record(
      {
        createdAt: fc.integer({ min: 0, max: 2 ** 47 }),
        provider: fc.constantFrom('default', 'partner'),
        issuer: fc.constantFrom('a-mark_8', 'another1'),
        returnTo: fc.option(fc.string({ maxLength: 300 }), { nil: undefined }),
        maxAgeSeconds: fc.nat(),
        acrValues: fc.array(fc.string(), { minLength: 1, maxLength: 3 }),
        isPopup: fc.constant(true as const),
        isSilent: fc.constant(true as const),
      },
      { requiredKeys: ['createdAt', 'provider', 'returnTo'] },
    )
    .map((details) => createLoginTransaction(details))

  fc.assert(
    fc.property(arbitrary, (transaction) => {
      const copy = decodeTransaction(encodeTransaction(transaction))

      expect(copy).toEqual(transaction)
      expect(copy && stateOf(copy)).toBe(stateOf(transaction))
    }),
  )
})

test('a transaction of another version of the gateway is none', () => {
  const encoded = encodeTransaction(createLoginTransaction(start))
  encoded.writeUInt8(2, 0)

  expect(decodeTransaction(encoded)).toBeUndefined()
  expect(decodeTransaction(Buffer.alloc(3))).toBeUndefined()
})

test('the id is a part of the state, so that a callback finds its cookie', () => {
  const state = stateOf(createLoginTransaction(start))

  expect(state.startsWith(transactionId(state))).toBe(true)
  expect(transactionId(state)).toHaveLength(8)
})

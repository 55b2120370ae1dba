import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkContinuity, checkIdToken } from '../../src/oidc/id-token.ts'
import type { IdTokenExpectations, IdTokenRules } from '../../src/oidc/id-token.ts'

const NOW = 1_800_000_000
const ISSUER = 'https://id.example.com/realms/acme'
const rules: IdTokenRules = {
  issuer: ISSUER,
  clientId: 'shop',
  algorithm: 'RS256',
  clockToleranceMs: 30_000,
  now: () => NOW * 1_000,
}
const good = { iss: ISSUER, aud: 'shop', sub: 'alice', iat: NOW, exp: NOW + 300, nonce: 'n-1' }
const login: IdTokenExpectations = { nonce: 'n-1', accessToken: 'at-1' }

function judge(
  claims: Record<string, unknown>,
  expected: Partial<IdTokenExpectations> = {},
  { header = {}, rules: other = {} }: { header?: Record<string, unknown>; rules?: Partial<IdTokenRules> } = {},
): () => void {
  return () =>
    checkIdToken({ header: { alg: 'RS256', ...header }, claims }, { ...login, ...expected }, { ...rules, ...other })
}

test('a good ID token passes', () => {
  expect(judge(good)).not.toThrow()
})

describe('refused', () => {
  test.each([
    ['another issuer (ID-01)', { iss: 'https://evil.example' }, /iss/],
    ['the issuer with a slash more (ID-01)', { iss: `${ISSUER}/` }, /iss/],
    ['no issuer (ID-01)', { iss: undefined }, /iss/],
    ['another audience (ID-02)', { aud: 'other' }, /aud/],
    ['no audience (ID-02)', { aud: undefined }, /aud/],
    ['a further audience without azp (ID-02)', { aud: ['shop', 'other'] }, /azp/],
    ['a further audience with another azp (ID-02)', { aud: ['shop', 'other'], azp: 'other' }, /azp/],
    ['another azp beside our audience alone (ID-02)', { azp: 'other' }, /azp/],
    ['no exp (ID-05)', { exp: undefined }, /exp is missing/],
    ['an exp that is a text (ID-05)', { exp: String(NOW + 300) }, /exp is missing/],
    ['no iat (ID-05)', { iat: undefined }, /iat is missing/],
    ['an iat of an hour ago (ID-05)', { iat: NOW - 3_600 }, /too long ago/],
    ['an nbf in the future (ID-05)', { nbf: NOW + 31 }, /nbf/],
    ['no nonce (ID-06)', { nonce: undefined }, /nonce/],
    ['another nonce (ID-06)', { nonce: 'n-2' }, /nonce/],
    ['no sub (ID-08)', { sub: undefined }, /sub/],
    ['an empty sub (ID-08)', { sub: '' }, /sub/],
    ['a sub that is a number (ID-08)', { sub: 7 }, /sub/],
    ['a sub of 256 characters (ID-08)', { sub: 'a'.repeat(256) }, /sub/],
    ['a sub beyond ASCII (ID-08)', { sub: 'Zoë' }, /sub/],
    ['a sub with a line break (ID-08)', { sub: 'a\nb' }, /sub/],
    ['the at_hash of another access token (ID-11)', { at_hash: hash('at-2') }, /at_hash/],
  ])('%s', (_name, change, reason) => {
    expect(judge({ ...good, ...change })).toThrow(expect.objectContaining({ code: 'login_failed' }))
    expect(judge({ ...good, ...change })).toThrow(reason)
  })

  test.each(['at+jwt', 'application/at+jwt', 'AT+JWT', 'logout+jwt', 'dpop+jwt'])(
    'a JWT of type %s: an access token is never taken as identity (ID-13)',
    (typ) => {
      expect(judge(good, {}, { header: { typ } })).toThrow(/another type/)
    },
  )
})

describe('the clock', () => {
  test.each([
    [{ exp: NOW - 29 }, true],
    [{ exp: NOW - 31 }, false],
    [{ iat: NOW + 29 }, true],
    [{ iat: NOW + 31 }, false],
    [{ nbf: NOW + 29 }, true],
    [{ iat: NOW - 300 }, true],
  ])('%o with 30 s of tolerance: taken is %s (ID-05, R14)', (change, isTaken) => {
    if (isTaken) expect(judge({ ...good, ...change })).not.toThrow()
    else expect(judge({ ...good, ...change })).toThrow(/our clock says 1800000000: check the clocks/)
  })
})

describe('what this login asked for', () => {
  test.each([
    ['auth_time is missing', {}, /auth_time is missing/],
    ['auth_time is too long ago', { auth_time: NOW - 91 }, /longer ago/],
    ['auth_time is in the future', { auth_time: NOW + 31 }, /auth_time/],
    ['auth_time is a text', { auth_time: 'now' }, /auth_time/],
  ])('max_age 60 and %s: refused (ID-09)', (_name, change, reason) => {
    expect(judge({ ...good, ...change }, { maxAgeSeconds: 60 })).toThrow(reason)
  })

  test('max_age 60 and an authentication of 60 s ago: taken (ID-09)', () => {
    expect(judge({ ...good, auth_time: NOW - 60 }, { maxAgeSeconds: 60 })).not.toThrow()
  })

  test.each([
    [undefined, false],
    ['urn:weak', false],
    [['urn:strong'], false],
    ['urn:strong', true],
    ['urn:stronger', true],
  ])('acr_values urn:strong urn:stronger and acr %o: taken is %s (ID-10)', (acr, isTaken) => {
    const check = judge({ ...good, acr }, { acrValues: ['urn:strong', 'urn:stronger'] })

    if (isTaken) expect(check).not.toThrow()
    else expect(check).toThrow(/acr/)
  })

  test.each([
    ['RS256', 'sha256'],
    ['ES384', 'sha384'],
    ['PS512', 'sha512'],
    ['EdDSA', 'sha512'],
  ])('at_hash is compared by the hash of %s (ID-11)', (alg, algorithm) => {
    expect(judge({ ...good, at_hash: hash('at-1', algorithm) }, {}, { header: { alg } })).not.toThrow()
    expect(judge({ ...good, at_hash: hash('at-2', algorithm) }, {}, { header: { alg } })).toThrow(/at_hash/)
  })
})

test('of a multi-tenant issuer only the named tenants are taken (ID-01)', () => {
  const template = { issuer: 'https://login.example/{tenantid}/v2.0', allowedTenants: ['t-1'] }
  const of = (tid: unknown, iss = `https://login.example/${String(tid)}/v2.0`): (() => void) =>
    judge({ ...good, iss, tid }, {}, { rules: template })

  expect(of('t-1')).not.toThrow()
  expect(of('t-2')).toThrow(/tid/)
  expect(of(undefined)).toThrow(/tid/)
  expect(of('t-1', 'https://login.example/t-2/v2.0')).toThrow(/iss/)
  expect(of('t-1', 'https://login.example/{tenantid}/v2.0')).toThrow(/iss/)
})

test('whatever the claims hold, the answer is a verdict and no crash', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...Object.keys(good), 'azp', 'nbf', 'acr', 'auth_time', 'at_hash'), fc.anything()),
      (claims) => {
        try {
          judge(claims, { maxAgeSeconds: 60, acrValues: ['a'] })()
        } catch (error) {
          expect(error).toMatchObject({ code: 'login_failed' })
        }
      },
    ),
  )
})

describe('after a refresh', () => {
  const before = { ...good, azp: 'shop', auth_time: NOW - 500, iat: NOW - 400 }

  test('the same authentication of the same person goes on, with or without nonce and auth_time (RF-05)', () => {
    const { nonce: _nonce, auth_time: _time, ...sparse } = { ...before, iat: NOW }
    expect(() => checkContinuity(before, { ...before, iat: NOW })).not.toThrow()
    expect(() => checkContinuity(before, sparse)).not.toThrow()
    expect(() => checkContinuity(before, { ...before, aud: ['shop'] })).not.toThrow()
  })

  test.each([
    ['iss', { iss: 'https://other.example' }],
    ['sub', { sub: 'mallory' }],
    ['sub', { sub: undefined }],
    ['aud', { aud: ['shop', 'more'] }],
    ['azp', { azp: 'other' }],
    ['azp', { azp: undefined }],
    ['auth_time', { auth_time: NOW }],
    ['nonce', { nonce: 'n-2' }],
    ['iat', { iat: NOW - 401 }],
  ])('another %s ends it: %o (RF-05)', (claim, change) => {
    expect(() => checkContinuity(before, { ...before, iat: NOW, ...change })).toThrow(new RegExp(claim))
  })
})

function hash(text: string, algorithm = 'sha256'): string {
  const digest = createHash(algorithm).update(text).digest()
  return digest.subarray(0, digest.length / 2).toString('base64url')
}

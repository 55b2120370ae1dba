import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkLogoutToken } from '../../src/oidc/logout-token.ts'
import type { LogoutToken } from '../../src/oidc/logout-token.ts'

const NOW = 1_800_000_000
const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const rules = { issuer: 'https://id.example.com', clientId: 'shop', clockToleranceMs: 30_000, now: () => NOW * 1_000 }
const good = {
  iss: rules.issuer,
  aud: 'shop',
  iat: NOW,
  exp: NOW + 120,
  jti: 'j-1',
  sub: 'alice',
  sid: 's-1',
  events: { [EVENT]: {} },
}

function judge(claims: Record<string, unknown>, header: Record<string, unknown> = {}): LogoutToken {
  return checkLogoutToken({ header: { alg: 'RS256', ...header }, claims }, rules)
}

test('a good logout token says whose sessions end (LO-07)', () => {
  expect(judge(good)).toEqual({ iss: rules.issuer, sub: 'alice', sid: 's-1', jti: 'j-1', iat: NOW, exp: NOW + 120 })
})

test.each([
  ['sub alone', { sid: undefined }],
  ['sid alone', { sub: undefined }],
  ['an event with content', { events: { [EVENT]: { any: 1 }, 'https://other.example/event': 'text' } }],
  ['several audiences', { aud: ['other', 'shop'] }],
  ['a sid of any printable characters (LO-10)', { sid: 'a "quoted": sid\\ with spaces' }],
])('%s is enough (LO-07)', (_name, change) => {
  expect(judge({ ...good, ...change })).toMatchObject({ jti: 'j-1' })
})

test.each([undefined, 'logout+jwt', 'application/logout+jwt', 'LOGOUT+JWT'])('typ %s is taken (LO-08)', (typ) => {
  expect(judge(good, typ === undefined ? {} : { typ })).toMatchObject({ jti: 'j-1' })
})

test.each(['at+jwt', 'JWT', 'secevent+jwt', '', 7])('typ %s is another token (LO-08)', (typ) => {
  expect(() => judge(good, { typ })).toThrow(expect.objectContaining({ code: 'invalid_request' }))
})

describe('refused (LO-07)', () => {
  test.each([
    ['another issuer', { iss: 'https://id.example.com/' }, /iss/],
    ['no issuer', { iss: undefined }, /iss/],
    ['another audience', { aud: 'other' }, /aud/],
    ['no audience', { aud: undefined }, /aud/],
    ['no iat', { iat: undefined }, /iat/],
    ['an iat in the future', { iat: NOW + 31 }, /iat/],
    ['no exp', { exp: undefined }, /exp/],
    ['an exp that is past', { exp: NOW - 31 }, /exp/],
    ['no jti', { jti: undefined }, /jti/],
    ['an empty jti', { jti: '' }, /jti/],
    ['a jti that is a number', { jti: 7 }, /jti/],
    ['neither sub nor sid', { sub: undefined, sid: undefined }, /neither/],
    ['a sub that is a number', { sub: 7 }, /neither/],
    ['an empty sid', { sid: '' }, /neither/],
    ['no events', { events: undefined }, /events/],
    ['events that are a text', { events: EVENT }, /events/],
    ['events that are a list', { events: [EVENT] }, /events/],
    ['another event', { events: { 'https://other.example': {} } }, /events/],
    ['an event that is true', { events: { [EVENT]: true } }, /events/],
    ['an event that is null', { events: { [EVENT]: null } }, /events/],
    ['a nonce: it is an ID token', { nonce: 'n' }, /nonce/],
    ['a nonce of null', { nonce: null }, /nonce/],
  ])('%s', (_name, change, reason) => {
    expect(() => judge({ ...good, ...change })).toThrow(expect.objectContaining({ code: 'invalid_request' }))
    expect(() => judge({ ...good, ...change })).toThrow(reason)
  })
})

test('whatever the claims hold, the answer is a verdict and no crash', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(good), 'nonce'), fc.anything()), (claims) => {
      try {
        judge(claims)
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid_request' })
      }
    }),
  )
})

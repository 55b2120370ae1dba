import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checkAccessToken,
  checkIntrospection,
  invalidToken,
  isSignedJwt,
  verifyAccessToken,
} from '../../src/oidc/access-token.ts'

const NOW = 1_800_000_000
const API = 'https://orders.example.com'
const rules = {
  issuer: 'https://id.example.com',
  audience: API,
  clientIds: ['shop'],
  clockToleranceMs: 30_000,
  now: () => NOW * 1_000,
}
const good = { iss: rules.issuer, aud: API, sub: 'alice', client_id: 'mobile', iat: NOW, exp: NOW + 300, jti: 'j-1' }
/** Where the API is registered under the client id of the gateway, as Entra has it. */
const shared = { ...rules, audience: 'shop' }

function judge(claims: object, header: object = { typ: 'at+jwt' }, by = rules): void {
  checkAccessToken({ header: { alg: 'RS256', ...header }, claims: { ...claims } }, by)
}

const refused = (detail: RegExp) =>
  expect.objectContaining({
    code: 'login_required',
    message: expect.stringMatching(detail),
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
  })

test.each(['at+jwt', 'application/at+jwt', 'AT+JWT', 'JWT', undefined])('an access token of type %s is good', (typ) => {
  expect(() => judge(good, { typ })).not.toThrow()
})

test.each(['logout+jwt', 'dpop+jwt', 'secevent+jwt', 'id_token+jwt', 'at', ''])('typ %s is another token', (typ) => {
  expect(() => judge(good, { typ })).toThrow(refused(/typ/))
})

test.each([
  ['several audiences', { aud: ['https://other.example.com', API] }],
  ['an exp that is past within the tolerance', { exp: NOW - 29 }],
  ['an nbf in the future within the tolerance', { nbf: NOW + 30 }],
  ['no iat', { iat: undefined }],
  ['claims of Keycloak', { typ: 'Bearer', azp: 'mobile', nonce: 'n', aud: [API, 'account'] }],
  ['claims of Cognito', { token_use: 'access' }],
])('%s will do', (_name, change) => {
  expect(() => judge({ ...good, ...change }, { typ: 'JWT' })).not.toThrow()
})

describe('refused', () => {
  test.each([
    ['another issuer', { iss: 'https://id.example.com/' }, /iss/],
    ['no issuer', { iss: undefined }, /iss/],
    ['another audience', { aud: 'https://orders.example.com/' }, /aud/],
    ['no audience', { aud: undefined }, /aud/],
    ['an audience inside of another', { aud: [[API]] }, /aud/],
    ['no exp', { exp: undefined }, /exp/],
    ['an exp that is a text', { exp: String(NOW + 300) }, /exp/],
    ['an exp that is past', { exp: NOW - 30 }, /exp/],
    ['an nbf in the future', { nbf: NOW + 31 }, /nbf/],
    ['an nbf that is no time', { nbf: 'soon' }, /nbf/],
    ['an iat in the future', { iat: NOW + 31 }, /iat/],
    ['a token bound to a DPoP key', { cnf: { jkt: 'x' } }, /bound/],
    ['a token bound to a certificate', { cnf: { 'x5t#S256': 'x' } }, /bound/],
  ])('%s', (_name, change, detail) => {
    expect(() => judge({ ...good, ...change })).toThrow(refused(detail))
  })
})

describe('an ID token is no access token', () => {
  test.each([
    ['with at_hash', { at_hash: 'x' }],
    ['with c_hash', { c_hash: 'x' }],
    ['of Cognito', { token_use: 'id' }],
    ['of Keycloak', { typ: 'ID' }],
    ['for the app that is the audience, with a nonce', { aud: 'shop', azp: 'shop', nonce: 'n', scope: 'openid' }],
    ['for us, with a nonce', { aud: ['shop'], nonce: 'n', scope: 'openid' }],
    ['for us, without a nonce', { aud: 'shop', client_id: undefined }],
  ])('%s', (_name, change) => {
    expect(() => judge({ ...good, ...change }, { typ: 'JWT' }, 'aud' in change ? shared : rules)).toThrow(refused(/./))
  })

  test('a refresh token and a logout token are none either', () => {
    expect(() => judge({ ...good, typ: 'Refresh' }, {})).toThrow(refused(/kind/))
    expect(() => judge({ ...good, events: {} }, {})).toThrow(refused(/event/))
  })

  test('an access token for an API that is known by our client id says that it is one', () => {
    expect(() => judge({ ...good, aud: 'shop', scp: 'orders.read' }, { typ: 'JWT' }, shared)).not.toThrow()
    expect(() => judge({ ...good, aud: 'shop', nonce: 'n' }, { typ: 'at+jwt' }, shared)).not.toThrow()
  })
})

describe('introspection (RF-09)', () => {
  test('an active token for the audience is good until it expires', () => {
    const answer = { active: true, aud: API, sub: 'alice', exp: NOW + 60 }

    expect(checkIntrospection('opaque', answer, rules)).toEqual({
      token: 'opaque',
      claims: answer,
      expiresAt: (NOW + 60) * 1_000,
    })
    expect(checkIntrospection('opaque', { active: true, aud: [API] }, rules).expiresAt).toBeUndefined()
  })

  test.each([
    ['a token that is not active', { active: false }],
    ['an answer that only looks like a yes', { active: 'true' }],
    ['a token of another issuer', { iss: 'https://other.example.com' }],
    ['a token for another API', { aud: 'https://other.example.com' }],
    ['a token for nobody in particular', { aud: undefined }],
    ['a token that has expired', { exp: NOW - 60 }],
    ['a token with an odd end', { exp: 'never' }],
    ['a refresh token', { token_type: 'refresh_token' }],
    ['a bound token', { token_type: 'DPoP' }],
    ['a token bound by its claims', { cnf: { jkt: 'x' } }],
  ])('%s is refused', (_name, change) => {
    const answer = { active: true, aud: API, iss: rules.issuer, token_type: 'Bearer', exp: NOW + 60, ...change }

    expect(() => checkIntrospection('opaque', answer, rules)).toThrow(refused(/./))
  })
})

test('three parts with a JOSE header are a JWT, everything else is opaque, whatever it is', () => {
  const header = Buffer.from('{"alg":"RS256"}').toString('base64url')

  expect(isSignedJwt(`${header}.e30.sig`)).toBe(true)
  expect(isSignedJwt(`${header}.e30`)).toBe(false)
  expect(isSignedJwt(`${header}.a.b.c.d`)).toBe(false)
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('.', 'e', 'y', 'J', '0', '=', '-') }), (text) => {
      expect(isSignedJwt(text)).toBe(false)
    }),
  )
})

test.each(['none', 'HS256', 'HS512', 'RS1', 'ES256K', 'dir'])('alg %s asks for no key', async (alg) => {
  const header = Buffer.from(JSON.stringify({ alg })).toString('base64url')
  const keys = { verify: () => Promise.reject(new Error('no key may be asked for')) }

  await expect(verifyAccessToken(`${header}.e30.sig`, rules, keys)).rejects.toEqual(refused(/alg/))
})

test('the failure never holds the token', () => {
  expect(invalidToken('exp is past').message).toBe('bearer token: exp is past')
})

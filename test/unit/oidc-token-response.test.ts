import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clampedLifetimeSeconds, shownToLibrary, tokenSetOf } from '../../src/oidc/token-response.ts'
import type { TokenFacts } from '../../src/oidc/token-response.ts'
import type { TokenSet } from '../../src/oidc/token-set.ts'

const NOW = 1_800_000_000_000

function read(body: Record<string, unknown>, facts: Partial<TokenFacts> = {}): TokenSet {
  const whole = { access_token: 'at-1', token_type: 'bearer', ...body }
  // As the library would have made it: it has lower-cased the type and checked the kinds of the members.
  const response = shownToLibrary(whole) as unknown as Parameters<typeof tokenSetOf>[0]
  return tokenSetOf(response, { body: whole, askedAt: NOW, expectsDpop: false, requestedScope: 'openid', ...facts })
}

describe('the lifetime', () => {
  test.each([
    [300, 300],
    ['300', 300],
    [undefined, 300],
    [null, 300],
    ['soon', 300],
    ['', 300],
    [{}, 300],
    [Number.NaN, 300],
    [Number.POSITIVE_INFINITY, 300],
    [0, 1],
    [-5, 1],
    [0.2, 1],
    [1e300, 86_400],
    [86_401, 86_400],
  ])('expires_in %o lasts %i s (TK-08, R12)', (expiresIn, seconds) => {
    expect(clampedLifetimeSeconds(expiresIn)).toBe(seconds)
    expect(read({ expires_in: expiresIn }).accessTokenExpiresAt).toBe(NOW + seconds * 1_000)
  })

  test('is always between a second and a day', () => {
    fc.assert(
      fc.property(fc.anything(), (expiresIn) => {
        const seconds = clampedLifetimeSeconds(expiresIn)
        expect(seconds >= 1 && seconds <= 86_400).toBe(true)
      }),
    )
  })
})

test('a scope that is left out is the requested one, a narrower one is kept as granted (TK-08)', () => {
  expect(read({}, { requestedScope: 'openid orders.read' }).scope).toBe('openid orders.read')
  expect(read({ scope: 'openid' }, { requestedScope: 'openid orders.read' }).scope).toBe('openid')
})

test.each(['at 1', 'at\r\nx-evil: 1', 'ät', '', 'at"1', 'at,1', '=at'])(
  'an access token that is no b64token is refused when it arrives: %j (RFC 6750 §2.1)',
  (accessToken) => {
    expect(() => read({ access_token: accessToken })).toThrow(expect.objectContaining({ code: 'login_failed' }))
  },
)

test.each(['at-1', 'eyJ.eyJ.sig_-', 'a+b/c==', '~._-'])('%s is a b64token', (accessToken) => {
  expect(read({ access_token: accessToken }).accessToken).toBe(accessToken)
})

test('Bearer where DPoP was asked for is refused, and DPoP where nothing was bound (TK-07)', () => {
  expect(() => read({ token_type: 'bearer' }, { expectsDpop: true })).toThrow(/Bearer/)
  expect(() => read({ token_type: 'dpop' })).toThrow(/DPoP/)
  expect(read({ token_type: 'dpop' }, { expectsDpop: true }).tokenType).toBe('dpop')
})

test('an unknown token type is refused (TK-07)', () => {
  expect(() => read({ token_type: 'mac' })).toThrow(/token_type/)
})

test('members that are null are as good as missing, others stay', () => {
  expect(shownToLibrary({ refresh_token: null, scope: null, id_token: 'x', expires_in: -1, extra: 1 })).toEqual({
    extra: 1,
  })
  expect(read({ refresh_token: null, id_token: null })).not.toHaveProperty('refreshToken')
})

test('an ID token that is no text is refused (ID-07)', () => {
  expect(() => read({ id_token: 7 })).toThrow(/id_token/)
})

/** What an access token that an app brings along must be before its request goes on (RFC 9068 §4, RFC 7662 §2.2). */
import { decodeProtectedHeader, errors } from 'jose'
import { BffError } from '../errors.ts'
import type { IssuerKeys, VerifiedJwt } from './issuer-keys.ts'

type Claims = Readonly<Record<string, unknown>>

/** `routes[].bearer`. */
export interface BearerRule {
  readonly issuer: string
  readonly audience: string
}

/** A token that was found good, and what it says. */
export interface BearerToken {
  readonly token: string
  readonly claims: Claims
  /** Epoch ms; `undefined` where the issuer does not say (RFC 7662 §2.2). */
  readonly expiresAt: number | undefined
}

/** What is known of issuer and resource. */
export interface AccessTokenRules extends BearerRule {
  /** Our own client ids at this issuer: whom its ID tokens are made out to. */
  readonly clientIds: readonly string[]
  readonly clockToleranceMs: number
  readonly now: () => number
}

/** Never `none` and never HMAC, for which a public key would be a secret (RFC 8725 §3.1, §3.2). */
const ALGORITHMS: ReadonlySet<string> = new Set([
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
])

/** Claims of ID tokens that no access token has (OIDC Core §3.1.3.6, §3.3.2.11). */
const ID_TOKEN_HASHES = ['at_hash', 'c_hash', 's_hash'] as const

/** Whether a token is a signed JWT, judged here; any other is opaque and the issuer's to explain. */
export function isSignedJwt(token: string): boolean {
  if (token.split('.').length !== 3) return false
  try {
    return decodeProtectedHeader(token).alg !== undefined
  } catch {
    return false // dots are allowed in opaque tokens too
  }
}

/**
 * Verifies signature, type and claims of a JWT.
 *
 * @throws BffError `login_required` with the failed check as detail; `provider_unavailable` when there are no keys
 */
export async function verifyAccessToken(
  token: string,
  rules: AccessTokenRules,
  keys: Pick<IssuerKeys, 'verify'>,
): Promise<BearerToken> {
  const { alg } = decodeProtectedHeader(token)
  if (alg === undefined || !ALGORITHMS.has(alg)) throw invalidToken('alg is no asymmetric signature')
  let verified: VerifiedJwt
  try {
    verified = await keys.verify(token, alg, 'internet')
  } catch (error) {
    if (error instanceof BffError) throw error
    throw invalidToken(
      error instanceof errors.JWKSNoMatchingKey
        ? 'no key of the issuer fits it'
        : 'it cannot be verified with the issuer’s keys',
    )
  }
  checkAccessToken(verified, rules)
  return { token, claims: verified.claims, expiresAt: Number(verified.claims['exp']) * 1_000 }
}

/**
 * The checks after the signature: a function of plain data and the clock.
 *
 * @throws BffError `login_required`
 */
export function checkAccessToken({ header, claims }: VerifiedJwt, rules: AccessTokenRules): void {
  const type = typeof header['typ'] === 'string' ? header['typ'].toLowerCase().replace(/^application\//, '') : 'jwt'
  // Okta's have no type at all. Anything else is a token of another kind, signed with the same keys (RFC 8725 §3.11).
  if (type !== 'at+jwt' && type !== 'jwt') throw invalidToken('typ is neither at+jwt nor JWT')
  if (claims['iss'] !== rules.issuer) throw invalidToken('iss is not the issuer of the route')
  checkAudience(claims, rules.audience)
  if (!isTime(claims['exp'])) throw invalidToken('exp is missing')
  checkTimes(claims, rules)
  if (type === 'jwt') refuseIdToken(claims, rules.clientIds)
  refuseBound(claims)
}

/**
 * What the issuer says of an opaque token (RFC 7662 §2.2). What it leaves out is not checked, but for the audience: a
 * token for another API must not open this one.
 *
 * @throws BffError `login_required`
 */
export function checkIntrospection(token: string, claims: Claims, rules: AccessTokenRules): BearerToken {
  if (claims['active'] !== true) throw invalidToken('the issuer says that it is not active')
  const { iss, exp, token_type: type } = claims
  if (iss !== undefined && iss !== rules.issuer) throw invalidToken('iss is not the issuer of the route')
  // Refresh tokens may be introspected too, and some servers tell them apart by this only.
  if (type !== undefined && !isOneOf(type, /^(bearer|access_token)$/i)) throw invalidToken('token_type is not Bearer')
  checkAudience(claims, rules.audience)
  if (exp !== undefined && !isTime(exp)) throw invalidToken('exp is no time')
  checkTimes(claims, rules)
  refuseBound(claims)
  return { token, claims, expiresAt: exp === undefined ? undefined : exp * 1_000 }
}

/** The failure for a token that is not good (RFC 6750 §3.1); the detail never holds any of it. */
export function invalidToken(detail: string): BffError {
  return new BffError('login_required', `bearer token: ${detail}`, {
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
  })
}

function checkAudience({ aud }: Claims, audience: string): void {
  if (!(Array.isArray(aud) ? aud : [aud]).includes(audience)) throw invalidToken('aud is not the audience of the route')
}

function checkTimes(claims: Claims, rules: AccessTokenRules): void {
  const now = rules.now() / 1_000
  const tolerance = rules.clockToleranceMs / 1_000
  const { exp, nbf, iat } = claims
  if (isTime(exp) && exp <= now - tolerance) throw invalidToken('exp is past')
  for (const [name, value] of Object.entries({ nbf, iat })) {
    if (value !== undefined && (!isTime(value) || value > now + tolerance)) {
      throw invalidToken(`${name} is in the future: check the clocks`)
    }
  }
}

/**
 * An ID token says who signed in to a client; it is no leave to call an API, and it travels in URLs (`id_token_hint`).
 * Its type is that of many access tokens, so it is known by what it holds: where it could be either, it is refused.
 */
function refuseIdToken(claims: Claims, clientIds: readonly string[]): void {
  if (ID_TOKEN_HASHES.some((hash) => claims[hash] !== undefined)) throw invalidToken('it is an ID token')
  // Cognito and Keycloak say in claims which of their tokens it is.
  const { token_use: use, typ } = claims
  if (use !== undefined && use !== 'access') throw invalidToken('token_use is not access')
  if (typ !== undefined && !isOneOf(typ, /^(bearer|at\+jwt|access_token|jwt)$/i))
    throw invalidToken('it is a token of another kind')
  if (claims['events'] !== undefined) throw invalidToken('it is a security event and no access token')

  const { aud, azp, client_id: client } = claims
  const [only, ...others] = Array.isArray(aud) ? aud : [aud]
  const isForClient = others.length === 0 && (clientIds.includes(String(only)) || only === azp || only === client)
  if (!isForClient) return
  if (claims['nonce'] !== undefined) throw invalidToken('it is an ID token')
  const saysAccess = ['scope', 'scp', 'client_id', 'token_use', 'typ'].some((name) => claims[name] !== undefined)
  if (!saysAccess) throw invalidToken('its audience is a client, and nothing in it says that it is an access token')
}

/** Sent as a bearer token, a bound one has been stolen or is misused (RFC 9449 §7.1, RFC 8705 §3). */
function refuseBound({ cnf }: Claims): void {
  if (cnf !== undefined) throw invalidToken('it is bound to a key and was sent without proof')
}

function isOneOf(value: unknown, names: RegExp): boolean {
  return typeof value === 'string' && names.test(value)
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

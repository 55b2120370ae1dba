/** What an ID token must be before anybody believes it (OIDC Core §3.1.3.7, §12.2). */
import { createHash } from 'node:crypto'
import { errors } from 'jose'
import { BffError } from '../errors.ts'
import type { IssuerKeys, VerifiedJwt } from './issuer-keys.ts'

type Claims = Readonly<Record<string, unknown>>

/** In the code flow a token is made when it is asked for; Entra dates it five minutes back. */
const MAX_AGE_SECONDS = 600

/** JWTs that the same keys may sign and that are no ID tokens (RFC 8725 §3.11). */
const OTHER_TYPES = new Set([
  'at+jwt',
  'logout+jwt',
  'dpop+jwt',
  'secevent+jwt',
  'oauth-authz-req+jwt',
  'token-introspection+jwt',
])

/** What this client knows of the issuer and of itself. */
export interface IdTokenRules {
  readonly issuer: string
  readonly clientId: string
  /** The one algorithm that is taken; never `none` (§3.1.3.7-7). */
  readonly algorithm: string
  readonly clockToleranceMs: number
  readonly now: () => number
  /** Where `issuer` holds Entra's `{tenantid}`: the tenants whose tokens are taken. */
  readonly allowedTenants?: readonly string[] | undefined
}

/** What this login, or the session before a refresh, leads one to expect. */
export interface IdTokenExpectations {
  /** Of a login; a refresh has none. */
  readonly nonce?: string
  readonly maxAgeSeconds?: number | undefined
  readonly acrValues?: readonly string[] | undefined
  /** The access token that came with it, for `at_hash`. */
  readonly accessToken: string
}

/**
 * Verifies signature and claims.
 *
 * @throws BffError `login_failed` with the failed check as detail; `provider_unavailable` when there are no keys
 */
export async function verifyIdToken(
  jwt: string,
  expected: IdTokenExpectations,
  rules: IdTokenRules,
  keys: Pick<IssuerKeys, 'verify'>,
): Promise<Claims> {
  let token: VerifiedJwt
  try {
    token = await keys.verify(jwt, rules.algorithm, 'provider')
  } catch (error) {
    if (error instanceof BffError) throw error
    throw refused(signatureFault(error, rules.algorithm))
  }
  checkIdToken(token, expected, rules)
  return token.claims
}

/** The checks after the signature: a function of plain data and the clock. */
export function checkIdToken(
  { header, claims }: VerifiedJwt,
  expected: IdTokenExpectations,
  rules: IdTokenRules,
): void {
  const type = typeof header['typ'] === 'string' ? header['typ'].toLowerCase().replace(/^application\//, '') : ''
  if (OTHER_TYPES.has(type)) throw refused('it is a JWT of another type')
  checkIssuer(claims, rules)
  checkAudience(claims, rules.clientId)
  checkTimes(claims, rules)
  const { sub } = claims
  if (typeof sub !== 'string' || !/^[\x20-\x7E]{1,255}$/.test(sub))
    throw refused('sub is not 1 to 255 ASCII characters')
  if (expected.nonce !== undefined && claims['nonce'] !== expected.nonce)
    throw refused('nonce is not the one of this login')
  checkAuthentication(claims, expected, rules)
  checkAccessTokenHash(header, claims, expected.accessToken)
}

/**
 * A refreshed ID token speaks of the same authentication of the same person to the same client (OIDC Core §12.2).
 *
 * @throws BffError `login_failed` with the claim that changed as detail
 */
export function checkContinuity(before: Claims, after: Claims): void {
  for (const claim of ['iss', 'sub', 'azp']) {
    if (after[claim] !== before[claim]) throw refused(`${claim} is another than before the refresh`)
  }
  const audiences = (claims: Claims): string => [claims['aud']].flat().map(String).toSorted().join(' ')
  if (audiences(after) !== audiences(before)) throw refused('aud is another than before the refresh')
  for (const claim of ['auth_time', 'nonce']) {
    if (after[claim] !== undefined && before[claim] !== undefined && after[claim] !== before[claim]) {
      throw refused(`${claim} is another than before the refresh`)
    }
  }
  const [issuedBefore, issuedAfter] = [before['iat'], after['iat']]
  if (typeof issuedBefore === 'number' && typeof issuedAfter === 'number' && issuedAfter < issuedBefore) {
    throw refused('iat is older than before the refresh')
  }
}

function checkIssuer(claims: Claims, { issuer, allowedTenants }: IdTokenRules): void {
  let expected = issuer
  if (issuer.includes('{tenantid}')) {
    const tenant = claims['tid']
    // Without the list, any organisation of the world that Entra hosts could sign in here.
    if (typeof tenant !== 'string' || !allowedTenants?.includes(tenant)) throw refused('tid is no allowed tenant')
    expected = issuer.replaceAll('{tenantid}', tenant)
  }
  if (claims['iss'] !== expected) throw refused('iss is not the configured issuer')
}

function checkAudience(claims: Claims, clientId: string): void {
  const { aud, azp } = claims
  const audiences: unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.includes(clientId)) throw refused('aud is not this client')
  if (azp !== undefined && azp !== clientId) throw refused('azp is not this client')
  if (audiences.length > 1 && azp === undefined) throw refused('aud names others too and azp is missing')
}

function checkTimes(claims: Claims, rules: IdTokenRules): void {
  const now = rules.now() / 1_000
  const tolerance = rules.clockToleranceMs / 1_000
  const { exp, iat, nbf } = claims
  if (!isTime(exp)) throw refused('exp is missing')
  if (!isTime(iat)) throw refused('iat is missing')
  if (exp <= now - tolerance) throw refused(clocks('exp', exp, 'is past', now))
  if (iat > now + tolerance) throw refused(clocks('iat', iat, 'is in the future', now))
  if (iat < now - tolerance - MAX_AGE_SECONDS) throw refused(clocks('iat', iat, 'is too long ago', now))
  if (nbf !== undefined && (!isTime(nbf) || nbf > now + tolerance))
    throw refused('nbf is in the future: check the clocks')
}

function checkAuthentication(claims: Claims, expected: IdTokenExpectations, rules: IdTokenRules): void {
  const now = rules.now() / 1_000
  const tolerance = rules.clockToleranceMs / 1_000
  const authTime = claims['auth_time']
  if (authTime !== undefined && (!isTime(authTime) || authTime > now + tolerance))
    throw refused('auth_time is no time of the past')
  if (expected.maxAgeSeconds !== undefined) {
    if (!isTime(authTime)) throw refused('auth_time is missing although max_age was sent')
    if (authTime + expected.maxAgeSeconds < now - tolerance)
      throw refused('auth_time is longer ago than max_age allows')
  }
  if (expected.acrValues?.length && !expected.acrValues.some((acr) => acr === claims['acr'])) {
    throw refused('acr is none of those that were asked for')
  }
}

function checkAccessTokenHash(header: VerifiedJwt['header'], claims: Claims, accessToken: string): void {
  const hash = claims['at_hash']
  if (hash === undefined) return
  const bits = /(256|384|512)$/.exec(String(header['alg']))?.[1] ?? '512' // EdDSA with Ed25519 hashes with SHA-512
  const digest = createHash(`sha${bits}`).update(accessToken).digest()
  if (hash !== digest.subarray(0, digest.length / 2).toString('base64url'))
    throw refused('at_hash is not of this access token')
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function clocks(claim: string, seconds: number, fault: string, now: number): string {
  return `${claim} ${Math.round(seconds)} ${fault}, our clock says ${Math.round(now)}: check the clocks`
}

function signatureFault(error: unknown, algorithm: string): string {
  if (error instanceof errors.JOSEAlgNotAllowed) return `alg is not ${algorithm}`
  if (error instanceof errors.JWKSNoMatchingKey) return 'no key of the issuer fits it'
  if (error instanceof errors.JWKSMultipleMatchingKeys) return 'kid is missing and several keys fit it'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'the signature is not the issuer’s'
  return 'it is no signed JWT that can be verified'
}

function refused(reason: string): BffError {
  return new BffError('login_failed', `ID token: ${reason}`)
}

/** What a logout token must be before a session ends because of it (OIDC Back-Channel Logout §2.4, §2.6). */
import { BffError } from '../errors.ts'
import type { VerifiedJwt } from './issuer-keys.ts'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'

export interface LogoutToken {
  readonly iss: string
  readonly sub?: string
  readonly sid?: string
  readonly jti: string
  /** Seconds, as on the wire. */
  readonly iat: number
  readonly exp: number
}

export interface LogoutTokenRules {
  readonly issuer: string
  readonly clientId: string
  readonly clockToleranceMs: number
  readonly now: () => number
}

/**
 * The checks after the signature: a function of plain data and the clock.
 *
 * @throws BffError `invalid_request` with the failed check as detail
 */
export function checkLogoutToken({ header, claims }: VerifiedJwt, rules: LogoutTokenRules): LogoutToken {
  const { typ } = header
  // §2.4 recommends the type and warns that requiring it would break deployments; another type is another token.
  const isRightType = typ === undefined || (typeof typ === 'string' && /^(application\/)?logout\+jwt$/i.test(typ))
  if (!isRightType) throw refused('typ is not logout+jwt')
  const { iss, aud, sub, sid, jti } = claims
  if (iss !== rules.issuer) throw refused('iss is not the configured issuer')
  if (!(Array.isArray(aud) ? aud : [aud]).includes(rules.clientId)) throw refused('aud is not this client')
  const { iat, exp } = times(claims, rules)
  if (typeof jti !== 'string' || jti === '') throw refused('jti is missing')
  if (!isName(sub) || !isName(sid) || (sub === undefined && sid === undefined))
    throw refused('neither sub nor sid names a session')
  const { events } = claims
  const event = isObject(events) ? events[EVENT] : undefined
  if (!isObject(event)) throw refused('events holds no back-channel logout')
  // An ID token replayed as a logout token has a nonce; a logout token never has (§2.4).
  if ('nonce' in claims) throw refused('nonce must not be there')
  return { iss: rules.issuer, jti, iat, exp, ...(sub !== undefined && { sub }), ...(sid !== undefined && { sid }) }
}

function times(claims: VerifiedJwt['claims'], rules: LogoutTokenRules): { iat: number; exp: number } {
  const now = rules.now() / 1_000
  const tolerance = rules.clockToleranceMs / 1_000
  const { iat, exp } = claims
  if (typeof iat !== 'number' || !Number.isFinite(iat)) throw refused('iat is missing')
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw refused('exp is missing')
  if (iat > now + tolerance) throw refused('iat is in the future: check the clocks')
  if (exp <= now - tolerance) throw refused('exp is past: check the clocks')
  return { iat, exp }
}

/** Absent, or a text that may hold any printable character (LO-10). */
function isName(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && value.length > 0 && value.length <= 1_024)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function refused(reason: string): BffError {
  return new BffError('invalid_request', `logout token: ${reason}`)
}

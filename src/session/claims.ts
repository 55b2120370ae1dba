/** Where a claim is found: exact name first, then dotted path; in the ID token, the access token or UserInfo. */
import { decodeJwt } from 'jose'
import type { Session } from './session.ts'

/** A session, or an access token that came by itself: then its claims are all there are. */
export type ClaimSource = Pick<Session, 'claims'> & Partial<Pick<Session, 'userinfo' | 'tokens'>>

/**
 * The value of a claim such as `groups`, `realm_access.roles`, `access_token:scope` or `userinfo:department`.
 * `undefined` where it is missing or the access token is no JWT.
 */
export function claimOf(session: ClaimSource, name: string): unknown {
  if (name.startsWith('access_token:')) {
    const { claims, tokens } = session
    return lookUp(tokens ? accessTokenClaims(tokens.accessToken) : claims, name.slice(13))
  }
  if (name.startsWith('userinfo:')) return lookUp(session.userinfo, name.slice(9))
  return lookUp(session.claims, name)
}

/** A claim as the list of texts that a rule or a header compares: numbers and booleans in their JSON form. */
export function claimTexts(session: ClaimSource, name: string): string[] {
  const value = claimOf(session, name)
  const values = Array.isArray(value) ? value : [value]
  return values.flatMap((one) => {
    if (typeof one === 'string') return [one]
    return typeof one === 'number' || typeof one === 'boolean' ? [String(one)] : []
  })
}

function lookUp(claims: unknown, name: string): unknown {
  if (!isRecord(claims)) return undefined
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const part of name.split('.')) {
    if (!isRecord(value) || !Object.hasOwn(value, part)) return undefined
    value = value[part]
  }
  return value
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// The provider gave this token to us over TLS for its API; we read it for rules, we do not accept it as proof.
function accessTokenClaims(accessToken: string): Record<string, unknown> | undefined {
  try {
    return decodeJwt(accessToken)
  } catch {
    return undefined // an opaque token has no claims to read
  }
}

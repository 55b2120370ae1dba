/** Where a claim is found: exact name first, then dotted path; in the ID token, the access token or UserInfo. */
import { decodeJwt } from 'jose'
import type { TokenSet } from '../oidc/token-set.ts'
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
    return lookUp(tokens ? accessTokenClaims(tokens) : claims, name.slice(13))
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

/** At every level the exact name goes first, since names hold dots too: `resource_access.my.shop.roles` (Keycloak). */
function lookUp(claims: unknown, name: string): unknown {
  if (!isRecord(claims)) return undefined
  if (Object.hasOwn(claims, name)) return claims[name]
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const part = name.slice(0, dot)
    const found = Object.hasOwn(claims, part) ? lookUp(claims[part], name.slice(dot + 1)) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What each token says, as long as the token is held: it is asked for on every request. */
const decoded = new WeakMap<TokenSet, Record<string, unknown> | 'opaque'>()

// The provider gave this token to us over TLS for its API; we read it for rules, we do not accept it as proof.
function accessTokenClaims(tokens: TokenSet): Record<string, unknown> | undefined {
  let claims = decoded.get(tokens)
  if (claims === undefined) {
    try {
      claims = decodeJwt(tokens.accessToken)
    } catch {
      claims = 'opaque' // it has no claims to read
    }
    decoded.set(tokens, claims)
  }
  return claims === 'opaque' ? undefined : claims
}

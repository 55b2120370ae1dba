/** What the gateway keeps of one signed-in browser; sealed before it leaves the process. */
import { hash } from 'node:crypto'
import type { JWK } from 'jose'
import type { TokenSet } from '../oidc/token-set.ts'

/** The server-side record of one browser. Times are epoch milliseconds. Opened only with the cookie's value. */
export interface Session {
  /** base64url of SHA-256 of the cookie value as ASCII; the public handle of the session. */
  readonly ref: string
  /** Grows by one with each write; what compare-and-set compares. */
  readonly version: number
  /** The name under `providers`, or `default`. */
  readonly provider: string
  /** The `iss` of the ID token; of a server with many tenants, that of one of them. */
  readonly issuer: string
  /** The issuer that the provider was configured with at the login: whose tokens these are. Absent in old records. */
  readonly configuredIssuer?: string
  readonly sub: string
  /** The provider's own session id (`sid` claim), where it gives one. */
  readonly providerSid?: string
  readonly createdAt: number
  /** The absolute end: nothing moves it. */
  readonly expiresAt: number
  /** Claims of the latest ID token (of the login, or of a refresh that brought one). */
  readonly claims: Readonly<Record<string, unknown>>
  /** Claims of the UserInfo endpoint, where `provider.userinfo` is on. */
  readonly userinfo?: Readonly<Record<string, unknown>>
  readonly tokens: TokenSet
  /** Private JWK of the DPoP key to which the tokens are bound. */
  readonly dpopKey?: JWK
  /** Tokens for single routes, by a key that names resource, scopes and kind. */
  readonly routeTokens?: Readonly<Record<string, TokenSet>>
  /** When a refresh last brought new tokens; absent while those of the login are in use. */
  readonly refreshedAt?: number
  /**
   * The refresh token was sent and the answer was lost: whether it is spent is unknown. It is tried once more, and
   * after another loss only when the access token has expired and some time has passed.
   */
  readonly refreshInDoubt?: { readonly losses: number; readonly lastAt: number }
  /** What the browser called itself at login, at most 256 characters. */
  readonly userAgent?: string
  /** What points here from the indexes, to take it out again. */
  readonly indexed?: IndexEntries
}

/** The pointers to one session, from its user and from the provider's session. */
export interface IndexEntries {
  /** The indexes' keys without the prefix: `u:{…}`, and `p:{…}` where there is a `sid`. */
  readonly keys: readonly string[]
  /** `<ref>.<sealed summary>`, the same in each. */
  readonly member: string
}

/** What the list of a user's sessions shows; sealed by the key ring beside each index entry. */
export interface SessionSummary {
  readonly ref: string
  readonly createdAt: number
  readonly expiresAt: number
  readonly userAgent?: string
}

/** Why a session ended; a label of metrics, a field of audit lines and of `ended` events. */
export const endReasons = [
  'logout',
  'replaced',
  'idle_timeout',
  'absolute_timeout',
  'refresh_rejected',
  'refresh_lost',
  'backchannel_logout',
  'frontchannel_logout',
  'revoked_by_user',
  'revoked_by_admin',
  'session_limit',
  /** It is gone, and the event that said why did not arrive here. */
  'unknown',
] as const

export type EndReason = (typeof endReasons)[number]

/**
 * The provider whose tokens a session holds: a refresh token or an ID token goes to nobody but the server that gave it.
 * That is by the issuer, since a reload may give a name to another one; and a provider may get another name, as the
 * only one does when a second comes. `undefined` where the issuer is not configured.
 */
export function providerOf<P extends { readonly issuer: string }>(
  session: Pick<Session, 'provider' | 'issuer' | 'configuredIssuer'>,
  providers: ReadonlyMap<string, P>,
): P | undefined {
  const issuer = session.configuredIssuer ?? session.issuer
  const named = providers.get(session.provider)
  if (named?.issuer === issuer) return named
  const [renamed, ...others] = [...providers.values()].filter((one) => one.issuer === issuer)
  // Of two clients at one server, nothing tells whose the tokens are.
  return others.length === 0 ? renamed : undefined
}

/** A session's `ref` by the value of its cookie: what the store is searched by, and what logs show the beginning of. */
export function sessionRef(cookieValue: string): string {
  return hash('sha256', cookieValue, 'base64url')
}

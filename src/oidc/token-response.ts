/** From what a token endpoint answers to a `TokenSet` that can be kept and sent on. */
import type { TokenEndpointResponse } from 'openid-client'
import { BffError } from '../errors.ts'
import type { TokenSet } from './token-set.ts'

/** `expires_in` is only RECOMMENDED (RFC 6749 §5.1); five minutes is what most servers choose. */
export const DEFAULT_LIFETIME_SECONDS = 300
/** Longer than any server means it: a mistyped 1e300 must not make a token that is never refreshed. */
export const MAX_LIFETIME_SECONDS = 86_400

/**
 * What the library is shown of an answer: without `null`s and odd lifetimes, at which it would give up,
 * and without the ID token, which id-token.ts alone judges. The library's own checks know neither our clock,
 * nor the session before a refresh, nor Entra's tenants, and would ask a key cache that is a minute late.
 */
export function shownToLibrary(body: Record<string, unknown>): Record<string, unknown> {
  const shown = Object.fromEntries(
    Object.entries(body).filter(([name, value]) => value !== null && name !== 'id_token'),
  )
  if (lifetimeSeconds(shown['expires_in']) === undefined || Number(shown['expires_in']) < 0) delete shown['expires_in']
  return shown
}

export interface TokenFacts {
  /** The whole body as it came. */
  readonly body: Readonly<Record<string, unknown>>
  /** Epoch ms at which the request left: the earliest that the lifetime can have begun. */
  readonly askedAt: number
  readonly expectsDpop: boolean
  readonly requestedScope: string
}

/**
 * @throws BffError `login_failed` when the answer cannot be used: a `Bearer` token where DPoP was asked for
 * (RFC 9449 §5), an access token that is no b64token (RFC 6750 §2.1) and would break or split a header later
 */
export function tokenSetOf(response: TokenEndpointResponse, facts: TokenFacts): TokenSet {
  const accessToken = response.access_token
  const tokenType: string = response.token_type
  if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(accessToken)) throw unusable('the access token is no b64token')
  // The library lower-cases it and refuses other types.
  if (tokenType !== 'bearer' && tokenType !== 'dpop') throw unusable('token_type is unknown')
  if (facts.expectsDpop && tokenType !== 'dpop') throw unusable('token_type is Bearer although DPoP was asked for')
  if (!facts.expectsDpop && tokenType === 'dpop') throw unusable('token_type is DPoP although nothing was bound')
  const idToken = idTokenIn(facts.body)
  return {
    accessToken,
    tokenType,
    accessTokenExpiresAt: facts.askedAt + clampedLifetimeSeconds(facts.body['expires_in']) * 1_000,
    // RFC 6749 §5.1: left out, the scope is the one that was asked for; a narrower one is kept as granted.
    scope: response.scope ?? facts.requestedScope,
    ...(response.refresh_token !== undefined && { refreshToken: response.refresh_token }),
    ...(idToken !== undefined && { idToken }),
  }
}

/** The ID token of an answer that the library has taken; it was not shown to it. */
export function idTokenIn(body: Readonly<Record<string, unknown>>): string | undefined {
  const idToken = body['id_token']
  if (idToken === undefined || idToken === null) return undefined
  if (typeof idToken !== 'string' || idToken === '') throw unusable('id_token is no text')
  return idToken
}

/** Between one second and a day; without a number, five minutes. */
export function clampedLifetimeSeconds(expiresIn: unknown): number {
  const seconds = lifetimeSeconds(expiresIn) ?? DEFAULT_LIFETIME_SECONDS
  return Math.min(Math.max(seconds, 1), MAX_LIFETIME_SECONDS)
}

/** Some servers send the number as a text. */
function lifetimeSeconds(expiresIn: unknown): number | undefined {
  const seconds = typeof expiresIn === 'string' && expiresIn.trim() !== '' ? Number(expiresIn) : expiresIn
  return typeof seconds === 'number' && Number.isFinite(seconds) ? seconds : undefined
}

function unusable(reason: string): BffError {
  return new BffError('login_failed', `token answer: ${reason}`)
}

/** One refresh grant (RFC 6749 §6) and what its outcome means for a session. */
import type { JWK } from 'jose'
import * as client from 'openid-client'
import { BffError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { refusesClient } from './connection.ts'
import type { Connection } from './connection.ts'
import { checkContinuity, checkIdToken, verifyIdToken } from './id-token.ts'
import type { CheckedMetadata } from './metadata.ts'
import { shownToLibrary, tokenSetOf } from './token-response.ts'
import type { TokenSet } from './token-set.ts'
import { fetchUserinfo } from './userinfo.ts'

type Claims = Readonly<Record<string, unknown>>

/** The bound of the whole grant, queueing included; nobody's request waits for it that long. */
const GRANT_TIMEOUT_MS = 30_000

/** Answers of a server that is there and cannot now, whatever their status. */
const TEMPORARY = new Set(['temporarily_unavailable', 'server_error', 'slow_down', 'use_dpop_nonce'])

/** What a refresh needs of a session; a `Session` fits it as it is. */
export interface RefreshableSession {
  readonly tokens: TokenSet
  readonly claims: Claims
  readonly sub: string
  readonly dpopKey?: JWK
}

export type RefreshOutcome =
  | { readonly kind: 'refreshed'; readonly tokens: TokenSet; readonly claims?: Claims; readonly userinfo?: Claims }
  /** Final, after the session has been read again. */
  | { readonly kind: 'rejected'; readonly reason: 'invalid_grant' | 'identity_changed' }
  /** A 400 with another error or an empty body: final once the access token has expired. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** The operator's fault: an alarm, nobody is logged out. */
  | { readonly kind: 'misconfigured'; readonly reason: string }
  /** Certainly not processed, or an explicit temporary answer. */
  | { readonly kind: 'unavailable'; readonly reason: string; readonly retryAfterSeconds?: number }
  /** It was sent and the answer is lost or unreadable: the refresh token may be spent. */
  | { readonly kind: 'lost'; readonly reason: string }

export interface RefreshGrant {
  readonly signal?: AbortSignal | undefined
  /** Instead of the login's resource: for the token of one route. */
  readonly parameters?: URLSearchParams
}

/** A grant that brought nothing. */
export type FailedGrant = Exclude<RefreshOutcome, { kind: 'refreshed' }>

/** Makes the grant once. Never throws for anything that a provider can do. */
export async function refresh(
  connection: Connection,
  session: RefreshableSession,
  grant: RefreshGrant = {},
): Promise<RefreshOutcome> {
  const { refreshToken } = session.tokens
  if (refreshToken === undefined) return { kind: 'refused', reason: 'there is no refresh token' }
  let metadata: CheckedMetadata
  try {
    metadata = await connection.metadata.get()
  } catch (error) {
    return { kind: 'unavailable', reason: error instanceof Error ? error.message : 'no metadata' }
  }
  const askedAt = connection.now()
  const parameters = grant.parameters ?? connection.resourceParameters()
  const { exchange, value } = await connection.request(
    metadata,
    'token',
    ({ configuration, dpop }) => client.refreshTokenGrant(configuration, refreshToken, parameters, dpop),
    { timeoutMs: GRANT_TIMEOUT_MS, signal: grant.signal, prepare: shownToLibrary, dpopKey: session.dpopKey },
  )
  if (!value) return judgeFailure(connection, exchange)
  try {
    const tokens = tokenSetOf(value, {
      body: exchange.json ?? {},
      askedAt,
      expectsDpop: session.dpopKey !== undefined,
      requestedScope: parameters.get('scope') ?? session.tokens.scope ?? connection.config.scopes.join(' '),
    })
    return await accept(connection, metadata, session, tokens, grant.parameters === undefined)
  } catch (error) {
    // The server has done its part, and what it gave cannot be used.
    return { kind: 'lost', reason: error instanceof Error ? error.message : 'unreadable' }
  }
}

async function accept(
  connection: Connection,
  metadata: CheckedMetadata,
  session: RefreshableSession,
  fresh: TokenSet,
  isForSession: boolean,
): Promise<RefreshOutcome> {
  try {
    // Some servers answer with the very ID token of the login: it says nothing new and has long been judged.
    const isNews = fresh.idToken !== undefined && fresh.idToken !== session.tokens.idToken
    const claims = isNews ? await refreshedClaims(connection, metadata, session, fresh) : undefined
    const userinfo =
      connection.config.userinfo && isForSession
        ? await refreshedUserinfo(connection, metadata, session, fresh)
        : undefined
    const tokens: TokenSet = {
      ...fresh,
      // RFC 6749 §6: without a new refresh token the old one stays.
      ...carried('refreshToken', fresh.refreshToken ?? session.tokens.refreshToken),
      // The last ID token that was verified is the hint of a logout.
      ...carried('idToken', claims ? fresh.idToken : session.tokens.idToken),
    }
    return { kind: 'refreshed', tokens, ...(claims && { claims }), ...(userinfo && { userinfo }) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unknown'
    connection.log.error({ provider: connection.name, reason }, 'a refresh answered for another identity')
    return { kind: 'rejected', reason: 'identity_changed' }
  }
}

/**
 * Claims of the new ID token, or `undefined` when the provider's keys cannot be had just now.
 *
 * @throws BffError `login_failed`
 */
async function refreshedClaims(
  connection: Connection,
  metadata: CheckedMetadata,
  session: RefreshableSession,
  { idToken = '', accessToken }: TokenSet,
): Promise<Claims | undefined> {
  const rules = connection.idTokenRules(metadata)
  try {
    const claims = await verifyIdToken(idToken, { accessToken }, rules, connection.issuerKeys(metadata))
    checkContinuity({ ...session.claims, sub: session.sub }, claims)
    // The person has not authenticated again: what was said about that at the login still stands.
    const { nonce, auth_time, acr, amr } = session.claims
    return {
      ...carried('nonce', nonce),
      ...carried('auth_time', auth_time),
      ...carried('acr', acr),
      ...carried('amr', amr),
      ...claims,
    }
  } catch (error) {
    if (!(error instanceof BffError) || error.code !== 'provider_unavailable') throw error
  }
  // An outage of the key set is no reason to lose tokens that came over TLS from the token endpoint, which may stand
  // in for the signature (OIDC Core §3.1.3.7-6). They must be the same person's; their claims are not taken.
  const unverified = decode(idToken)
  checkIdToken(unverified, { accessToken }, rules)
  checkContinuity({ ...session.claims, sub: session.sub }, unverified.claims)
  return undefined
}

/** @throws BffError `login_failed` when it speaks of somebody else */
async function refreshedUserinfo(
  connection: Connection,
  metadata: CheckedMetadata,
  session: RefreshableSession,
  tokens: TokenSet,
): Promise<Claims | undefined> {
  try {
    return await fetchUserinfo(connection, metadata, tokens, session.sub, session.dpopKey)
  } catch (error) {
    if (!(error instanceof BffError) || error.code !== 'provider_unavailable') throw error
    connection.log.warn(
      { provider: connection.name, reason: error.message },
      'userinfo could not be read again, the last claims stay',
    )
    return undefined
  }
}

/** By the facts of the wire , not by the error that the library made of them. */
export function judgeFailure(connection: Connection, exchange: Exchange): FailedGrant {
  const reason = exchange.describe()
  const { status, oauthError } = exchange
  if (status === undefined) return { kind: exchange.isSent ? 'lost' : 'unavailable', reason }
  // A page of a proxy in between, or half an answer: nobody knows what the server did.
  if (status < 300) return { kind: 'lost', reason: `${reason}, but no token answer` }
  if (refusesClient(exchange)) {
    connection.log.error({ provider: connection.name, reason }, 'the provider refuses this client')
    return { kind: 'misconfigured', reason }
  }
  if (status >= 400 && status < 500 && oauthError === 'invalid_grant')
    return { kind: 'rejected', reason: 'invalid_grant' }
  const isRefusal =
    status === 400 && (oauthError !== undefined || exchange.body?.trim() === '') && !TEMPORARY.has(oauthError ?? '')
  if (isRefusal) return { kind: 'refused', reason }
  const retryAfterSeconds = exchange.retryAfterSeconds(connection.now())
  return { kind: 'unavailable', reason, ...(retryAfterSeconds !== undefined && { retryAfterSeconds }) }
}

function decode(jwt: string): { header: Claims; claims: Claims } {
  const part = (index: number): Claims => {
    const value: unknown = JSON.parse(Buffer.from(jwt.split('.')[index] ?? '', 'base64url').toString())
    if (typeof value !== 'object' || value === null) throw new BffError('login_failed', 'ID token: it is no JWT')
    // What JSON.parse calls an object has string keys.
    return value as Claims
  }
  return { header: part(0), claims: part(1) }
}

function carried<Name extends string, Value>(name: Name, value: Value | undefined): Partial<Record<Name, Value>> {
  return value === undefined ? {} : ({ [name]: value } as Record<Name, Value>) // one key, of the type that was given
}

/** Tokens for one route: for a resource (RFC 8707), by exchange (RFC 8693), or the gateway's own (RFC 6749 §4.4). */
import * as client from 'openid-client'
import type { TokenRule } from '../config/schema.ts'
import type { Connection, LibraryCall } from './connection.ts'
import type { CheckedMetadata } from './metadata.ts'
import { judgeFailure, refresh } from './refresh.ts'
import type { FailedGrant, RefreshableSession } from './refresh.ts'
import { shownToLibrary, tokenSetOf } from './token-response.ts'
import type { TokenSet } from './token-set.ts'

const EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const GRANT_TIMEOUT_MS = 30_000

/** `routes[].token` where it asks for a token of the route's own. */
export type RouteTokenRule = Exclude<TokenRule, string>

export type RouteTokenOutcome =
  | {
      readonly kind: 'issued'
      readonly token: TokenSet
      /** The session's refresh token, where the grant has replaced it: the old one is dead. */
      readonly refreshToken?: string
    }
  | FailedGrant

type TokenAnswer = Awaited<ReturnType<typeof client.genericGrantRequest>>

/** What tells the tokens of one session apart: kind, resource or audience, scopes. */
export function routeTokenKey(rule: RouteTokenRule): string {
  const { kind, target, scopes } = parts(rule)
  return JSON.stringify([kind, target ?? '', [...(scopes ?? [])].toSorted()])
}

/**
 * Gets the token. Never throws for anything that a provider can do, and never answers with a token that was
 * not issued for this rule: a broader one would give an upstream power over the others (RFC 9700 §2.3).
 */
export async function routeToken(
  connection: Connection,
  rule: RouteTokenRule,
  session: RefreshableSession,
  signal?: AbortSignal,
): Promise<RouteTokenOutcome> {
  const { kind, target, scopes } = parts(rule)
  const parameters = new URLSearchParams()
  if (target !== undefined) parameters.set(kind === 'exchange' ? 'audience' : 'resource', target)
  if (scopes !== undefined) parameters.set('scope', scopes.join(' '))
  if (kind === 'resource') return await byRefresh(connection, session, parameters, signal)

  if (kind === 'exchange') {
    parameters.set('subject_token', session.tokens.accessToken)
    parameters.set('subject_token_type', ACCESS_TOKEN)
    parameters.set('requested_token_type', ACCESS_TOKEN)
  }
  const run = ({ configuration, dpop }: LibraryCall): Promise<TokenAnswer> =>
    kind === 'exchange'
      ? client.genericGrantRequest(configuration, EXCHANGE_GRANT, parameters, dpop)
      : client.clientCredentialsGrant(configuration, parameters, dpop)
  return await byGrant(connection, session, run, { kind, parameters, signal })
}

async function byRefresh(
  connection: Connection,
  session: RefreshableSession,
  parameters: URLSearchParams,
  signal: AbortSignal | undefined,
): Promise<RouteTokenOutcome> {
  const outcome = await refresh(connection, session, { parameters, signal })
  if (outcome.kind !== 'refreshed') return outcome
  const { accessToken, tokenType, accessTokenExpiresAt, scope, refreshToken } = outcome.tokens
  const isRotated = refreshToken !== undefined && refreshToken !== session.tokens.refreshToken
  return {
    kind: 'issued',
    token: { accessToken, tokenType, accessTokenExpiresAt, ...(scope !== undefined && { scope }) },
    ...(isRotated && { refreshToken }),
  }
}

async function byGrant(
  connection: Connection,
  session: RefreshableSession,
  run: (call: LibraryCall) => Promise<TokenAnswer>,
  grant: { kind: 'exchange' | 'clientCredentials'; parameters: URLSearchParams; signal: AbortSignal | undefined },
): Promise<RouteTokenOutcome> {
  let metadata: CheckedMetadata
  try {
    metadata = await connection.metadata.get()
  } catch (error) {
    return { kind: 'unavailable', reason: error instanceof Error ? error.message : 'no metadata' }
  }
  const askedAt = connection.now()
  const { exchange, value } = await connection.request(metadata, 'token', run, {
    timeoutMs: GRANT_TIMEOUT_MS,
    signal: grant.signal,
    prepare: shownToLibrary,
    dpopKey: session.dpopKey,
  })
  if (!value) return withoutRefreshToken(judgeFailure(connection, exchange))
  const issued: unknown = exchange.json?.['issued_token_type']
  if (grant.kind === 'exchange' && issued !== ACCESS_TOKEN) {
    // RFC 8693 §2.2.1: what came may be an ID token or a refresh token, which no API must get.
    return { kind: 'refused', reason: 'token exchange: issued_token_type is not access_token' }
  }
  try {
    const {
      idToken: _none,
      refreshToken: _unused,
      ...token
    } = tokenSetOf(value, {
      body: exchange.json ?? {},
      askedAt,
      expectsDpop: session.dpopKey !== undefined,
      requestedScope: grant.parameters.get('scope') ?? '',
    })
    return { kind: 'issued', token }
  } catch (error) {
    return { kind: 'refused', reason: error instanceof Error ? error.message : 'unreadable' }
  }
}

/** These grants spend nothing: they may be made again, and their refusal says nothing about the session. */
function withoutRefreshToken(failed: FailedGrant): FailedGrant {
  if (failed.kind === 'lost') return { kind: 'unavailable', reason: failed.reason }
  if (failed.kind === 'rejected') return { kind: 'refused', reason: failed.reason }
  return failed
}

interface Parts {
  readonly kind: 'resource' | 'exchange' | 'clientCredentials'
  readonly target: string | undefined
  readonly scopes: readonly string[] | undefined
}

function parts(rule: RouteTokenRule): Parts {
  if ('exchange' in rule) return { kind: 'exchange', target: rule.exchange.audience, scopes: rule.exchange.scopes }
  if ('clientCredentials' in rule) {
    const { resource, scopes } = rule.clientCredentials
    return { kind: 'clientCredentials', target: resource, scopes }
  }
  return { kind: 'resource', target: rule.resource, scopes: rule.scopes }
}

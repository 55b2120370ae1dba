/** Where a login ends: from the authorization response to checked tokens (RFC 6749 §4.1.2, OIDC Core §3.1.3). */
import { setJwksCache, authorizationCodeGrant, useJwtResponseMode } from 'openid-client'
import type { TokenEndpointResponse, TokenEndpointResponseHelpers } from 'openid-client'
import type { JWK } from 'jose'
import { BffError } from '../errors.ts'
import { refusesClient } from './connection.ts'
import type { Connection, LibraryCall, RequestOutcome } from './connection.ts'
import { generateDpopKey } from './dpop.ts'
import { verifyIdToken } from './id-token.ts'
import type { CheckedMetadata } from './metadata.ts'
import { shownToLibrary, tokenSetOf } from './token-response.ts'
import type { TokenSet } from './token-set.ts'
import { fetchUserinfo } from './userinfo.ts'

type Response = TokenEndpointResponse & TokenEndpointResponseHelpers

export interface LoginExpectations {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** There are other providers: an answer without `iss` could be any of theirs (RFC 9207). */
  readonly requiresIss?: boolean
  readonly maxAgeSeconds?: number
  readonly acrValues?: readonly string[]
}

export interface LoginResult {
  readonly tokens: TokenSet
  /** As configured when the code was traded: whose tokens these are, whatever the configuration says by then. */
  readonly issuer: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly userinfo?: Readonly<Record<string, unknown>>
  /** Private JWK to which the tokens are bound, with `dpop: true`. */
  readonly dpopKey?: JWK
}

/** Given twice, one reader may take the first and another the last (RFC 6749 §3.1). */
const ONCE = ['code', 'state', 'iss', 'error', 'response', 'error_description', 'session_state']
/** Tokens do not come this way; somebody is trying to slip one in (RFC 9700 §2.1.2). */
const NEVER = ['id_token', 'access_token', 'token', 'refresh_token']

/**
 * Exchanges the code. Nothing leaves before `iss`, `state` and `error` of the response have been judged (RFC 9207 §2.4).
 *
 * @throws BffError `login_failed` with the failed check as detail, `provider_unavailable`
 */
export async function exchangeCode(
  connection: Connection,
  response: URLSearchParams,
  expected: LoginExpectations,
): Promise<LoginResult> {
  refuseOddResponse(response, connection)
  const metadata = await connection.metadata.get()
  if (expected.requiresIss) refuseForeignResponse(response, metadata)
  const { config } = connection
  const dpopKey = config.dpop ? await generateDpopKey() : undefined
  const askedAt = connection.now()
  const outcome = await connection.request(
    metadata,
    'token',
    await grantRequest(connection, metadata, response, expected),
    { prepare: shownToLibrary, dpopKey },
  )
  if (!outcome.value) throw failure(connection, outcome)
  const body = outcome.exchange.json ?? {}
  try {
    const tokens = tokenSetOf(outcome.value, {
      body,
      askedAt,
      expectsDpop: config.dpop,
      requestedScope: config.scopes.join(' '),
    })
    refuseOtherDetails(config.authorizationDetails, body['authorization_details'])
    const identity = await identify(connection, metadata, tokens, expected, dpopKey)
    return { ...identity, tokens, issuer: config.issuer, ...(dpopKey && { dpopKey }) }
  } catch (error) {
    // Nobody will use these tokens (ID-15); the caller need not wait until the provider knows.
    const { refresh_token, access_token } = outcome.value
    if (config.logout.revoke) {
      void connection.revoke(
        refresh_token ?? access_token,
        refresh_token === undefined ? 'access_token' : 'refresh_token',
      )
    }
    throw error
  }
}

async function grantRequest(
  connection: Connection,
  metadata: CheckedMetadata,
  response: URLSearchParams,
  expected: LoginExpectations,
): Promise<(call: LibraryCall) => Promise<Response>> {
  // Never from the request's own host: the configured address with the parameters that came (TK-05).
  const url = new URL(connection.redirectUri)
  url.search = response.toString()
  const { config } = connection
  const isJwt = config.responseMode.endsWith('jwt')
  const keys = isJwt ? await keysOfResponse(connection, metadata, response) : undefined
  return ({ configuration, dpop }) => {
    if (keys) {
      useJwtResponseMode(configuration)
      setJwksCache(configuration, keys)
    }
    const checks = { expectedState: expected.state, pkceCodeVerifier: expected.codeVerifier }
    return authorizationCodeGrant(configuration, url, checks, connection.resourceParameters(), dpop)
  }
}

/** The library fetches keys once in five minutes for JARM too; ours know when to look again (AS-06). */
async function keysOfResponse(
  connection: Connection,
  metadata: CheckedMetadata,
  response: URLSearchParams,
): Promise<{ jwks: { keys: JWK[] }; uat: number }> {
  const keys = connection.issuerKeys(metadata)
  try {
    await keys.verify(response.get('response') ?? '', connection.config.idTokenSignedResponseAlg, 'internet')
  } catch (error) {
    if (error instanceof BffError) throw error
    throw new BffError('login_failed', 'the authorization response is no JWT signed by the provider')
  }
  return { jwks: keys.current ?? { keys: [] }, uat: Math.floor(Date.now() / 1_000) }
}

async function identify(
  connection: Connection,
  metadata: CheckedMetadata,
  tokens: TokenSet,
  expected: LoginExpectations,
  dpopKey: JWK | undefined,
): Promise<Pick<LoginResult, 'claims' | 'userinfo'>> {
  if (tokens.idToken === undefined) throw new BffError('login_failed', 'token answer: there is no ID token')
  const claims = await verifyIdToken(
    tokens.idToken,
    {
      nonce: expected.nonce,
      maxAgeSeconds: expected.maxAgeSeconds,
      acrValues: expected.acrValues ?? essentialAcrValues(connection.config.claims),
      accessToken: tokens.accessToken,
    },
    connection.idTokenRules(metadata),
    connection.issuerKeys(metadata),
  )
  if (!connection.config.userinfo) return { claims }
  // A text, by verifyIdToken.
  const userinfo = await fetchUserinfo(connection, metadata, tokens, claims['sub'] as string, dpopKey)
  return { claims, userinfo }
}

/** RFC 9396 §7: a server may fill in what was asked for, but a grant of another kind is not what the user saw. */
function refuseOtherDetails(asked: readonly { type: string }[] | undefined, granted: unknown): void {
  if (!asked || granted === undefined) return
  const types = new Set<unknown>(asked.map(({ type }) => type))
  const isAsked = Array.isArray(granted) && granted.every((detail) => isObject(detail) && types.has(detail['type']))
  if (!isAsked) throw new BffError('login_failed', 'token answer: authorization_details were not asked for')
}

/** `claims: { id_token: { acr: { essential: true, values: […] } } }` (OIDC Core §5.5.1.1). */
function essentialAcrValues(claims: Readonly<Record<string, unknown>> | undefined): string[] | undefined {
  const idToken = claims?.['id_token']
  const acr = isObject(idToken) ? idToken['acr'] : undefined
  if (!isObject(acr) || acr['essential'] !== true) return undefined
  const values: unknown[] = Array.isArray(acr['values']) ? acr['values'] : [acr['value']]
  return values.filter((value) => typeof value === 'string')
}

function refuseOddResponse(response: URLSearchParams, { config }: Connection): void {
  for (const name of ONCE) {
    if (response.getAll(name).length > 1)
      throw new BffError('login_failed', `the authorization response has ${name} more than once`)
  }
  for (const name of NEVER) {
    if (response.has(name)) throw new BffError('login_failed', `the authorization response has ${name}`)
  }
  // A plain response where a signed one is due is one that nobody signed (JARM §2.1).
  if (config.responseMode.endsWith('jwt') !== response.has('response')) {
    throw new BffError('login_failed', 'the authorization response is not in the configured response mode')
  }
}

/**
 * Mix-up (RFC 9700 §4.4): a server that one user chose could hand on another server's answer, and have its code sent to
 * itself. The library asks for `iss` where the metadata promise it; beside other providers it is asked for always (CB-05).
 */
function refuseForeignResponse(response: URLSearchParams, metadata: CheckedMetadata): void {
  // In a signed answer it is inside, and the library holds it to the same issuer.
  if (response.has('response')) return
  const iss = response.get('iss')
  if (iss === metadata.issuer) return
  const found = iss === null ? 'has no iss' : 'is of another issuer'
  throw new BffError('login_failed', `the authorization response ${found}, and there are several providers`)
}

function failure(connection: Connection, { exchange, error }: RequestOutcome<Response>): BffError {
  if (exchange.url === undefined) return refusedResponse(error)
  const detail = `code exchange: ${exchange.describe()}`
  if (exchange.status === 200 && exchange.json)
    return new BffError('login_failed', `token answer: ${libraryReason(error)}`)
  if (refusesClient(exchange)) {
    connection.log.error({ provider: connection.name, reason: detail }, 'the provider refuses this client')
    return new BffError('provider_unavailable', detail)
  }
  const isRefusal = exchange.status === 400 && exchange.oauthError !== 'temporarily_unavailable'
  if (isRefusal) return new BffError('login_failed', detail)
  const retryAfterSeconds = exchange.retryAfterSeconds(connection.now())
  return new BffError('provider_unavailable', detail, retryAfterSeconds === undefined ? {} : { retryAfterSeconds })
}

/** The library stopped before the code left. */
function refusedResponse(error: unknown): BffError {
  const code = isObject(error) ? error['error'] : undefined
  // Of an error response only the code is said, and only if it is one (RFC 6749 §4.1.2.1): anybody can make this URL.
  if (typeof code === 'string') {
    const shown = /^[a-z_]{1,64}$/.test(code) ? code : 'an unknown error'
    return new BffError('login_failed', `the authorization response says ${shown}`)
  }
  return new BffError('login_failed', `the authorization response: ${libraryReason(error)}`)
}

/** Messages of oauth4webapi are fixed texts; what it found is in causes, which we do not pass on. */
export function libraryReason(error: unknown): string {
  if (!(error instanceof Error)) return 'it could not be read'
  const { cause } = error
  const inner =
    cause instanceof Error && 'code' in error && cause.name === 'OperationProcessingError' ? cause.message : undefined
  return inner ?? error.message
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** Where a login begins: the authorization request (RFC 6749 §4.1.1, OIDC Core §3.1.2.1) and how it travels. */
import { hash } from 'node:crypto'
import * as client from 'openid-client'
import { BffError } from '../errors.ts'
import { refusesClient } from './connection.ts'
import type { Connection, RequestOutcome } from './connection.ts'
import { namesItsIssuer } from './metadata.ts'
import type { CheckedMetadata } from './metadata.ts'
import { signedAs } from './client-authentication.ts'

export interface AuthorizationRequest {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** There are other providers: this one must say in its answer that it is its own (RFC 9700 §4.4.2). */
  readonly requiresIss?: boolean
  /** Allow-listed and type-checked by the caller. */
  readonly params: Readonly<Record<string, string>>
}

/** What nobody but this file sets: a browser, or a route's `login`, could otherwise redirect the code or widen the grant (AR-14). */
const RESERVED = new Set([
  'client_id',
  'redirect_uri',
  'response_type',
  'response_mode',
  'scope',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'request',
  'request_uri',
  'claims',
  'authorization_details',
  'resource',
])

/** @throws BffError `provider_unavailable`; `login_failed` when a pushed request is refused for what it asks */
export async function authorizationUrl(connection: Connection, request: AuthorizationRequest): Promise<URL> {
  const metadata = await connection.metadata.get()
  if (request.requiresIss && !namesItsIssuer(metadata, connection.config)) {
    throw new BffError(
      'provider_unavailable',
      `${connection.name} cannot be used beside other providers: its metadata do not say authorization_response_iss_parameter_supported, so nobody could tell whose an answer is (RFC 9207)`,
    )
  }
  const parameters = authorizationParameters(connection, request)
  const isSigned = connection.config.requestObject || metadata['require_signed_request_object'] === true
  const travelling = isSigned ? await signed(connection, metadata, parameters) : parameters
  if (usesPushedRequest(connection, metadata)) return await pushed(connection, metadata, travelling)
  return client.buildAuthorizationUrl(connection.configuration(metadata), travelling)
}

function authorizationParameters({ config, redirectUri }: Connection, request: AuthorizationRequest): URLSearchParams {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries({ ...config.authorizationParams, ...request.params })) {
    if (RESERVED.has(name)) continue
    for (const one of [value].flat()) parameters.append(name, one)
  }
  parameters.set('client_id', config.clientId)
  parameters.set('response_type', 'code')
  parameters.set('redirect_uri', redirectUri)
  parameters.set('scope', config.scopes.join(' '))
  parameters.set('state', request.state)
  if (config.scopes.includes('openid')) parameters.set('nonce', request.nonce)
  // Always, whatever the metadata says: a server that does not know it ignores it, and state and nonce hold (AR-03).
  parameters.set('code_challenge', hash('sha256', request.codeVerifier, 'base64url'))
  parameters.set('code_challenge_method', 'S256')
  if (config.responseMode !== 'query') parameters.set('response_mode', config.responseMode)
  for (const resource of [config.resource ?? []].flat()) parameters.append('resource', resource)
  if (config.authorizationDetails) parameters.set('authorization_details', JSON.stringify(config.authorizationDetails))
  if (config.claims) parameters.set('claims', JSON.stringify(config.claims))
  return parameters
}

/** RFC 9126 §4, §5. */
function usesPushedRequest({ config }: Connection, metadata: CheckedMetadata): boolean {
  const isRequired = metadata['require_pushed_authorization_requests'] === true || config.profile === 'fapi2'
  const isKnown = metadata.pushed_authorization_request_endpoint !== undefined
  if (config.pushedAuthorization === 'never' && isRequired) {
    throw new BffError('provider_unavailable', 'pushedAuthorization is never, but the provider or profile requires it')
  }
  if ((config.pushedAuthorization === 'required' || isRequired) && !isKnown) {
    throw new BffError(
      'provider_unavailable',
      'pushed authorization is required, but the provider has no endpoint for it',
    )
  }
  return isKnown && config.pushedAuthorization !== 'never'
}

/** RFC 9101: the request as a JWT of ours, typed, for this issuer, good for a minute. */
async function signed(
  connection: Connection,
  metadata: CheckedMetadata,
  parameters: URLSearchParams,
): Promise<URLSearchParams> {
  const [key] = connection.keys
  if (!key)
    throw new BffError('provider_unavailable', 'request objects are on, but there is no privateKey to sign them')
  const url = await client.buildAuthorizationUrlWithJAR(
    connection.configuration(metadata),
    parameters,
    { key: key.privateKey, kid: key.kid },
    signedAs(key),
  )
  return new URLSearchParams({ client_id: connection.config.clientId, request: url.searchParams.get('request') ?? '' })
}

/** There is no way back to the front channel when this fails (AR-12): what must be secret would be in the address. */
async function pushed(connection: Connection, metadata: CheckedMetadata, parameters: URLSearchParams): Promise<URL> {
  const outcome = await connection.request(metadata, 'par', ({ configuration }) =>
    client.buildAuthorizationUrlWithPAR(configuration, parameters),
  )
  if (outcome.value) return outcome.value
  throw failedPush(connection, outcome)
}

function failedPush(connection: Connection, { exchange }: RequestOutcome<URL>): BffError {
  const detail = `the authorization request could not be pushed: ${exchange.describe()}`
  if (refusesClient(exchange))
    connection.log.error({ provider: connection.name, reason: detail }, 'the provider refuses this client')
  const isRefused = exchange.status === 400 && exchange.oauthError !== undefined && !refusesClient(exchange)
  return new BffError(isRefused ? 'login_failed' : 'provider_unavailable', detail)
}

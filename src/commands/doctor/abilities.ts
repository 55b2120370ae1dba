/** What the authorization server says it can do, held against what the configuration asks of it. */
import type { Config, ProviderConfig } from '../../config/schema.ts'
import { listed } from './discovery.ts'
import type { Document } from './discovery.ts'
import type { Findings } from './finding.ts'

const EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** Grants, algorithms, scopes, PKCE, pushed requests, `iss` in answers, ways to sign out. */
export function checkAbilities(document: Document, config: Config, provider: ProviderConfig, findings: Findings): void {
  checkGrants(document, config, provider, findings)
  checkRequest(document, config, provider, findings)
  checkScopes(document, provider, findings)
  checkLogout(document, provider, findings)
  findings.ok(summary(document))
}

/** A list that is there and does not hold the value; servers need not publish every list. */
function lacks(document: Document, member: string, value: string): boolean {
  const values = listed(document, member)
  return values.length > 0 && !values.includes(value)
}

function checkGrants(document: Document, config: Config, provider: ProviderConfig, findings: Findings): void {
  if (
    lacks(document, 'response_types_supported', 'code') ||
    lacks(document, 'grant_types_supported', 'authorization_code')
  )
    findings.fail('the server has no authorization code grant', 'switch it on there for this client')
  if (lacks(document, 'grant_types_supported', 'refresh_token')) {
    findings.warn(
      'the server lists no refresh_token grant: a session ends with its access token',
      'switch on refresh tokens there, or let access tokens live as long as sessions should',
    )
  }
  if (config.routes.some(({ token }) => typeof token === 'object' && 'exchange' in token)) {
    if (lacks(document, 'grant_types_supported', EXCHANGE_GRANT))
      findings.fail(
        'routes ask for token exchange, which the server does not list',
        'switch it on there, or write token: { resource: … } or user for those routes',
      )
  }
  const algorithm = provider.idTokenSignedResponseAlg
  if (lacks(document, 'id_token_signing_alg_values_supported', algorithm)) {
    findings.fail(
      `the server does not sign ID tokens with ${algorithm}`,
      `write idTokenSignedResponseAlg: one of ${listed(document, 'id_token_signing_alg_values_supported').join(', ')}`,
    )
  }
  if (provider.userinfo && document['userinfo_endpoint'] === undefined)
    findings.fail('the server has no UserInfo endpoint', 'write userinfo: false')
}

function checkRequest(document: Document, config: Config, provider: ProviderConfig, findings: Findings): void {
  const par = document['pushed_authorization_request_endpoint'] !== undefined
  if (lacks(document, 'code_challenge_methods_supported', 'S256'))
    findings.fail('the server lists PKCE without S256, the only method that is sent', 'switch on S256 there')
  if (document['require_pushed_authorization_requests'] === true && provider.pushedAuthorization === 'never')
    findings.fail('the server demands pushed authorization requests', 'write pushedAuthorization: auto')
  if (provider.pushedAuthorization === 'required' && !par)
    findings.fail('the server has no endpoint for pushed authorization requests', 'write pushedAuthorization: auto')
  if (provider.dpop && document['dpop_signing_alg_values_supported'] === undefined)
    findings.fail('dpop is on, and the server does not say that it knows DPoP', 'write dpop: false')
  if (lacks(document, 'response_modes_supported', provider.responseMode)) {
    findings.fail(
      `the server does not answer by ${provider.responseMode}`,
      `write responseMode: one of ${listed(document, 'response_modes_supported')
        .filter((mode) => ['query', 'form_post', 'jwt', 'query.jwt', 'form_post.jwt'].includes(mode))
        .join(', ')}`,
    )
  }
  const several = Object.keys(config.providers ?? {}).length > 1
  const namesItself =
    document['authorization_response_iss_parameter_supported'] === true || provider.responseMode.endsWith('jwt')
  if (several && !namesItself) {
    findings.fail(
      'there are several providers, and this one does not name itself in its answers (RFC 9207): its logins are refused',
      'switch that on there; or write responseMode: jwt, where the server has it; or run a gateway for it alone',
    )
  }
}

function checkScopes(document: Document, provider: ProviderConfig, findings: Findings): void {
  const unknown = provider.scopes.filter((scope) => lacks(document, 'scopes_supported', scope))
  if (unknown.length > 0) {
    findings.warn(
      `the server does not list these scopes: ${unknown.join(', ')}`,
      'check their spelling; some servers do not list every scope',
    )
  }
  if (listed(document, 'scopes_supported').includes('offline_access') && !provider.scopes.includes('offline_access')) {
    findings.warn(
      'offline_access is not asked for: there may be no refresh token, and then a session ends with its access token',
      'add offline_access to scopes, unless a refresh token comes without it (Keycloak)',
    )
  }
}

function checkLogout(document: Document, provider: ProviderConfig, findings: Findings): void {
  if (provider.logout.style === 'oidc' && document['end_session_endpoint'] === undefined) {
    findings.warn(
      'the server has no end_session_endpoint: a logout ends the session here only',
      'write logout: { style: none }, or auth0 or cognito where it is one of those',
    )
  }
}

function summary(document: Document): string {
  const has = (isThere: boolean) => (isThere ? 'yes' : 'not listed')
  return [
    `PKCE: ${listed(document, 'code_challenge_methods_supported').includes('S256') ? 'S256' : 'not listed, sent all the same'}`,
    `pushed requests: ${has(document['pushed_authorization_request_endpoint'] !== undefined)}`,
    `iss in answers: ${has(document['authorization_response_iss_parameter_supported'] === true)}`,
    `logout: ${has(document['end_session_endpoint'] !== undefined)}`,
    `back-channel logout: ${has(document['backchannel_logout_supported'] === true)}`,
    `revocation: ${has(document['revocation_endpoint'] !== undefined)}`,
  ].join('; ')
}

import { expect, test } from 'vitest'
import { endSessionUrl } from '../../src/oidc/end-session.ts'
import type { CheckedMetadata } from '../../src/oidc/metadata.ts'
import { POST_LOGOUT_REDIRECT_URI, providerConfig } from '../support/oidc-client.ts'

const issuer = 'https://id.example.com/realms/acme'
const metadata: CheckedMetadata = {
  issuer,
  authorization_endpoint: 'https://pool.auth.example.com/oauth2/authorize',
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  end_session_endpoint: `${issuer}/logout?kept=1`,
}
const options = { idToken: 'e.y.J', state: 'st-1', postLogoutRedirectUri: POST_LOGOUT_REDIRECT_URI }

function parameters(url: URL | undefined): Record<string, string> {
  return Object.fromEntries(url?.searchParams ?? [])
}

test('the standard logout carries hint, client, registered address and state (LO-03)', () => {
  const url = endSessionUrl(providerConfig(issuer), metadata, options)

  expect(url?.href.split('?')[0]).toBe(`${issuer}/logout`)
  expect(parameters(url)).toEqual({
    kept: '1',
    id_token_hint: 'e.y.J',
    client_id: 'shop',
    post_logout_redirect_uri: POST_LOGOUT_REDIRECT_URI,
    state: 'st-1',
  })
})

test('without an ID token, or with one that would not fit into an address, there is no hint (LO-05)', () => {
  const { idToken: _none, ...bare } = options
  expect(parameters(endSessionUrl(providerConfig(issuer), metadata, bare))).not.toHaveProperty('id_token_hint')
  const long = endSessionUrl(providerConfig(issuer), metadata, { ...options, idToken: 'e'.repeat(9_000) })
  expect(parameters(long)).not.toHaveProperty('id_token_hint')
  expect(parameters(long)).toHaveProperty('client_id')
})

test('without an end_session_endpoint, or with style none, the logout is a local one (LO-03)', () => {
  const { end_session_endpoint: _none, ...bare } = metadata
  const config = providerConfig(issuer)
  expect(endSessionUrl(config, bare, options)).toBeUndefined()
  expect(endSessionUrl(config, undefined, options)).toBeUndefined()
  expect(endSessionUrl({ ...config, logout: { style: 'none', revoke: true } }, metadata, options)).toBeUndefined()
})

test("Auth0's logout has its own names", () => {
  const config = providerConfig('https://tenant.eu.auth0.com/', { logout: { style: 'auth0', revoke: true } })
  const url = endSessionUrl(config, undefined, options)

  expect(url?.href.split('?')[0]).toBe('https://tenant.eu.auth0.com/v2/logout')
  expect(parameters(url)).toEqual({ client_id: 'shop', returnTo: `${POST_LOGOUT_REDIRECT_URI}?state=st-1` })
})

test("Cognito's logout is on the user pool's domain and takes no state", () => {
  const url = endSessionUrl(providerConfig(issuer, { logout: { style: 'cognito', revoke: true } }), metadata, options)

  expect(url?.href.split('?')[0]).toBe('https://pool.auth.example.com/logout')
  expect(parameters(url)).toEqual({ client_id: 'shop', logout_uri: POST_LOGOUT_REDIRECT_URI })
})

/** The main path against a real oidc-provider. */
import { expect, test } from 'vitest'
import { OidcClient, POST_LOGOUT_REDIRECT_URI, REDIRECT_URI, expectations } from '../support/oidc-client.ts'
import { ProviderBrowser, startProvider } from '../support/provider.ts'

const API = 'https://orders.example.com'

test('a login at a real server ends with checked tokens, claims and the scope as it was narrowed (TK-08)', async () => {
  await using provider = await startProvider({ redirectUris: [REDIRECT_URI] })
  await using client = new OidcClient(provider.issuer)
  const expected = expectations()

  const url = await client.authorizationUrl({ ...expected, params: { ui_locales: 'en' } })
  const callback = await provider.login(url, { user: 'bob' })
  const result = await client.exchangeCode(callback.searchParams, expected)

  expect(result.claims).toMatchObject({ iss: provider.issuer, sub: 'bob', aud: 'shop', email: 'bob@example.com' })
  expect(result.tokens).toMatchObject({ tokenType: 'bearer', scope: 'openid profile email' })
  expect(result.tokens.refreshToken).toBeDefined()
  expect(provider.count('authorization_code')).toBe(1)
})

test('a refresh at a real server replaces the rotated refresh token and keeps the person (RF-02, RF-05, F2-07)', async () => {
  await using provider = await startProvider({ redirectUris: [REDIRECT_URI], api: API })
  await using client = new OidcClient(provider.issuer)
  const { tokens, claims } = await login(client, provider)

  const outcome = await client.refresh({ tokens, claims, sub: 'alice' })

  if (outcome.kind !== 'refreshed') throw new Error(outcome.kind)
  expect(outcome.tokens.accessToken).not.toBe(tokens.accessToken)
  expect(outcome.tokens.refreshToken).not.toBe(tokens.refreshToken)
  // Within one second the server signs the same ID token again, and that is no news.
  expect(outcome.claims ?? claims).toMatchObject({ sub: 'alice', email: 'alice@example.com', nonce: claims['nonce'] })
  await expect(client.refresh({ tokens, claims, sub: 'alice' })).resolves.toEqual({
    kind: 'rejected',
    reason: 'invalid_grant',
  })
})

test.each(['client_secret_basic', 'client_secret_post', 'client_secret_jwt'] as const)(
  'a real server takes an odd secret by %s, for pushed request, code, refresh and revocation (TK-01, TK-03)',
  async (method) => {
    const secret = 'p%ss:w+rd & more than thirty-two characters'
    await using provider = await startProvider({
      redirectUris: [REDIRECT_URI],
      client: { client_secret: secret, token_endpoint_auth_method: method },
    })
    await using client = new OidcClient(provider.issuer, {
      config: { clientSecret: secret, clientAuthentication: method, pushedAuthorization: 'required' },
    })

    const { tokens, claims } = await login(client, provider)
    const outcome = await client.refresh({ tokens, claims, sub: 'alice' })
    if (outcome.kind !== 'refreshed') throw new Error(outcome.kind)
    await client.revoke(outcome.tokens.refreshToken ?? '', 'refresh_token')

    expect(provider.isActive(outcome.tokens.refreshToken ?? '')).toBe(false)
  },
)

test('a revoked refresh token is dead at a real server (LO-02)', async () => {
  await using provider = await startProvider({ redirectUris: [REDIRECT_URI] })
  await using client = new OidcClient(provider.issuer)
  const { tokens } = await login(client, provider)
  expect(provider.isActive(tokens.refreshToken!)).toBe(true)

  await client.revoke(tokens.refreshToken!, 'refresh_token')

  expect(provider.isActive(tokens.refreshToken!)).toBe(false)
})

test('a logout at a real server comes back to the registered address with our state (LO-03)', async () => {
  await using provider = await startProvider({
    redirectUris: [REDIRECT_URI],
    postLogoutRedirectUris: [POST_LOGOUT_REDIRECT_URI],
  })
  await using client = new OidcClient(provider.issuer)
  const browser = new ProviderBrowser()
  const { tokens } = await login(client, provider, browser)

  const url = client.endSessionUrl({ idToken: tokens.idToken!, state: 'logout-state' })
  const back = await provider.logout(url!, browser)

  expect(back?.href).toBe(`${POST_LOGOUT_REDIRECT_URI}?state=logout-state`)
})

async function login(
  client: OidcClient,
  provider: Awaited<ReturnType<typeof startProvider>>,
  browser = new ProviderBrowser(),
) {
  const expected = expectations()
  const callback = await provider.login(await client.authorizationUrl({ ...expected, params: {} }), { browser })
  return await client.exchangeCode(callback.searchParams, expected)
}

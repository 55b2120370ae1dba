/** Tokens for single routes. */
import { decodeJwt } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { routeTokenKey } from '../../src/oidc/route-token.ts'
import type { RefreshableSession, RouteTokenOutcome, RouteTokenRule } from '../../src/oidc/provider.ts'
import { OidcClient, REDIRECT_URI, expectations, scriptedLogin } from '../support/oidc-client.ts'
import { startProvider } from '../support/provider.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import type { ScriptedProvider } from '../support/scripted-provider.ts'

const ORDERS = 'https://orders.example.com'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

async function signedIn(): Promise<{ provider: ScriptedProvider; client: OidcClient; session: RefreshableSession }> {
  const provider = await startScriptedProvider()
  const client = new OidcClient(provider.issuer)
  onTestFinished(async () => {
    client.close()
    await provider.close()
  })
  return { provider, client, session: { ...(await scriptedLogin(client, provider)), sub: 'alice' } }
}

function issued(outcome: RouteTokenOutcome): Extract<RouteTokenOutcome, { kind: 'issued' }> {
  if (outcome.kind !== 'issued') throw new Error(JSON.stringify(outcome))
  return outcome
}

test('a token for one resource comes by the refresh grant, and the new refresh token with it (TK-12)', async () => {
  await using provider = await startProvider({
    redirectUris: [REDIRECT_URI],
    api: 'https://app.example.com',
    resources: { [ORDERS]: 'orders.read orders.write' },
  })
  await using client = new OidcClient(provider.issuer, {
    config: { scopes: ['openid', 'orders.read'], resource: [ORDERS] },
  })
  const expected = expectations()
  const callback = await provider.login(await client.authorizationUrl({ ...expected, params: {} }))
  const { tokens, claims } = await client.exchangeCode(callback.searchParams, expected)

  const outcome = issued(
    await client.routeToken({ resource: ORDERS, scopes: ['orders.read'] }, { tokens, claims, sub: 'alice' }),
  )

  expect(decodeJwt(outcome.token.accessToken)).toMatchObject({ aud: ORDERS, scope: 'orders.read' })
  expect(outcome.refreshToken).not.toBe(tokens.refreshToken)
  expect(outcome.token).not.toHaveProperty('refreshToken')
})

describe('token exchange (RFC 8693)', () => {
  const rule: RouteTokenRule = { exchange: { audience: 'orders', scopes: ['orders.read'] } }

  test('sends the session’s access token and asks for an access token (TK-12)', async () => {
    const { provider, client, session } = await signedIn()

    const { token } = issued(await client.routeToken(rule, session))

    expect(token.accessToken).not.toBe(session.tokens.accessToken)
    expect(token.scope).toBe('orders.read')
    expect(Object.fromEntries(provider.requests.at(-1)?.form ?? [])).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: session.tokens.accessToken,
      subject_token_type: ACCESS_TOKEN,
      requested_token_type: ACCESS_TOKEN,
      audience: 'orders',
      scope: 'orders.read',
    })
  })

  test.each([
    ['no issued_token_type', { issued_token_type: undefined }],
    ['an ID token', { issued_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
    ['a token of type N_A', { token_type: 'N_A' }],
  ])('%s is not sent to anybody (TK-12)', async (_name, change) => {
    const { provider, client, session } = await signedIn()
    provider.tokenResponse = (body) => ({ ...body, ...change })
    await expect(client.routeToken(rule, session)).resolves.toMatchObject({ kind: 'refused' })
  })
})

test('the gateway’s own token comes by client credentials, with nothing of the user (RFC 6749 §4.4)', async () => {
  const { provider, client, session } = await signedIn()

  issued(await client.routeToken({ clientCredentials: { resource: ORDERS, scopes: ['a', 'b'] } }, session))

  expect(Object.fromEntries(provider.requests.at(-1)?.form ?? [])).toEqual({
    grant_type: 'client_credentials',
    resource: ORDERS,
    scope: 'a b',
  })
})

describe('a failure never answers with another token (TK-12)', () => {
  const rules: RouteTokenRule[] = [{ resource: ORDERS }, { exchange: {} }, { clientCredentials: {} }]

  test.each(rules)('%o', async (rule) => {
    const { provider, client, session } = await signedIn()
    const kinds: string[] = []
    for (const fault of [
      { kind: 'oauthError', error: 'invalid_target' },
      { kind: 'oauthError', error: 'invalid_client', status: 401 },
      { kind: 'status', status: 503 },
      { kind: 'reset' },
    ] as const) {
      provider.faults.token = fault
      kinds.push((await client.routeToken(rule, session)).kind)
    }
    // Only a refresh grant spends something: its lost answer is an unknown outcome.
    const cut = 'resource' in rule ? 'lost' : 'unavailable'
    expect(kinds).toEqual(['refused', 'misconfigured', 'unavailable', cut])
  })

  test('a refusal of the exchanged token says nothing about the session; one of the refresh token does', async () => {
    const { provider, client, session } = await signedIn()
    provider.faults.token = { kind: 'oauthError', error: 'invalid_grant' }
    const [resource, exchange] = await Promise.all(rules.slice(0, 2).map((rule) => client.routeToken(rule, session)))
    expect(resource).toEqual({ kind: 'rejected', reason: 'invalid_grant' })
    expect(exchange).toMatchObject({ kind: 'refused' })
  })

  test('the token for a resource that names another person ends the session (RF-05)', async () => {
    const { provider, client, session } = await signedIn()
    provider.idToken = (claims, header) => ({ claims: { ...claims, sub: 'mallory' }, header })
    await expect(client.routeToken({ resource: ORDERS }, session)).resolves.toMatchObject({ kind: 'rejected' })
  })
})

test('rules that ask for the same token share a key, others do not', () => {
  const key = routeTokenKey
  expect(key({ resource: ORDERS, scopes: ['a', 'b'] })).toBe(key({ resource: ORDERS, scopes: ['b', 'a'] }))
  const all: RouteTokenRule[] = [
    { resource: ORDERS },
    { resource: ORDERS, scopes: ['a'] },
    { resource: ORDERS, scopes: ['a b'] },
    { resource: ORDERS, scopes: ['a', 'b'] },
    { exchange: { audience: ORDERS } },
    { clientCredentials: { resource: ORDERS } },
    {},
  ]
  expect(new Set(all.map(key)).size).toBe(all.length)
})

/** Keys instead of secrets: private_key_jwt, DPoP, mutual TLS, JARM, and all of FAPI 2.0 at a real server. */
import { generateKeyPairSync } from 'node:crypto'
import type { ServerOptions } from 'node:https'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader } from 'jose'
import type { JWK } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ProviderConfig } from '../../src/config/schema.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import type { Authority, Certificate } from '../support/certificate-authority.ts'
import { OidcClient, REDIRECT_URI, expectations, providerConfig, scriptedLogin } from '../support/oidc-client.ts'
import { ProviderBrowser, startProvider } from '../support/provider.ts'
import type { TestProvider } from '../support/provider.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'

const clientKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const privateKey = clientKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const withKey: Partial<ProviderConfig> = { clientAuthentication: 'private_key_jwt', privateKey }

/** A real server that holds its clients to FAPI 2.0: keys, pushed requests, DPoP with nonces, ES256. */
async function startStrictProvider(): Promise<TestProvider> {
  const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
  return await startProvider({
    redirectUris: [REDIRECT_URI],
    client: {
      client_secret: undefined,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      id_token_signed_response_alg: 'ES256',
      authorization_signed_response_alg: 'ES256',
      dpop_bound_access_tokens: true,
      require_pushed_authorization_requests: true,
      jwks: new OidcClient('https://id.example.com', { config: withKey }).publicJwks(),
    },
    configuration: {
      jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig', kid: 'es' }] },
      features: {
        pushedAuthorizationRequests: { enabled: true },
        jwtResponseModes: { enabled: true },
        dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
      },
    },
  })
}

async function login(client: OidcClient, provider: TestProvider) {
  const expected = expectations()
  const url = await client.authorizationUrl({ ...expected, params: {} })
  const callback = await provider.login(url, { browser: new ProviderBrowser() })
  return { url, callback, result: await client.exchangeCode(callback.searchParams, expected) }
}

describe('profile fapi2 at a real server', () => {
  const fapi: Partial<ProviderConfig> = { ...withKey, profile: 'fapi2', dpop: true, idTokenSignedResponseAlg: 'ES256' }

  test('login and refresh, with pushed requests, DPoP and its nonces (F2-01, F2-02, F2-03, F2-05, F2-06, RF-08)', async () => {
    await using provider = await startStrictProvider()
    await using client = new OidcClient(provider.issuer, { config: fapi })

    const { url, callback, result } = await login(client, provider)
    const { tokens, claims, dpopKey } = result
    const outcome = await client.refresh({ tokens, claims, sub: 'alice', ...(dpopKey && { dpopKey }) })

    expect([...url.searchParams.keys()].toSorted()).toEqual(['client_id', 'request_uri'])
    expect(callback.searchParams.get('iss')).toBe(provider.issuer)
    expect(tokens.tokenType).toBe('dpop')
    expect(Object.keys(dpopKey!).toSorted()).toEqual(['crv', 'd', 'kty', 'x', 'y'])
    expect(outcome).toMatchObject({ kind: 'refreshed', tokens: { tokenType: 'dpop' }, claims: { sub: 'alice' } })
    // The first call learns the nonce by being refused; after that it is sent at once.
    expect(provider.tokenRequests.map(({ status }) => status)).toEqual([400, 200, 200])
  })

  test('each login has a key of its own (F2-05)', async () => {
    await using provider = await startStrictProvider()
    await using client = new OidcClient(provider.issuer, { config: fapi })
    const logins = [await login(client, provider), await login(client, provider)]

    const prints = await Promise.all(logins.map(({ result }) => calculateJwkThumbprint(publicHalf(result.dpopKey!))))

    expect(new Set(prints).size).toBe(2)
  })

  test('a signed response (JARM) is taken, a plain one or a foreign signature is not (CB-11, F2-10)', async () => {
    await using provider = await startStrictProvider()
    await using client = new OidcClient(provider.issuer, { config: { ...fapi, responseMode: 'jwt' } })

    const expected = expectations()
    const callback = await provider.login(await client.authorizationUrl({ ...expected, params: {} }))
    expect([...callback.searchParams.keys()]).toEqual(['response'])

    const signed = callback.searchParams.get('response') ?? ''
    const [header, payload] = signed.split('.')
    const plain = new URLSearchParams({
      code: String(decodeJwt(signed)['code']),
      state: expected.state,
      iss: provider.issuer,
    })
    const forged = new URLSearchParams({ response: `${header}.${payload}.${'A'.repeat(86)}` })
    for (const response of [plain, forged]) {
      const calls = provider.count()
      await expect(client.exchangeCode(response, expected)).rejects.toMatchObject({ code: 'login_failed' })
      expect(provider.count()).toBe(calls)
    }
    // With its own signature the very same one is good.
    await expect(client.exchangeCode(callback.searchParams, expected)).resolves.toMatchObject({
      claims: { sub: 'alice' },
    })
  })
})

function publicHalf({ d: _private, ...key }: JWK): JWK {
  return key
}

test('a request object is taken by a real server, pushed and signed (AR-13)', async () => {
  await using provider = await startProvider({
    redirectUris: [REDIRECT_URI],
    client: {
      token_endpoint_auth_method: 'private_key_jwt',
      request_object_signing_alg: 'ES256',
      jwks: new OidcClient('https://id.example.com', { config: withKey }).publicJwks(),
    },
    configuration: { features: { requestObjects: { enabled: true, requireSignedRequestObject: true } } },
  })
  await using client = new OidcClient(provider.issuer, { config: { ...withKey, requestObject: true } })

  await expect(login(client, provider)).resolves.toMatchObject({ result: { claims: { sub: 'alice' } } })
})

describe('DPoP at a server that misbehaves', () => {
  test('a nonce that changes is learned again, once for a call (RF-08)', async () => {
    await using provider = await startScriptedProvider()
    provider.dpopNonce = 'first'
    await using client = new OidcClient(provider.issuer, { config: { dpop: true } })
    const { tokens, claims, dpopKey } = await scriptedLogin(client, provider)
    const session = { tokens, claims, sub: 'alice', dpopKey: dpopKey! }
    expect(provider.calls('token')).toBe(2)

    provider.dpopNonce = 'second'
    await expect(client.refresh(session)).resolves.toMatchObject({ kind: 'refreshed' })
    expect(provider.calls('token')).toBe(4)
  })

  test('proofs of a session carry its key, the method and the address (RFC 9449 §4.2)', async () => {
    await using provider = await startScriptedProvider()
    await using client = new OidcClient(provider.issuer, { config: { dpop: true, userinfo: true } })
    const { dpopKey, tokens } = await scriptedLogin(client, provider)

    const [token, userinfo] = ['token', 'userinfo'].map((name) =>
      provider.requests.find(({ endpoint }) => endpoint === name)!,
    )
    const proof = String(token!.headers['dpop'])
    expect(decodeJwt(proof)).toMatchObject({ htm: 'POST', htu: `${provider.origin}/token` })
    expect(decodeProtectedHeader(proof)).toMatchObject({ typ: 'dpop+jwt', jwk: publicHalf(dpopKey!) })
    expect(userinfo!.headers.authorization).toBe(`DPoP ${tokens.accessToken}`)
    expect(decodeJwt(String(userinfo!.headers['dpop']))).toMatchObject({ htm: 'GET', ath: expect.any(String) })
  })
})

describe('mutual TLS', () => {
  const before = getCACertificates('default')
  let authority: Authority
  let own: Certificate
  let server: ServerOptions
  beforeAll(async () => {
    authority = await createAuthority()
    own = await authority.issue('shop')
    const { cert, key } = await authority.issue('127.0.0.1')
    server = { cert, key, ca: authority.ca, requestCert: true, rejectUnauthorized: false }
    setDefaultCACertificates([...before, authority.ca])
  })
  afterAll(async () => {
    setDefaultCACertificates(before)
    await authority[Symbol.asyncDispose]()
  })

  test.each(['tls_client_auth', 'self_signed_tls_client_auth'] as const)(
    '%s shows the certificate at the aliases that the metadata names (AS-07, F2-07)',
    async (clientAuthentication) => {
      await using provider = await startScriptedProvider({ tls: server })
      provider.metadata = (document) => ({
        ...document,
        mtls_endpoint_aliases: { token_endpoint: `${provider.origin}/mtls/token` },
      })
      await using client = new OidcClient(provider.issuer, {
        config: { clientAuthentication, tls: { cert: own.cert, key: own.key } },
      })

      await expect(scriptedLogin(client, provider)).resolves.toMatchObject({ claims: { sub: 'alice' } })

      const request = provider.requests.find(({ endpoint }) => endpoint === 'token')!
      expect(request.url).toMatch(/\/mtls\/token$/)
      expect(request.certificate).toBe('shop')
      expect(request.form.get('client_id')).toBe('shop')
      expect(request.headers.authorization).toBeUndefined()
    },
  )

  test('without aliases the plain endpoints are used', async () => {
    await using provider = await startScriptedProvider({ tls: server })
    const config = { clientAuthentication: 'tls_client_auth', tls: { cert: own.cert, key: own.key } } as const
    await using client = new OidcClient(provider.issuer, { config })
    await expect(scriptedLogin(client, provider)).resolves.toBeDefined()
  })

  test('backchannelBaseUrl expects the certificate of its own name, or for an address that of the issuer (TK-06)', async () => {
    const { cert, key } = await authority.issue('localhost')
    await using internal = await startScriptedProvider({ tls: { cert, key } })
    const publicName = await authority.issue('id.example.com')
    await using balancer = await startScriptedProvider({ tls: { cert: publicName.cert, key: publicName.key } })
    const issuer = 'https://id.example.com'
    const request = { ...expectations(), params: {} }
    const reach = async (provider: typeof internal, host: string): Promise<URL> => {
      provider.metadata = (document) => ({ ...document, issuer })
      const backchannelBaseUrl = `https://${host}:${provider.port}`
      await using client = new OidcClient(issuer, { config: { backchannelBaseUrl } })
      return await client.authorizationUrl(request)
    }

    await expect(reach(internal, 'localhost')).resolves.toBeInstanceOf(URL)
    await expect(reach(balancer, '127.0.0.1')).resolves.toBeInstanceOf(URL)
    await expect(reach(balancer, 'localhost')).rejects.toMatchObject({ code: 'provider_unavailable' })
    await expect(reach(internal, '127.0.0.1')).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(internal.requests[0]?.url).toMatch(/^id\.example\.com\//)
  })

  test('a server whose certificate nobody vouches for is not spoken to (TK-06)', async () => {
    await using provider = await startScriptedProvider({ tls: server })
    setDefaultCACertificates(before)
    try {
      await using client = new OidcClient(provider.issuer)
      await expect(client.authorizationUrl({ ...expectations(), params: {} })).rejects.toMatchObject({
        code: 'provider_unavailable',
      })
      expect(provider.requests).toEqual([])
    } finally {
      setDefaultCACertificates([...before, authority.ca])
    }
  })
})

test('a configuration without a credential for its method does not start (TK-01)', () => {
  const { clientSecret: _none, ...config } = providerConfig('https://id.example.com')
  const options = { name: 'default', redirectUri: REDIRECT_URI, postLogoutRedirectUri: REDIRECT_URI }
  for (const clientAuthentication of ['client_secret_basic', 'private_key_jwt'] as const) {
    expect(
      () =>
        new OidcClient(config.issuer, { config: { ...config, clientAuthentication, clientSecrets: [] }, ...options }),
    ).toThrow(/neither a secret nor a key/)
  }
})

/** What an authorization request says, and how it travels. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { importJWK, jwtVerify } from 'jose'
import { describe, expect, test } from 'vitest'
import type { ProviderConfig } from '../../src/config/schema.ts'
import { OidcClient, REDIRECT_URI, expectations, scriptedLogin } from '../support/oidc-client.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import type { ScriptedProvider } from '../support/scripted-provider.ts'

const privateKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()

async function authorize(
  config: Partial<ProviderConfig> = {},
  params: Record<string, string> = {},
  script: (provider: ScriptedProvider) => void = () => {},
): Promise<{
  url: URL
  expected: ReturnType<typeof expectations>
  pushed: URLSearchParams | undefined
  issuer: string
}> {
  await using provider = await startScriptedProvider()
  script(provider)
  await using client = new OidcClient(provider.issuer, { config })
  const expected = expectations()
  const url = await client.authorizationUrl({ ...expected, params })
  const pushed = provider.requests.find(({ endpoint }) => endpoint === 'par')?.form
  return { url, expected, pushed, issuer: provider.issuer }
}

const withPar = (provider: ScriptedProvider): void => {
  provider.metadata = (document) => ({ ...document, pushed_authorization_request_endpoint: `${provider.origin}/par` })
}

test('asks for a code and nothing else, with S256, state, nonce and exactly the configured scopes (AR-01, AR-02, AR-04, AR-05, AR-06)', async () => {
  const { url, expected, issuer } = await authorize()

  expect(url.href.split('?')[0]).toBe(`${issuer}/authorize`)
  expect(Object.fromEntries(url.searchParams)).toEqual({
    client_id: 'shop',
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid profile email offline_access',
    state: expected.state,
    nonce: expected.nonce,
    code_challenge: createHash('sha256').update(expected.codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
  })
  expect(expected.nonce.length).toBeLessThanOrEqual(64)
})

test('sends S256 also where the metadata does not list it, and never plain (AR-03)', async () => {
  const { url } = await authorize({}, {}, (provider) => {
    provider.metadata = (document) => ({ ...document, code_challenge_methods_supported: ['plain'] })
  })
  expect(url.searchParams.get('code_challenge_method')).toBe('S256')
})

test('neither the browser nor authorizationParams can change what is the protocol’s (AR-06, AR-07, AR-14)', async () => {
  const evil = {
    client_id: 'evil',
    redirect_uri: 'https://evil.example/',
    response_type: 'token',
    response_mode: 'fragment',
    scope: 'openid admin',
    state: 'fixed',
    nonce: 'fixed',
    code_challenge: 'fixed',
    code_challenge_method: 'plain',
    request: 'e.y.J',
    request_uri: 'https://evil.example/',
    claims: '{}',
    authorization_details: '[]',
    resource: 'https://evil.example/',
  }
  const { url: plain } = await authorize()
  for (const [config, params] of [
    [{}, evil],
    [{ authorizationParams: evil }, {}],
  ] as const) {
    const { url } = await authorize(config, params)
    expect([...url.searchParams.keys()].toSorted()).toEqual([...plain.searchParams.keys()].toSorted())
    expect(url.href).not.toMatch(/evil|admin|fixed/)
  }
})

test('carries what is configured: parameters, resources, details, claims, response mode (AR-15)', async () => {
  const { url } = await authorize(
    {
      authorizationParams: { audience: 'https://api.example.com', prompt: 'consent', ui: ['a', 'b'] },
      resource: ['https://a.example', 'https://b.example'],
      authorizationDetails: [{ type: 'payment', amount: 5 }],
      claims: { id_token: { acr: { essential: true } } },
      responseMode: 'form_post',
    },
    { prompt: 'login' },
  )

  expect(url.searchParams.get('audience')).toBe('https://api.example.com')
  expect(url.searchParams.getAll('prompt')).toEqual(['login'])
  expect(url.searchParams.getAll('ui')).toEqual(['a', 'b'])
  expect(url.searchParams.getAll('resource')).toEqual(['https://a.example', 'https://b.example'])
  expect(JSON.parse(url.searchParams.get('authorization_details')!)).toEqual([{ type: 'payment', amount: 5 }])
  expect(JSON.parse(url.searchParams.get('claims')!)).toEqual({ id_token: { acr: { essential: true } } })
  expect(url.searchParams.get('response_mode')).toBe('form_post')
})

test('keeps the query that the authorization endpoint has', async () => {
  const { url } = await authorize({}, {}, (provider) => {
    provider.metadata = (document) => ({ ...document, authorization_endpoint: `${provider.origin}/authorize?tenant=7` })
  })
  expect(url.searchParams.get('tenant')).toBe('7')
})

describe('pushed (RFC 9126)', () => {
  test('when advertised: everything goes there, the browser gets client_id and request_uri alone (AR-11)', async () => {
    const { url, expected, pushed } = await authorize({}, { login_hint: 'alice' }, withPar)

    expect([...url.searchParams.keys()].toSorted()).toEqual(['client_id', 'request_uri'])
    expect(Object.fromEntries(pushed ?? [])).toMatchObject({
      state: expected.state,
      login_hint: 'alice',
      response_type: 'code',
    })
  })

  test('with the authentication of the token endpoint (AR-11, TK-01)', async () => {
    await using provider = await startScriptedProvider()
    withPar(provider)
    await using client = new OidcClient(provider.issuer)

    await expect(scriptedLogin(client, provider)).resolves.toMatchObject({ claims: { sub: 'alice' } })

    const [par, token] = ['par', 'token'].map((name) => provider.requests.find(({ endpoint }) => endpoint === name))
    expect(par?.headers.authorization).toMatch(/^Basic /)
    expect(par?.headers.authorization).toBe(token?.headers.authorization)
  })

  test('each login pushes a request of its own (AR-11)', async () => {
    await using provider = await startScriptedProvider()
    withPar(provider)
    await using client = new OidcClient(provider.issuer)
    const urls = [0, 1].map(() => client.authorizationUrl({ ...expectations(), params: {} }))
    const [first, second] = await Promise.all(urls)
    expect(first?.href).not.toBe(second?.href)
  })

  test('not with never, and not where it is not known', async () => {
    expect((await authorize({ pushedAuthorization: 'never' }, {}, withPar)).pushed).toBeUndefined()
    expect((await authorize()).pushed).toBeUndefined()
  })

  test.each<[string, Partial<ProviderConfig>, Record<string, unknown>]>([
    ['required by us and unknown there', { pushedAuthorization: 'required' }, {}],
    ['required there and without an endpoint', {}, { require_pushed_authorization_requests: true }],
    [
      'required there and never here',
      { pushedAuthorization: 'never' },
      { require_pushed_authorization_requests: true },
    ],
  ])('%s: there is no login (AR-11)', async (_name, config, more) => {
    const script = (provider: ScriptedProvider): void => {
      provider.metadata = (document) => ({ ...document, ...more })
    }
    await expect(authorize(config, {}, script)).rejects.toMatchObject({ code: 'provider_unavailable' })
  })

  test.each([
    ['is out of order', { kind: 'status', status: 500 }, 'provider_unavailable'],
    ['cuts the connection', { kind: 'reset' }, 'provider_unavailable'],
    [
      'answers 200',
      { kind: 'status', status: 200, body: '{"request_uri":"urn:x","expires_in":9}' },
      'provider_unavailable',
    ],
    ['refuses what is asked', { kind: 'oauthError', error: 'invalid_request' }, 'login_failed'],
    ['refuses the client', { kind: 'oauthError', error: 'invalid_client', status: 401 }, 'provider_unavailable'],
  ] as const)(
    'an endpoint that %s ends the login: nothing falls back to the front channel (AR-12)',
    async (_name, fault, code) => {
      const script = (provider: ScriptedProvider): void => {
        withPar(provider)
        provider.faults.par = fault
      }
      await expect(authorize({}, {}, script)).rejects.toMatchObject({ code })
    },
  )
})

describe('signed (RFC 9101)', () => {
  const signing: Partial<ProviderConfig> = { requestObject: true, privateKey, clientAuthentication: 'private_key_jwt' }

  test('a typed JWT for this issuer holds everything, with what is JSON as JSON (AR-13, AR-15)', async () => {
    const { url, expected, issuer } = await authorize({
      ...signing,
      authorizationDetails: [{ type: 'payment' }],
      resource: ['https://a.example', 'https://b.example'],
    })
    await using client = new OidcClient('https://id.example.com', { config: signing })
    const key = await importJWK(client.publicJwks().keys[0]!)

    expect([...url.searchParams.keys()].toSorted()).toEqual(['client_id', 'request'])
    const { payload } = await jwtVerify(url.searchParams.get('request')!, key, { typ: 'oauth-authz-req+jwt' })
    expect(payload).toMatchObject({
      iss: 'shop',
      aud: issuer,
      client_id: 'shop',
      response_type: 'code',
      state: expected.state,
      authorization_details: [{ type: 'payment' }],
      resource: ['https://a.example', 'https://b.example'],
    })
    expect(payload).not.toHaveProperty('sub')
    expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(60)
  })

  test('and pushed where there is an endpoint for it (AR-13)', async () => {
    const { url, pushed } = await authorize(signing, {}, withPar)
    expect([...url.searchParams.keys()].toSorted()).toEqual(['client_id', 'request_uri'])
    expect(pushed?.has('request')).toBe(true)
    expect(pushed?.has('state')).toBe(false)
  })

  test('where the server requires it; without a key there is no login (AR-13)', async () => {
    const script = (provider: ScriptedProvider): void => {
      provider.metadata = (document) => ({ ...document, require_signed_request_object: true })
    }
    expect((await authorize({ ...signing, requestObject: false }, {}, script)).url.searchParams.has('request')).toBe(
      true,
    )
    await expect(authorize({}, {}, script)).rejects.toMatchObject({ code: 'provider_unavailable' })
  })
})

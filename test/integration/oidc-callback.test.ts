/** What a callback and a token answer must be before there is a session, at a server that misbehaves. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { OidcClient, REDIRECT_URI, RecordedLog, expectations, scriptedLogin } from '../support/oidc-client.ts'
import type { OidcClientOptions, ScriptedLogin } from '../support/oidc-client.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import type { ScriptedProvider } from '../support/scripted-provider.ts'

/** Logs in at a fresh server and says how it went and what reached the server. */
async function attempt(
  script: (provider: ScriptedProvider) => void,
  login: ScriptedLogin = {},
  options: OidcClientOptions = {},
): Promise<{ error: unknown; tokenCalls: number; userinfoCalls: number; revoked: () => Promise<readonly string[]> }> {
  const provider = await startScriptedProvider()
  onTestFinishedClose(provider)
  const client = new OidcClient(provider.issuer, { ...options, config: { userinfo: true, ...options.config } })
  onTestFinishedClose(client)
  script(provider)
  let error: unknown
  try {
    await scriptedLogin(client, provider, login)
  } catch (caught) {
    error = caught
  }
  return {
    error,
    tokenCalls: provider.calls('token'),
    userinfoCalls: provider.calls('userinfo'),
    revoked: async () => {
      await provider.called('revocation')
      return provider.revoked
    },
  }
}

function onTestFinishedClose(resource: AsyncDisposable): void {
  onTestFinished(() => resource[Symbol.asyncDispose]())
}
const nothing = (): void => {}

test('the scripted server serves a good login when nothing is wrong with it', async () => {
  const { error, userinfoCalls } = await attempt(nothing)
  expect(error).toBeUndefined()
  expect(userinfoCalls).toBe(1)
})

describe('no token request leaves', () => {
  test.each<[string, ScriptedLogin['response']]>([
    ['state is missing (CB-01)', { state: null }],
    ['state is of another login (CB-01)', { state: 'x'.repeat(43) }],
    ['iss is missing although the server promises it (CB-04)', { iss: null }],
    ['iss is of another server (CB-04)', { iss: 'https://evil.example' }],
    ['iss has a slash more (CB-04)', { iss: 'SLASH' }],
    ['it is an error (CB-06)', { error: 'access_denied', code: null }],
    ['it is an error from elsewhere, without iss (CB-04, CB-06)', { error: 'access_denied', code: null, iss: null }],
    ['it is an error beside a code (CB-06)', { error: 'access_denied' }],
    ['there is no code (CB-08)', { code: null }],
    ['it carries an ID token (CB-09)', { id_token: 'e.y.J' }],
    ['it carries an access token (CB-09)', { access_token: 'at-evil' }],
    ['it is a JWT where none was asked for (CB-09)', { response: 'e.y.J' }],
  ])('when %s', async (_name, change) => {
    const provider = await startScriptedProvider()
    onTestFinishedClose(provider)
    await using client = new OidcClient(provider.issuer)
    const response = { ...change, ...(change?.['iss'] === 'SLASH' && { iss: `${provider.issuer}/` }) }

    await expect(scriptedLogin(client, provider, { response })).rejects.toMatchObject({ code: 'login_failed' })

    expect(provider.calls('token')).toBe(0)
  })

  test.each(['code', 'state', 'iss', 'error'])('when %s comes twice (CB-08)', async (name) => {
    await using provider = await startScriptedProvider()
    await using client = new OidcClient(provider.issuer)
    const expected = expectations()
    const { searchParams } = provider.authorize(await client.authorizationUrl({ ...expected, params: {} }))
    searchParams.append(name, searchParams.get(name) ?? 'access_denied')
    if (name === 'error') searchParams.append(name, 'access_denied')

    await expect(client.exchangeCode(searchParams, expected)).rejects.toThrow(/more than once/)

    expect(provider.calls('token')).toBe(0)
  })
})

test('unknown parameters such as session_state are ignored (CB-08, LO-14)', async () => {
  const { error } = await attempt(nothing, { response: { session_state: 's', unknown: 'u' } })
  expect(error).toBeUndefined()
})

test('the response mode is the configured one, whatever else the response holds (CB-09)', async () => {
  const asked = /not in the configured response mode/
  expect(String((await attempt(nothing, { response: { response: 'e.y.J' } })).error)).toMatch(asked)
  expect(String((await attempt(nothing, {}, { config: { responseMode: 'jwt' } })).error)).toMatch(asked)
})

test('a server that promises no iss may leave it out, and one that sends it all the same is held to it (CB-04)', async () => {
  const silent = (provider: ScriptedProvider): void => {
    provider.sendsIss = false
  }
  expect((await attempt(silent)).error).toBeUndefined()
  expect((await attempt(silent, { response: { iss: 'https://evil.example' } })).error).toMatchObject({
    code: 'login_failed',
  })
})

test('of an error response only a registered-looking code is said, never its description (CB-06)', async () => {
  const response = { code: null, error: '<script>', error_description: '<b>call 0800-EVIL</b>' }
  const { error } = await attempt(nothing, { response })
  expect(String(error)).not.toMatch(/script|0800/)
  const known = await attempt(nothing, { response: { code: null, error: 'access_denied', error_description: 'no' } })
  expect(String(known.error)).toMatch(/access_denied$/)
})

test('the token request carries the configured redirect_uri byte for byte and the verifier of this login (AR-07, TK-05)', async () => {
  await using provider = await startScriptedProvider()
  // A URL parser would lower-case the host and drop the default port.
  const redirectUri = 'http://LOCALHOST:80/bff/callback'
  await using client = new OidcClient(provider.issuer, { redirectUri })
  const expected = expectations()
  const url = await client.authorizationUrl({ ...expected, params: {} })

  await client.exchangeCode(provider.authorize(url).searchParams, expected)

  const { form } = provider.requests.find(({ endpoint }) => endpoint === 'token')!
  expect(url.searchParams.get('redirect_uri')).toBe(redirectUri)
  expect(form.getAll('redirect_uri')).toEqual([redirectUri])
  expect(form.getAll('code_verifier')).toEqual([expected.codeVerifier])
})

describe('an ID token with which there is no session, no userinfo call, and the tokens are revoked (ID-15)', () => {
  test.each<[string, Record<string, unknown>, RegExp]>([
    ['another issuer (ID-01)', { iss: 'https://evil.example' }, /iss/],
    ['another audience (ID-02)', { aud: 'other' }, /aud/],
    ['one more audience and no azp (ID-02)', { aud: ['shop', 'other'] }, /azp/],
    ['another azp (ID-02)', { azp: 'other' }, /azp/],
    ['an end that is past (ID-05)', { exp: Math.floor(Date.now() / 1_000) - 60 }, /exp/],
    ['a begin in the future (ID-05)', { iat: Math.floor(Date.now() / 1_000) + 400 }, /iat/],
    ['another nonce (ID-06)', { nonce: 'stolen' }, /nonce/],
    ['no nonce (ID-06)', { nonce: undefined }, /nonce/],
    ['no sub (ID-08)', { sub: undefined }, /sub/],
    ['the hash of another access token (ID-11)', { at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' }, /at_hash/],
  ])('%s', async (_name, change, reason) => {
    const { error, userinfoCalls, revoked } = await attempt((provider) => {
      provider.idToken = (claims, header) => ({ claims: { ...claims, ...change }, header })
    })

    expect(error).toMatchObject({ code: 'login_failed' })
    expect(String(error)).toMatch(reason)
    expect(userinfoCalls).toBe(0)
    expect(await revoked()).toEqual([expect.stringMatching(/^rt-/)])
  })

  test.each<[string, (provider: ScriptedProvider) => void, RegExp]>([
    [
      'an unsigned one, though the metadata lists none (ID-04)',
      (provider) => {
        provider.idToken = (claims) => ({ claims, header: { alg: 'none' } })
      },
      /alg|signed/,
    ],
    [
      'a signature of a key that the issuer does not show (ID-03)',
      (provider) => {
        const shown = provider.signingKey.publicJwk
        provider.keyIndex = 1
        provider.publishedKeys = [shown]
        provider.idToken = (claims) => ({ claims, header: { kid: shown.kid } })
      },
      /signature/,
    ],
    [
      'a key named by jwk in the header (ID-12)',
      (provider) => {
        const shown = provider.signingKey.publicJwk
        provider.keyIndex = 1
        provider.publishedKeys = [shown]
        provider.idToken = (claims) => ({ claims, header: { kid: shown.kid, jwk: provider.signingKey.publicJwk } })
      },
      /signature|no signed JWT/,
    ],
    [
      'a critical extension that nobody knows (ID-12)',
      (provider) => {
        provider.idToken = () => 'eyJhbGciOiJSUzI1NiIsImNyaXQiOlsieCJdLCJ4IjoxfQ.e30.AAAA'
      },
      /signed JWT/,
    ],
    [
      'a critical extension that jose knows (ID-12)',
      (provider) => {
        provider.idToken = (claims, header) => ({ claims, header: { ...header, crit: ['b64'], b64: true } })
      },
      /signed JWT/,
    ],
    [
      'something that is no JWT (ID-03)',
      (provider) => {
        provider.idToken = () => 'not-a-jwt'
      },
      /signed JWT/,
    ],
    [
      'none at all (ID-07)',
      (provider) => {
        provider.tokenResponse = ({ id_token: _none, ...body }) => body
      },
      /no ID token/,
    ],
  ])('%s', async (_name, script, reason) => {
    const { error, userinfoCalls } = await attempt(script)

    expect(error).toMatchObject({ code: 'login_failed' })
    expect(String(error)).toMatch(reason)
    expect(userinfoCalls).toBe(0)
  })

  test('another algorithm than the configured one, though the issuer has a key for it (ID-04)', async () => {
    await using provider = await startScriptedProvider()
    const rsa = provider.signingKey.publicJwk
    await provider.useAlgorithm('ES256')
    provider.publishedKeys = [rsa, provider.signingKey.publicJwk]
    await using client = new OidcClient(provider.issuer)
    await using es256 = new OidcClient(provider.issuer, { config: { idTokenSignedResponseAlg: 'ES256' } })

    await expect(scriptedLogin(client, provider)).rejects.toThrow(/alg is not RS256/)
    await expect(scriptedLogin(es256, provider)).resolves.toMatchObject({ claims: { sub: 'alice' } })
  })
})

test('keys of foreign kinds in the set do not disturb the choice (ID-12)', async () => {
  const { error } = await attempt((provider) => {
    provider.publishedKeys = [
      { kty: 'EC', crv: 'secp256k1', x: 'AA', y: 'AA', kid: provider.signingKey.kid },
      { kty: 'RSA', use: 'enc', n: 'AA', e: 'AQAB', kid: provider.signingKey.kid },
      { kid: 'no-kty' },
      null as never,
      provider.signingKey.publicJwk,
    ]
  })
  expect(error).toBeUndefined()
})

describe('what the login asked for', () => {
  test('max_age without auth_time, and with an old one, fails (ID-09)', async () => {
    const expected = { maxAgeSeconds: 60 }
    const now = Math.floor(Date.now() / 1_000)
    expect(String((await attempt(nothing, { expected })).error)).toMatch(/auth_time is missing/)
    expect(String((await attempt(nothing, { expected, claims: { auth_time: now - 600 } })).error)).toMatch(/longer ago/)
    expect((await attempt(nothing, { expected, claims: { auth_time: now } })).error).toBeUndefined()
  })

  test('acr_values that are not met fail, also as an essential claim of the configuration (ID-10)', async () => {
    const expected = { acrValues: ['urn:strong'] }
    const config = { claims: { id_token: { acr: { essential: true, values: ['urn:strong'] } } } }
    expect(String((await attempt(nothing, { expected })).error)).toMatch(/acr/)
    expect(String((await attempt(nothing, {}, { config })).error)).toMatch(/acr/)
    expect((await attempt(nothing, { claims: { acr: 'urn:strong' } }, { config })).error).toBeUndefined()
  })
})

describe('a token answer', () => {
  test.each<[string, Record<string, unknown>]>([
    ['has no access token', { access_token: undefined }],
    ['has an access token with a line break', { access_token: 'at\r\nx: y' }],
    ['has no token type', { token_type: undefined }],
    ['has an unknown token type (TK-07)', { token_type: 'mac' }],
    ['is DPoP-bound though nothing was (TK-07)', { token_type: 'DPoP' }],
  ])('that %s fails the login', async (_name, change) => {
    const { error, userinfoCalls } = await attempt((provider) => {
      provider.tokenResponse = (body) => ({ ...body, ...change })
    })
    expect(error).toMatchObject({ code: 'login_failed' })
    expect(userinfoCalls).toBe(0)
  })

  test('is read with any case of the type, unknown members, and lifetimes as servers write them (TK-07, TK-08)', async () => {
    for (const change of [
      { token_type: 'BEARER', unknown: {} },
      { expires_in: '300' },
      { expires_in: null },
      { expires_in: -5 },
    ]) {
      const { error } = await attempt((provider) => {
        provider.tokenResponse = (body) => ({ ...body, ...change })
      })
      expect(error).toBeUndefined()
    }
  })

  test('grants details of the kinds that were asked for and no others (TK-12)', async () => {
    const config = { authorizationDetails: [{ type: 'payment', amount: 5 }] }
    const granting = (details: unknown) => (provider: ScriptedProvider) => {
      provider.tokenResponse = (body) => ({ ...body, authorization_details: details })
    }
    expect((await attempt(granting([{ type: 'payment', id: 'filled-in' }]), {}, { config })).error).toBeUndefined()
    expect((await attempt(granting(undefined), {}, { config })).error).toBeUndefined()
    for (const details of [[{ type: 'admin' }], [null], 'payment']) {
      expect(String((await attempt(granting(details), {}, { config })).error)).toMatch(/authorization_details/)
    }
  })

  test('of Bearer where DPoP was asked for is thrown away (TK-07)', async () => {
    const { error } = await attempt(
      (provider) => {
        provider.tokenResponse = (body) => ({ ...body, token_type: 'Bearer' })
      },
      {},
      { config: { dpop: true } },
    )
    expect(String(error)).toMatch(/Bearer although DPoP/)
  })
})

describe('userinfo', () => {
  test('of another person fails the login and revokes the tokens (TK-11)', async () => {
    const { error, revoked } = await attempt((provider) => {
      provider.userinfo = () => ({ sub: 'mallory' })
    })
    expect(error).toMatchObject({ code: 'login_failed' })
    expect(String(error)).toMatch(/sub is not that of the ID token/)
    expect(await revoked()).toHaveLength(1)
  })

  test('is asked for by header and never by address (TK-11)', async () => {
    await using provider = await startScriptedProvider()
    await using client = new OidcClient(provider.issuer, { config: { userinfo: true } })

    const { userinfo } = await scriptedLogin(client, provider)

    expect(userinfo).toEqual({ sub: 'alice', email: 'alice@example.com' })
    const request = provider.requests.find(({ endpoint }) => endpoint === 'userinfo')
    expect(request?.headers.authorization).toMatch(/^Bearer at-/)
    expect(request?.url).not.toMatch(/at-/)
  })

  test('that is signed must be signed by the issuer (TK-11)', async () => {
    await using provider = await startScriptedProvider()
    await using client = new OidcClient(provider.issuer, { config: { userinfo: true } })
    const claims = { iss: provider.issuer, aud: 'shop', sub: 'alice' }
    const good = await provider.sign(claims)
    provider.keyIndex = 1
    const foreign = await provider.sign(claims, { kid: 'RS256-0' })
    provider.keyIndex = 0

    provider.userinfo = () => good
    await expect(scriptedLogin(client, provider)).resolves.toMatchObject({ userinfo: { sub: 'alice' } })
    provider.userinfo = () => foreign
    await expect(scriptedLogin(client, provider)).rejects.toThrow(/signature/)
  })
})

describe('a token endpoint that', () => {
  test.each([
    ['refuses the code', { kind: 'oauthError', error: 'invalid_grant' }, 'login_failed'],
    ['refuses the client', { kind: 'oauthError', error: 'invalid_client', status: 401 }, 'provider_unavailable'],
    [
      'refuses the client by a challenge',
      { kind: 'oauthError', error: 'invalid_client', status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } },
      'provider_unavailable',
    ],
    ['is out of order', { kind: 'status', status: 503 }, 'provider_unavailable'],
    ['cuts the connection', { kind: 'reset' }, 'provider_unavailable'],
    ['answers with a page', { kind: 'html' }, 'provider_unavailable'],
    ['answers with nothing', { kind: 'empty' }, 'provider_unavailable'],
    ['sends elsewhere', { kind: 'redirect', location: 'https://evil.example/' }, 'provider_unavailable'],
    ['answers for ever', { kind: 'endless' }, 'provider_unavailable'],
  ] as const)('%s', async (_name, fault, code) => {
    const { error, tokenCalls } = await attempt((provider) => {
      provider.faults.token = fault
    })
    expect(error).toMatchObject({ code })
    expect(tokenCalls).toBe(1)
    expect(String(error)).not.toMatch(/script/)
  })
})

test('a temporary refusal says when to come again', async () => {
  for (const fault of [
    { kind: 'status', status: 503, headers: { 'retry-after': '17' } },
    { kind: 'oauthError', error: 'temporarily_unavailable', headers: { 'retry-after': '17' } },
  ] as const) {
    const { error } = await attempt((provider) => {
      provider.faults.token = fault
    })
    expect(error).toMatchObject({ code: 'provider_unavailable', retryAfterSeconds: 17 })
  }
})

describe('while a part of the provider is away, there is no login and no accusation (R16)', () => {
  test.each(['jwks', 'userinfo'] as const)('%s', async (endpoint) => {
    for (const fault of [{ kind: 'status', status: 503 }, { kind: 'reset' }] as const) {
      const { error } = await attempt((provider) => {
        provider.faults[endpoint] = fault
      })
      expect(error).toMatchObject({ code: 'provider_unavailable' })
    }
  })

  test('the keys of a signed response (CB-11)', async () => {
    const { error, tokenCalls } = await attempt(
      (provider) => {
        provider.faults.jwks = { kind: 'status', status: 503 }
      },
      { response: { code: null, state: null, iss: null, response: 'e.y.J' } },
      { config: { responseMode: 'form_post.jwt' } },
    )
    expect(error).toMatchObject({ code: 'provider_unavailable' })
    expect(tokenCalls).toBe(0)
  })
})

test.each([
  ['a page', { kind: 'html' }],
  ['a list', { kind: 'array' }],
] as const)('userinfo that is %s fails the login (TK-11)', async (_name, fault) => {
  const { error } = await attempt((provider) => {
    provider.faults.userinfo = fault
  })
  expect(error).toMatchObject({ code: 'login_failed' })
})

test('no code, verifier, token or secret is logged or in an error on the way (TK-09)', async () => {
  const log = new RecordedLog()
  await using provider = await startScriptedProvider()
  await using client = new OidcClient(provider.issuer, { log, config: { userinfo: true } })
  const faults: ((provider: ScriptedProvider) => void)[] = [
    nothing,
    (server) => {
      server.idToken = (claims, header) => ({ claims: { ...claims, nonce: 'other' }, header })
    },
    (server) => {
      server.faults.token = { kind: 'oauthError', error: 'invalid_grant' }
      server.faults.revocation = { kind: 'status', status: 500 }
    },
  ]

  const thrown: unknown[] = []
  const secrets = new Set([...provider.clientSecrets])
  for (const fault of faults) {
    fault(provider)
    const expected = expectations()
    const url = await client.authorizationUrl({ ...expected, params: {} })
    const { searchParams } = provider.authorize(url)
    for (const secret of [expected.codeVerifier, expected.nonce, expected.state, searchParams.get('code')!])
      secrets.add(secret)
    await client.exchangeCode(searchParams, expected).catch((error: unknown) => thrown.push(error))
  }

  const said = JSON.stringify(log.lines) + thrown.map((error) => describeDeeply(error)).join('\n')
  for (const secret of secrets) expect(said).not.toContain(secret)
  expect(said).not.toMatch(/\b(at|rt)-[\w-]{16}|eyJ/)
  expect(thrown).toHaveLength(2)
})

function describeDeeply(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error)
  return `${error.stack} ${JSON.stringify(error)} ${error.cause === undefined ? '' : describeDeeply(error.cause)}`
}

test('the login uses the address that is configured, whatever the response says (AR-07)', async () => {
  await using provider = await startScriptedProvider()
  await using client = new OidcClient(provider.issuer)
  const url = await client.authorizationUrl({ ...expectations(), params: { redirect_uri: 'https://evil.example/' } })
  expect(url.searchParams.getAll('redirect_uri')).toEqual([REDIRECT_URI])
})

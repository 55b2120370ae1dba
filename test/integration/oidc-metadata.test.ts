/** Metadata and keys: at the start, while running, when they change and when they are gone. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { BackChannel } from '../../src/oidc/back-channel.ts'
import { IssuerKeys } from '../../src/oidc/issuer-keys.ts'
import { Metadata } from '../../src/oidc/metadata.ts'
import { silentLog } from '../../src/telemetry/log.ts'
import { OidcClient, RecordedLog, expectations, providerConfig, scriptedLogin } from '../support/oidc-client.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'

const request = () => ({ ...expectations(), params: {} })

/** A clock that is set by hand. */
function handClock(): { now: () => number; advance: (ms: number) => void } {
  let at = Date.now()
  return {
    now: () => at,
    advance: (ms) => {
      at += ms
    },
  }
}

describe('at the start', () => {
  test('a server that is away keeps nobody from starting; logins fail until it is there, then go on by themselves (AS-04, R17)', async () => {
    await using provider = await startScriptedProvider()
    provider.faults.metadata = { kind: 'status', status: 503 }
    const log = new RecordedLog()
    await using client = new OidcClient(provider.issuer, { log })

    client.start()
    await provider.called('metadata')
    await expect(client.authorizationUrl(request())).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(client.ready).toBe(false)
    expect(client.degraded).toBe(true)
    delete provider.faults.metadata
    await provider.called('metadata', provider.calls('metadata') + 1)

    await expect.poll(() => client.ready).toBe(true)
    await expect(client.authorizationUrl(request())).resolves.toBeInstanceOf(URL)
    expect(client.degraded).toBe(false)
    expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
  })

  test('a hundred logins at once ask for the metadata once, and a login needs no start', async () => {
    await using provider = await startScriptedProvider()
    await using client = new OidcClient(provider.issuer)

    await Promise.all(Array.from({ length: 100 }, () => client.authorizationUrl(request())))

    expect(provider.calls('metadata')).toBe(1)
  })

  test('while it is away, logins ask no more often than once a second', async () => {
    await using provider = await startScriptedProvider()
    provider.faults.metadata = { kind: 'status', status: 500 }
    const { now } = handClock()
    await using client = new OidcClient(provider.issuer, { now })

    for (let index = 0; index < 20; index += 1) {
      await expect(client.authorizationUrl(request())).rejects.toMatchObject({ code: 'provider_unavailable' })
    }

    expect(provider.calls('metadata')).toBe(1)
  })

  test('another issuer in the document than the configured one: none of it is used (AS-02)', async () => {
    await using provider = await startScriptedProvider({ path: '/realms/acme' })
    await using client = new OidcClient(`${provider.issuer}/`)

    await expect(client.authorizationUrl(request())).rejects.toThrow(/the slash at the end matters/)

    expect(client.ready).toBe(false)
  })

  test.each(['', '/', '/realms/acme', '/realms/acme/'])('an issuer with the path %j works (AS-01)', async (path) => {
    await using provider = await startScriptedProvider({ path })
    await using client = new OidcClient(provider.issuer)
    await expect(scriptedLogin(client, provider)).resolves.toMatchObject({ claims: { iss: provider.issuer } })
  })

  test('an issuer of many tenants signs in and refreshes users of the named ones, and of no other (AS-02, ID-01)', async () => {
    await using provider = await startScriptedProvider({ path: '/common/v2.0' })
    provider.sendsIss = false
    provider.metadata = (document) => ({ ...document, issuer: `${provider.origin}/{tenantid}/v2.0` })
    let tid = 'acme'
    provider.idToken = (claims, header) => ({
      claims: { ...claims, tid, iss: `${provider.origin}/${tid}/v2.0` },
      header,
    })
    await using client = new OidcClient(provider.issuer, { config: { allowedTenants: ['acme', 'contoso'] } })
    await using careless = new OidcClient(provider.issuer)

    const login = await scriptedLogin(client, provider)
    expect(login.claims).toMatchObject({ tid, iss: `${provider.origin}/acme/v2.0` })
    await expect(client.refresh({ ...login, sub: 'alice' })).resolves.toMatchObject({ kind: 'refreshed' })
    tid = 'elsewhere'
    await expect(scriptedLogin(client, provider)).rejects.toThrow(/tid is no allowed tenant/)
    await expect(careless.authorizationUrl(request())).rejects.toMatchObject({ code: 'provider_unavailable' })
  })

  test('a server that knows the address of RFC 8414 alone is found there (AS-01)', async () => {
    const asked: string[] = []
    const server = createServer((incoming, response) => {
      asked.push(incoming.url ?? '')
      const isKnown = incoming.url === '/.well-known/oauth-authorization-server/tenant'
      const document = {
        issuer,
        authorization_endpoint: `${issuer}/a`,
        token_endpoint: `${issuer}/t`,
        jwks_uri: `${issuer}/j`,
      }
      response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' })
      response.end(isKnown ? JSON.stringify(document) : '{}')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    // A server that listens on a port has an AddressInfo.
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tenant`
    await using client = new OidcClient(issuer)

    await expect(client.authorizationUrl(request())).resolves.toBeInstanceOf(URL)

    expect(asked).toEqual([
      '/tenant/.well-known/openid-configuration',
      '/.well-known/oauth-authorization-server/tenant',
    ])
  })

  test.each([
    ['redirect elsewhere (AS-03)', { kind: 'redirect', location: 'https://evil.example/' }],
    ['a page', { kind: 'html' }],
    ['a list', { kind: 'array' }],
    ['half a document', { kind: 'truncated' }],
    ['an endless document (R67)', { kind: 'endless' }],
    ['a gzip bomb (R67)', { kind: 'gzipBomb' }],
    ['a reset', { kind: 'reset' }],
  ] as const)('%s is no metadata', async (_name, fault) => {
    await using provider = await startScriptedProvider()
    provider.faults.metadata = fault
    await using client = new OidcClient(provider.issuer)

    await expect(client.authorizationUrl(request())).rejects.toMatchObject({ code: 'provider_unavailable' })
  })
})

test('overrides are laid over the document; a complete set needs none (AS-03)', async () => {
  await using provider = await startScriptedProvider()
  await using overridden = new OidcClient(provider.issuer, {
    config: { metadata: { authorization_endpoint: 'http://127.0.0.1/other' } },
  })
  expect((await overridden.authorizationUrl(request())).pathname).toBe('/other')
  expect(provider.calls('metadata')).toBe(1)

  const { issuer, origin } = provider
  const metadata = {
    issuer,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    jwks_uri: `${origin}/jwks`,
  }
  await using complete = new OidcClient(issuer, { config: { metadata } })
  await expect(scriptedLogin(complete, provider)).resolves.toMatchObject({ claims: { sub: 'alice' } })
  expect(provider.calls('metadata')).toBe(1)
})

test('an override cannot give the document of another issuer our name (AS-02)', async () => {
  await using provider = await startScriptedProvider()
  provider.metadata = (document) => ({ ...document, issuer: 'https://other.example' })
  await using client = new OidcClient(provider.issuer, { config: { metadata: { issuer: provider.issuer } } })
  await expect(client.authorizationUrl(request())).rejects.toThrow(/issuer is "https:\/\/other\.example"/)
})

test('a metadataUrl is read instead, and its issuer is compared all the same (AS-02)', async () => {
  await using provider = await startScriptedProvider()
  const metadataUrl = `${provider.origin}/elsewhere/.well-known/x`
  await using client = new OidcClient(provider.issuer, { config: { metadataUrl } })
  await expect(client.authorizationUrl(request())).resolves.toBeInstanceOf(URL)
  expect(provider.requests[0]?.url).toMatch(/\/elsewhere\/\.well-known\/x$/)

  provider.metadata = (document) => ({ ...document, issuer: 'https://other.example' })
  await using other = new OidcClient(provider.issuer, { config: { metadataUrl } })
  await expect(other.authorizationUrl(request())).rejects.toThrow(/issuer/)
})

test('backchannelBaseUrl: the gateway goes there, the browser does not, and the server sees its own name', async () => {
  await using provider = await startScriptedProvider({ path: '/realms/acme' })
  const issuer = 'http://localhost:1/realms/acme'
  const endpoint = (path: string): string => `http://localhost:1${path}`
  provider.metadata = (document) => ({
    ...document,
    issuer,
    authorization_endpoint: endpoint('/authorize'),
    token_endpoint: endpoint('/token'),
    jwks_uri: endpoint('/jwks'),
  })
  provider.idToken = (claims, header) => ({ claims: { ...claims, iss: issuer }, header })
  await using client = new OidcClient(issuer, { config: { backchannelBaseUrl: provider.origin } })
  const expected = expectations()

  const url = await client.authorizationUrl({ ...expected, params: {} })
  const callback = provider.authorize(url, { response: { iss: issuer } })
  await expect(client.exchangeCode(callback.searchParams, expected)).resolves.toMatchObject({ claims: { iss: issuer } })

  expect(url.host).toBe('localhost:1')
  expect(provider.requests.map(({ url: called }) => called)).toEqual([
    'localhost:1/realms/acme/.well-known/openid-configuration',
    'localhost:1/token',
    'localhost:1/jwks',
  ])
})

test('a later document with another issuer, or none at all, leaves the last good copy in place (AS-05)', async () => {
  await using provider = await startScriptedProvider()
  const backChannel = new BackChannel({ timeoutMs: 2_000, publicOrigin: provider.origin })
  onTestFinished(() => backChannel.close())
  const metadata = new Metadata({ config: providerConfig(provider.issuer), backChannel, log: silentLog, now: Date.now })
  onTestFinished(() => metadata.close())
  const first = await metadata.get()

  provider.metadata = (document) => ({
    ...document,
    issuer: 'https://evil.example',
    token_endpoint: 'https://evil.example/',
  })
  await metadata.reread()
  expect(metadata.current).toBe(first)
  expect(metadata.isFailing).toBe(true)

  provider.metadata = (document) => ({ ...document, end_session_endpoint: `${provider.origin}/new` })
  await metadata.reread()
  expect(metadata.current?.end_session_endpoint).toBe(`${provider.origin}/new`)
  expect(metadata.isFailing).toBe(false)
})

test('an outage is seen by whoever meets it and is over with the next good answer (AS-04)', async () => {
  await using provider = await startScriptedProvider()
  await using client = new OidcClient(provider.issuer)
  await scriptedLogin(client, provider)
  expect(client.degraded).toBe(false)

  provider.faults.token = { kind: 'status', status: 502 }
  await expect(scriptedLogin(client, provider)).rejects.toMatchObject({ code: 'provider_unavailable' })
  expect(client.degraded).toBe(true)
  expect(client.ready).toBe(true)

  delete provider.faults.token
  await scriptedLogin(client, provider)
  expect(client.degraded).toBe(false)
})

describe('keys', () => {
  test('a rotation right after the last login is followed at once (AS-06, R16)', async () => {
    await using provider = await startScriptedProvider()
    await using client = new OidcClient(provider.issuer)
    await scriptedLogin(client, provider)
    await scriptedLogin(client, provider)
    expect(provider.calls('jwks')).toBe(1)

    provider.rotateKey()
    await expect(scriptedLogin(client, provider)).resolves.toMatchObject({ claims: { sub: 'alice' } })

    expect(provider.calls('jwks')).toBe(2)
  })

  test('a thousand unknown kids cost one fetch a minute, and forged logout tokens take none from logins (AS-06, R16)', async () => {
    await using provider = await startScriptedProvider()
    const clock = handClock()
    await using client = new OidcClient(provider.issuer, { now: clock.now })
    await scriptedLogin(client, provider)
    const forged = await Promise.all(
      Array.from({ length: 1_000 }, (_, index) => provider.logoutToken({}, { kid: `forged-${index}` })),
    )

    const refused = await Promise.allSettled(forged.map((token) => client.verifyLogoutToken(token)))
    expect(refused.filter(({ status }) => status === 'rejected')).toHaveLength(1_000)
    await expect(client.verifyLogoutToken(forged[7]!)).rejects.toMatchObject({ code: 'invalid_request' })
    expect(provider.calls('jwks')).toBe(2)

    provider.rotateKey()
    await expect(scriptedLogin(client, provider)).resolves.toBeDefined()
    expect(provider.calls('jwks')).toBe(3)

    clock.advance(61_000)
    provider.clockOffsetSeconds = 61
    await expect(client.verifyLogoutToken(forged[0]!)).rejects.toMatchObject({ code: 'invalid_request' })
    expect(provider.calls('jwks')).toBe(4)
  })

  test('a key that was taken out of the set stops verifying after ten minutes (AS-06)', async () => {
    await using provider = await startScriptedProvider()
    const clock = handClock()
    const keys = keysOf(provider, clock.now)
    const old = await provider.sign({ a: 1 })
    await expect(keys.verify(old, 'RS256', 'provider')).resolves.toMatchObject({ claims: { a: 1 } })
    provider.rotateKey()
    await expect(keys.verify(old, 'RS256', 'provider')).resolves.toBeDefined()

    clock.advance(600_001)

    await expect(keys.verify(old, 'RS256', 'provider')).rejects.toThrow()
  })

  test('an outage of the key set leaves the last good keys in use; without any there is no login (R16)', async () => {
    await using provider = await startScriptedProvider()
    const clock = handClock()
    const keys = keysOf(provider, clock.now)
    provider.faults.jwks = { kind: 'status', status: 500 }
    const token = await provider.sign({ a: 1 })
    await expect(keys.verify(token, 'RS256', 'provider')).rejects.toMatchObject({ code: 'provider_unavailable' })
    delete provider.faults.jwks
    await expect(keys.verify(token, 'RS256', 'provider')).resolves.toBeDefined()

    provider.faults.jwks = { kind: 'html' }
    clock.advance(600_001)
    await expect(keys.verify(token, 'RS256', 'provider')).resolves.toBeDefined()
    await expect(keys.verify(token, 'RS256', 'provider')).resolves.toBeDefined()
    expect(provider.calls('jwks')).toBe(3)
  })

  function keysOf(provider: Awaited<ReturnType<typeof startScriptedProvider>>, now: () => number): IssuerKeys {
    const backChannel = new BackChannel({ timeoutMs: 2_000, publicOrigin: provider.origin })
    onTestFinished(() => backChannel.close())
    return new IssuerKeys(`${provider.origin}/jwks`, { backChannel, log: silentLog, now })
  }
})

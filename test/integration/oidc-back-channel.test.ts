/** Calls to the provider are bounded in time and size, go nowhere else, and prove who we are. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, onTestFinished, test } from 'vitest'
import { BackChannel } from '../../src/oidc/back-channel.ts'
import type { ProviderConfig } from '../../src/config/schema.ts'
import {
  OidcClient,
  REDIRECT_URI,
  RecordedLog,
  expectations,
  providerConfig,
  scriptedLogin,
} from '../support/oidc-client.ts'
import { startProvider } from '../support/provider.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'

const OLD = 'old-secret-of-at-least-32-characters'
const NEW = 'new-secret-of-at-least-32-characters'

describe('time', () => {
  test.each(['hang', 'stall'] as const)(
    'an answer that %ss is given up after provider.timeout (TK-06)',
    async (kind) => {
      await using provider = await startScriptedProvider()
      provider.faults.token = { kind }
      await using client = new OidcClient(provider.issuer, { config: { timeout: 100 } })

      await expect(scriptedLogin(client, provider)).rejects.toThrow(/gave no answer \(timed out\)/)
    },
  )
})

describe('size', () => {
  test.each(['endless', 'gzipBomb'] as const)(
    'an answer of kind %s is refused at 256 KiB of decoded body (TK-06, R67)',
    async (kind) => {
      await using provider = await startScriptedProvider()
      provider.faults.token = { kind }
      const channel = new BackChannel({ timeoutMs: 5_000, publicOrigin: provider.origin })
      onTestFinished(() => channel.close())
      const exchange = channel.exchange('token')
      await expect(
        exchange.fetch(`${provider.origin}/token`, { method: 'POST', headers: {}, body: 'a=b' }),
      ).rejects.toThrow(/too large|larger than/)

      expect(exchange).toMatchObject({ isSent: true, status: undefined, body: undefined })
    },
  )

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ])('an honest answer of content coding %s is read, though none was asked for', async (encoding, compress) => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding })
      response.end(compress('{"a":1}'))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    // A server that listens on a port has an AddressInfo.
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const channel = new BackChannel({ timeoutMs: 5_000, publicOrigin: origin })
    onTestFinished(() => channel.close())
    const exchange = channel.exchange('token')

    await exchange.fetch(`${origin}/`, { method: 'GET', headers: {} })

    expect(exchange.json).toEqual({ a: 1 })
  })
})

test('a redirect is an answer and is not followed (TK-06)', async () => {
  await using elsewhere = await startScriptedProvider()
  await using provider = await startScriptedProvider()
  provider.faults.token = { kind: 'redirect', location: `${elsewhere.origin}/token` }
  await using client = new OidcClient(provider.issuer)

  await expect(scriptedLogin(client, provider)).rejects.toThrow(/answered 302/)

  expect(elsewhere.requests).toEqual([])
})

test('every token, PAR and revocation request is authenticated, by one method (TK-01, TK-02)', async () => {
  await using provider = await startScriptedProvider()
  provider.metadata = (document) => ({ ...document, pushed_authorization_request_endpoint: `${provider.origin}/par` })
  await using client = new OidcClient(provider.issuer)
  const { tokens, claims } = await scriptedLogin(client, provider)
  await client.refresh({ tokens, claims, sub: 'alice' })
  await client.revoke(tokens.refreshToken!, 'refresh_token')

  const authenticated = provider.requests.filter(({ endpoint }) => ['par', 'token', 'revocation'].includes(endpoint))
  expect(authenticated.map(({ endpoint }) => endpoint)).toEqual(['par', 'token', 'token', 'revocation'])
  for (const { headers, form } of authenticated) {
    expect(headers.authorization).toMatch(/^Basic /)
    expect(form.has('client_secret') || form.has('client_assertion')).toBe(false)
  }
})

test('a change of the configuration lets a grant that is under way finish', async () => {
  await using provider = await startProvider({ redirectUris: [REDIRECT_URI] })
  await using client = new OidcClient(provider.issuer)
  const expected = expectations()
  const callback = await provider.login(await client.authorizationUrl({ ...expected, params: {} }))
  const release = provider.hold('/token')

  const login = client.exchangeCode(callback.searchParams, expected)
  await provider.arrived('/token')
  client.update(providerConfig(provider.issuer, { scopes: ['openid'] }))
  release()

  await expect(login).resolves.toMatchObject({ claims: { sub: 'alice' } })
})

describe('revocation (LO-02)', () => {
  test('names the token and its kind', async () => {
    await using provider = await startScriptedProvider()
    await using client = new OidcClient(provider.issuer)

    await client.revoke('rt-1', 'refresh_token')

    const request = provider.requests.find(({ endpoint }) => endpoint === 'revocation')
    expect(Object.fromEntries(request?.form ?? [])).toEqual({ token: 'rt-1', token_type_hint: 'refresh_token' })
  })

  test.each([
    { kind: 'status', status: 503 },
    { kind: 'reset' },
    { kind: 'oauthError', error: 'unsupported_token_type' },
  ] as const)('that fails by %o never throws and says so in the log', async (fault) => {
    await using provider = await startScriptedProvider()
    provider.faults.revocation = fault
    const log = new RecordedLog()
    await using client = new OidcClient(provider.issuer, { log })

    await expect(client.revoke('rt-1', 'refresh_token')).resolves.toBeUndefined()

    expect(log.lines.at(-1)).toMatchObject({ level: 'warn', message: 'a token could not be revoked' })
    expect(JSON.stringify(log.lines)).not.toContain('rt-1')
  })

  test('is left out where the provider has no endpoint for it, or is away', async () => {
    await using provider = await startScriptedProvider()
    provider.metadata = ({ revocation_endpoint: _none, ...document }) => document
    await using client = new OidcClient(provider.issuer)
    await client.revoke('rt-1', 'refresh_token')
    expect(provider.calls('revocation')).toBe(0)

    await using away = new OidcClient('http://127.0.0.1:1')
    await expect(away.revoke('rt-1', 'refresh_token')).resolves.toBeUndefined()
  })
})

describe('client secrets that rotate', () => {
  const two: Partial<ProviderConfig> = { clientSecrets: [OLD, NEW] }

  test('the next one is tried once, the one that works is remembered and named by its position', async () => {
    await using provider = await startScriptedProvider({ clientSecret: NEW })
    const log = new RecordedLog()
    await using client = new OidcClient(provider.issuer, { config: two, log })

    await scriptedLogin(client, provider)
    expect(provider.calls('token')).toBe(2)
    await scriptedLogin(client, provider)
    expect(provider.calls('token')).toBe(3)

    expect(log.lines.filter(({ fields }) => 'position' in fields)).toEqual([
      expect.objectContaining({ fields: { event: 'client_secret.changed', provider: 'default', position: 2 } }),
    ])
    expect(JSON.stringify(log.lines)).not.toMatch(/secret-of/)
  })

  test('when none works, each has been tried once and nothing is remembered', async () => {
    await using provider = await startScriptedProvider({ clientSecret: 'a-third-one' })
    await using client = new OidcClient(provider.issuer, { config: two })

    await expect(scriptedLogin(client, provider)).rejects.toMatchObject({ code: 'provider_unavailable' })

    expect(provider.calls('token')).toBe(2)
  })

  test('a changed secret is taken while running, for a refresh too, with nothing else read again', async () => {
    await using provider = await startScriptedProvider({ clientSecret: OLD })
    await using client = new OidcClient(provider.issuer, { config: { clientSecret: OLD } })
    const { tokens, claims } = await scriptedLogin(client, provider)
    provider.clientSecrets = [NEW]
    await expect(client.refresh({ tokens, claims, sub: 'alice' })).resolves.toMatchObject({ kind: 'misconfigured' })

    client.update(providerConfig(provider.issuer, { clientSecret: NEW }))

    await expect(client.refresh({ tokens, claims, sub: 'alice' })).resolves.toMatchObject({ kind: 'refreshed' })
    expect(provider.calls('metadata')).toBe(1)
  })

  test('another change makes a new connection that knows the provider already; a bad one changes nothing', async () => {
    await using provider = await startScriptedProvider()
    const log = new RecordedLog()
    await using client = new OidcClient(provider.issuer, { log })
    await scriptedLogin(client, provider)

    client.update(providerConfig(provider.issuer, { scopes: ['openid'] }))
    expect(client.ready).toBe(true)
    const url = await client.authorizationUrl({ ...expectations(), params: {} })
    expect(url.searchParams.get('scope')).toBe('openid')

    client.update(providerConfig(provider.issuer, { clientAuthentication: 'private_key_jwt', privateKey: 'nonsense' }))
    expect(log.lines.at(-1)).toMatchObject({ level: 'error' })
    await expect(scriptedLogin(client, provider)).resolves.toMatchObject({ claims: { sub: 'alice' } })
  })
})

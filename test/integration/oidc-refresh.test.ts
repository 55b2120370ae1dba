/** What the outcome of a refresh grant means, at a server that misbehaves in every way. */
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ProviderConfig } from '../../src/config/schema.ts'
import type { RefreshableSession, RefreshOutcome } from '../../src/oidc/provider.ts'
import { OidcClient, RecordedLog, scriptedLogin } from '../support/oidc-client.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import type { Fault, ScriptedProvider } from '../support/scripted-provider.ts'

interface SignedIn {
  readonly provider: ScriptedProvider
  readonly client: OidcClient
  readonly session: RefreshableSession
  readonly log: RecordedLog
}

async function signedIn(config: Partial<ProviderConfig> = {}, claims: Record<string, unknown> = {}): Promise<SignedIn> {
  const provider = await startScriptedProvider()
  const log = new RecordedLog()
  const client = new OidcClient(provider.issuer, { config, log })
  onTestFinished(async () => {
    client.close()
    await provider.close()
  })
  const result = await scriptedLogin(client, provider, { claims })
  return { provider, client, log, session: { ...result, sub: 'alice' } }
}

function refreshed(outcome: RefreshOutcome): Extract<RefreshOutcome, { kind: 'refreshed' }> {
  if (outcome.kind !== 'refreshed') throw new Error(JSON.stringify(outcome))
  return outcome
}

test('a refresh is authenticated, sends the refresh token and brings new tokens (RF-01, TK-01)', async () => {
  const { provider, client, session } = await signedIn()

  const { tokens, claims } = refreshed(await client.refresh(session))

  const { form, headers } = provider.requests.filter(({ endpoint }) => endpoint === 'token')[1]!
  expect(Object.fromEntries(form)).toEqual({ grant_type: 'refresh_token', refresh_token: session.tokens.refreshToken })
  expect(headers.authorization).toMatch(/^Basic /)
  expect(tokens.accessToken).not.toBe(session.tokens.accessToken)
  expect(tokens.refreshToken).not.toBe(session.tokens.refreshToken)
  expect(tokens.idToken).not.toBe(session.tokens.idToken)
  expect(claims).toMatchObject({ sub: 'alice' })
})

test('without a new refresh token and ID token the old ones stay (RF-02, R12)', async () => {
  const { provider, client, session } = await signedIn()
  provider.rotatesRefreshTokens = false
  provider.refreshesIdTokens = false

  const outcome = refreshed(await client.refresh(session))

  expect(outcome.tokens).toMatchObject({ refreshToken: session.tokens.refreshToken, idToken: session.tokens.idToken })
  expect(outcome).not.toHaveProperty('claims')
})

test('the ID token of the login, sent again, is nothing new and no reason to sign anybody out', async () => {
  const { provider, client, session } = await signedIn()
  provider.idToken = () => session.tokens.idToken ?? ''

  const outcome = refreshed(await client.refresh(session))

  expect(outcome.tokens.idToken).toBe(session.tokens.idToken)
  expect(outcome).not.toHaveProperty('claims')
})

test('a scope that is left out is the one of before (RF-07)', async () => {
  const { provider, client, session } = await signedIn()
  provider.tokenResponse = ({ scope: _none, ...body }) => body
  const narrowed = { ...session, tokens: { ...session.tokens, scope: 'openid' } }
  expect(refreshed(await client.refresh(narrowed)).tokens.scope).toBe('openid')
})

test('what was said about the authentication at login stays, though the new ID token leaves it out (RF-05)', async () => {
  const authTime = Math.floor(Date.now() / 1_000) - 100
  const { provider, client, session } = await signedIn({}, { auth_time: authTime, acr: 'urn:strong' })
  provider.idToken = ({ auth_time: _time, acr: _acr, ...claims }, header) => ({ claims, header })

  const { claims } = refreshed(await client.refresh(session))

  expect(claims).toMatchObject({ auth_time: authTime, acr: 'urn:strong', nonce: session.claims['nonce'] })
})

test('a session without a refresh token is refused without asking (RF-04)', async () => {
  const { provider, client, session } = await signedIn()
  const { refreshToken: _none, ...tokens } = session.tokens

  await expect(client.refresh({ ...session, tokens })).resolves.toMatchObject({ kind: 'refused' })

  expect(provider.calls('token')).toBe(1)
})

test('a refresh token that was used twice is rejected (RF-04, R7)', async () => {
  const { client, session } = await signedIn()
  await client.refresh(session)
  await expect(client.refresh(session)).resolves.toEqual({ kind: 'rejected', reason: 'invalid_grant' })
})

describe('another identity ends the session (RF-05)', () => {
  test.each<[string, Record<string, unknown>]>([
    ['sub', { sub: 'mallory' }],
    ['no sub', { sub: undefined }],
    ['iss', { iss: 'https://evil.example' }],
    ['aud', { aud: 'other' }],
    ['a further aud', { aud: ['shop', 'more'], azp: 'shop' }],
    ['azp', { azp: 'other' }],
    ['auth_time', { auth_time: 1_700_000_000 }],
    ['nonce', { nonce: 'another' }],
    ['an exp that is past', { exp: 1_700_000_000 }],
  ])('%s', async (_name, change) => {
    const { provider, client, session } = await signedIn({}, { auth_time: Math.floor(Date.now() / 1_000) })
    provider.idToken = (claims, header) => ({ claims: { ...claims, ...change }, header })

    await expect(client.refresh(session)).resolves.toEqual({ kind: 'rejected', reason: 'identity_changed' })
  })

  test.each<[string, (provider: ScriptedProvider) => void]>([
    [
      'an unsigned ID token (R12)',
      (provider) => {
        provider.idToken = (claims) => ({ claims, header: { alg: 'none' } })
      },
    ],
    [
      'a foreign signature (R12)',
      (provider) => {
        const { publicJwk } = provider.signingKey
        provider.publishedKeys = [publicJwk]
        provider.keyIndex = 1
        provider.idToken = (claims) => ({ claims, header: { kid: publicJwk.kid } })
      },
    ],
  ])('%s', async (_name, script) => {
    const { provider, client, session } = await signedIn()
    script(provider)
    await expect(client.refresh(session)).resolves.toEqual({ kind: 'rejected', reason: 'identity_changed' })
  })

  test('another sub at userinfo', async () => {
    const { provider, client, session } = await signedIn({ userinfo: true })
    provider.userinfo = () => ({ sub: 'mallory' })
    await expect(client.refresh(session)).resolves.toEqual({ kind: 'rejected', reason: 'identity_changed' })
  })
})

test('userinfo is read again, and its outage keeps the last claims', async () => {
  const { provider, client, session } = await signedIn({ userinfo: true })
  provider.userinfo = (sub) => ({ sub, department: 'new' })
  const first = refreshed(await client.refresh(session))
  expect(first.userinfo).toEqual({ sub: 'alice', department: 'new' })

  provider.faults.userinfo = { kind: 'status', status: 503 }
  expect(refreshed(await client.refresh({ ...session, tokens: first.tokens }))).not.toHaveProperty('userinfo')
})

test('an outage of the key set costs nobody the session: new tokens, the old claims (R16)', async () => {
  const { provider, client, session } = await signedIn()
  provider.rotateKey()
  provider.faults.jwks = { kind: 'status', status: 503 }

  const outcome = refreshed(await client.refresh(session))

  expect(outcome).not.toHaveProperty('claims')
  expect(outcome.tokens.idToken).toBe(session.tokens.idToken)
  expect(outcome.tokens.accessToken).not.toBe(session.tokens.accessToken)
  provider.idToken = (claims, header) => ({ claims: { ...claims, sub: 'mallory' }, header })
  await expect(client.refresh({ ...session, tokens: outcome.tokens })).resolves.toMatchObject({ kind: 'rejected' })
})

describe('an answer means (RF-04, R3)', () => {
  test.each<[string, Fault, RefreshOutcome['kind']]>([
    ['400 invalid_grant', { kind: 'oauthError', error: 'invalid_grant' }, 'rejected'],
    ['401 invalid_grant', { kind: 'oauthError', error: 'invalid_grant', status: 401 }, 'rejected'],
    ['400 invalid_request', { kind: 'oauthError', error: 'invalid_request' }, 'refused'],
    ['400 with an empty body', { kind: 'status', status: 400 }, 'refused'],
    ['400 invalid_client', { kind: 'oauthError', error: 'invalid_client' }, 'misconfigured'],
    ['401 invalid_client', { kind: 'oauthError', error: 'invalid_client', status: 401 }, 'misconfigured'],
    [
      '401 invalid_client with a challenge',
      { kind: 'oauthError', error: 'invalid_client', status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } },
      'misconfigured',
    ],
    ['400 unauthorized_client', { kind: 'oauthError', error: 'unauthorized_client' }, 'misconfigured'],
    ['400 temporarily_unavailable', { kind: 'oauthError', error: 'temporarily_unavailable' }, 'unavailable'],
    [
      '400 with a page',
      { kind: 'status', status: 400, body: '<h1>blocked</h1>', headers: { 'content-type': 'text/html' } },
      'unavailable',
    ],
    ['401 with nothing', { kind: 'status', status: 401 }, 'unavailable'],
    ['403', { kind: 'status', status: 403 }, 'unavailable'],
    ['404', { kind: 'status', status: 404 }, 'unavailable'],
    ['429', { kind: 'status', status: 429 }, 'unavailable'],
    ['302', { kind: 'redirect', location: '/elsewhere' }, 'unavailable'],
    ['500', { kind: 'status', status: 500 }, 'unavailable'],
    ['500 invalid_grant', { kind: 'oauthError', error: 'invalid_grant', status: 500 }, 'unavailable'],
    ['502', { kind: 'status', status: 502 }, 'unavailable'],
    ['503', { kind: 'status', status: 503 }, 'unavailable'],
    ['a page with 200', { kind: 'html' }, 'lost'],
    ['nothing with 200', { kind: 'empty' }, 'lost'],
    ['a list', { kind: 'array' }, 'lost'],
    ['half an answer', { kind: 'truncated' }, 'lost'],
    ['a reset after the request', { kind: 'reset' }, 'lost'],
    ['a reset after the grant', { kind: 'lost' }, 'lost'],
    ['an endless answer', { kind: 'endless' }, 'lost'],
    ['a gzip bomb', { kind: 'gzipBomb' }, 'lost'],
  ])('%s → %#', async (_name, fault, kind) => {
    const { provider, client, session } = await signedIn()
    provider.faults.token = fault

    const outcome = await client.refresh(session)

    expect(outcome.kind).toBe(kind)
    expect(provider.calls('token')).toBe(2)
    delete provider.faults.token
    // The next good answer heals, unless the server has spent the refresh token without our seeing it.
    if (fault.kind !== 'lost') expect(refreshed(await client.refresh(session)).tokens.accessToken).toBeDefined()
  })

  test('a token that cannot be used is no token: the outcome is lost', async () => {
    const { provider, client, session } = await signedIn()
    provider.tokenResponse = (body) => ({ ...body, access_token: 'at\r\nx: y' })
    await expect(client.refresh(session)).resolves.toMatchObject({ kind: 'lost' })
  })

  test('a refused connection, an unknown name and a server without TLS have certainly not processed it (R3)', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).end('no tls here'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    // A server that listens on a port has an AddressInfo.
    const { port } = server.address() as AddressInfo
    for (const origin of [`https://127.0.0.1:${port}`, 'https://127.0.0.1:1', 'https://no-such-host.invalid']) {
      const client = new OidcClient(origin, {
        config: {
          metadata: {
            issuer: origin,
            authorization_endpoint: `${origin}/a`,
            token_endpoint: `${origin}/t`,
            jwks_uri: `${origin}/j`,
          },
        },
      })
      onTestFinished(() => client.close())
      const tokens = { accessToken: 'at', tokenType: 'bearer', accessTokenExpiresAt: 0, refreshToken: 'rt' } as const
      await expect(client.refresh({ tokens, claims: {}, sub: 'alice' })).resolves.toMatchObject({ kind: 'unavailable' })
    }
  })

  test('the wish of Retry-After is handed on in seconds, within an hour', async () => {
    const { provider, client, session } = await signedIn()
    const outcomes: unknown[] = []
    for (const value of ['7', '0', '999999', new Date(Date.now() + 60_000).toUTCString(), 'soon']) {
      provider.faults.token = { kind: 'status', status: 429, headers: { 'retry-after': value } }
      const outcome = await client.refresh(session)
      outcomes.push(outcome.kind === 'unavailable' ? outcome.retryAfterSeconds : outcome)
    }
    expect(outcomes).toEqual([7, 1, 3_600, expect.toSatisfy((seconds) => seconds >= 58 && seconds <= 61), undefined])
  })

  test('a caller who gives up in time leaves an unknown outcome', async () => {
    const { provider, client, session } = await signedIn()
    provider.faults.token = { kind: 'hang' }
    const giveUp = new AbortController()

    const outcome = client.refresh(session, giveUp.signal)
    await provider.called('token', 2)
    giveUp.abort()

    await expect(outcome).resolves.toMatchObject({ kind: 'lost' })
  })
})

test('an operator’s mistake is an alarm in the log (R3)', async () => {
  const { provider, client, session, log } = await signedIn()
  provider.clientSecrets = ['changed']

  await client.refresh(session)

  expect(log.lines.filter(({ level }) => level === 'error')).toEqual([
    expect.objectContaining({ message: 'the provider refuses this client' }),
  ])
})

test('of a hundred refreshes at once fifty are at the provider and the others wait their turn (R18)', async () => {
  const { provider, client, session } = await signedIn()
  provider.rotatesRefreshTokens = false
  provider.faults.token = { kind: 'hang' }
  const cancel = new AbortController()

  const first = Array.from({ length: 100 }, () => client.refresh(session, cancel.signal))
  await provider.called('token', 51)
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
  expect(provider.calls('token')).toBe(51)

  cancel.abort()
  const kinds = (await Promise.all(first)).map(({ kind }) => kind)
  // Those that had not left are certain not to have been processed.
  expect(kinds.filter((kind) => kind === 'lost')).toHaveLength(50)
  expect(kinds.filter((kind) => kind === 'unavailable')).toHaveLength(50)
  delete provider.faults.token
  const second = await Promise.all(Array.from({ length: 100 }, () => client.refresh(session)))
  expect(second.every(({ kind }) => kind === 'refreshed')).toBe(true)
})

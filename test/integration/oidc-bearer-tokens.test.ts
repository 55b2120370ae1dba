/** Tokens that native apps send, from the wire to a verdict: keys, introspection, what is remembered. */
import { generateKeyPairSync } from 'node:crypto'
import { SignJWT } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import { BearerTokens } from '../../src/oidc/bearer-tokens.ts'
import { silentLog } from '../../src/telemetry/log.ts'
import { OidcClient } from '../support/oidc-client.ts'
import type { OidcClientOptions } from '../support/oidc-client.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import type { ScriptedProvider } from '../support/scripted-provider.ts'

const AUDIENCE = 'https://orders.example.com'

interface World {
  readonly provider: ScriptedProvider
  readonly tokens: BearerTokens
  /** Epoch ms of the gateway. */
  clock: number
  verify(token: string): ReturnType<BearerTokens['verify']>
  /** A good access token of the provider. */
  issue(claims?: object, header?: object): Promise<string>
}

/** `client`: the gateway is one of the issuer's clients; `foreign`: it only knows the issuer's name. */
async function world(kind: 'client' | 'foreign', config: OidcClientOptions['config'] = {}): Promise<World> {
  const provider = await startScriptedProvider()
  const state = { clock: Date.now() }
  const now = () => state.clock
  const client = new OidcClient(provider.issuer, { config, now })
  const rule = { issuer: provider.issuer, audience: AUDIENCE }
  const providers = kind === 'client' ? [client] : []
  const tokens = new BearerTokens({ rules: [rule], providers, log: silentLog, now })
  onTestFinished(async () => {
    tokens.close()
    client.close()
    await provider.close()
  })
  return Object.assign(state, {
    provider,
    tokens,
    verify: (token: string) => tokens.verify(token, rule),
    issue: async (claims: object = {}, header: object = {}) => {
      const iat = Math.floor(state.clock / 1_000)
      const whole = { iss: provider.issuer, aud: AUDIENCE, sub: 'alice', iat, exp: iat + 300, ...claims }
      return await provider.sign(whole, { typ: 'at+jwt', ...header })
    },
  })
}

test.each(['client', 'foreign'] as const)(
  'a JWT is verified with the issuer’s keys, found by discovery (%s)',
  async (kind) => {
    const one = await world(kind)
    const token = await one.issue({ groups: ['sales'] })

    await expect(one.verify(token)).resolves.toMatchObject({ token, claims: { sub: 'alice', groups: ['sales'] } })
    await one.verify(token)

    expect([one.provider.calls('metadata'), one.provider.calls('jwks'), one.provider.calls('introspection')]).toEqual([
      1, 1, 0,
    ])
  },
)

test.each(['RS256', 'RS384', 'PS256', 'PS512', 'ES256', 'ES384', 'EdDSA'])(
  'a token signed with %s is good',
  async (alg) => {
    const one = await world('foreign')
    await one.provider.useAlgorithm(alg)

    await expect(one.verify(await one.issue())).resolves.toMatchObject({ claims: { sub: 'alice' } })
  },
)

test.each(['none', 'HS256', 'a foreign key', 'another payload'])(
  'a token with a signature of %s is refused',
  async (kind) => {
    const one = await world('foreign')
    const good = await one.issue()
    const jwk = one.provider.signingKey.publicJwk
    let token = good.replace(/\.[^.]+\./, `.${Buffer.from('{"sub":"root"}').toString('base64url')}.`)
    if (kind === 'none') token = await one.issue({}, { alg: 'none' })
    if (kind === 'HS256') {
      // The public key as the secret of a symmetric algorithm.
      const secret = new TextEncoder().encode(JSON.stringify(jwk))
      token = await new SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'HS256', kid: jwk.kid! }).sign(secret)
    }
    if (kind === 'a foreign key') {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
      token = await new SignJWT({ iss: one.provider.issuer, aud: AUDIENCE, sub: 'alice', exp: 9_999_999_999 })
        .setProtectedHeader({ alg: 'RS256', kid: jwk.kid!, typ: 'at+jwt' })
        .sign(privateKey)
    }

    await expect(one.verify(token)).rejects.toMatchObject({ code: 'login_required' })
    await expect(one.verify(good)).resolves.toMatchObject({ token: good })
  },
)

test('a new key of the issuer is found without a restart', async () => {
  const one = await world('foreign')
  await one.verify(await one.issue())
  one.provider.rotateKey()

  await expect(one.verify(await one.issue())).resolves.toMatchObject({ claims: { sub: 'alice' } })
  expect(one.provider.calls('jwks')).toBe(2)
})

test.each(['metadata', 'jwks'] as const)('without the %s nobody can tell, and that is no refusal', async (endpoint) => {
  const one = await world('client')
  one.provider.faults[endpoint] = { kind: 'status', status: 503 }

  await expect(one.verify(await one.issue())).rejects.toMatchObject({ code: 'provider_unavailable' })
  delete one.provider.faults[endpoint]
  one.clock += 1_001
  await expect(one.verify(await one.issue())).resolves.toMatchObject({ claims: { sub: 'alice' } })
})

test('a JWT that has been found good is good no longer than it lasts', async () => {
  const one = await world('client', { clockTolerance: 0 })
  const token = await one.issue({ exp: Math.floor(one.clock / 1_000) + 10 })

  await one.verify(token)
  one.clock += 10_000
  await expect(one.verify(token)).rejects.toMatchObject({ code: 'login_required', message: /exp/ })
})

test('an opaque token is introspected as our client, once for half a minute, and not beyond its end (RF-09)', async () => {
  const one = await world('client', { clockTolerance: 0 })
  const exp = Math.floor(one.clock / 1_000) + 40
  one.provider.introspection = (_answer, token) => ({ active: token === 'opaque-1', aud: AUDIENCE, sub: 'alice', exp })

  const [first, second] = await Promise.all([one.verify('opaque-1'), one.verify('opaque-1')])
  await one.verify('opaque-1')
  expect([first?.claims['sub'], second?.token, one.provider.calls('introspection')]).toEqual(['alice', 'opaque-1', 1])
  const { form, headers } = one.provider.requests.at(-1)!
  expect([form.get('token'), form.get('token_type_hint'), headers.authorization?.split(' ')[0]]).toEqual([
    'opaque-1',
    'access_token',
    'Basic',
  ])

  one.clock += 30_001
  await one.verify('opaque-1')
  expect(one.provider.calls('introspection')).toBe(2)
  one.clock += 9_999
  await expect(one.verify('opaque-1')).rejects.toMatchObject({ code: 'login_required' })
  expect(one.provider.calls('introspection')).toBe(3)
})

test('a token that is not active stays refused without asking again at once (RF-09)', async () => {
  const one = await world('client')

  await expect(one.verify('unknown')).rejects.toMatchObject({ code: 'login_required', message: /not active/ })
  await expect(one.verify('unknown')).rejects.toMatchObject({ code: 'login_required' })
  expect(one.provider.calls('introspection')).toBe(1)
})

test.each([
  ['an outage', { kind: 'status', status: 500 }],
  ['an answer that is none', { kind: 'array' }],
  ['a page', { kind: 'html' }],
  ['our client being refused', { kind: 'oauthError', error: 'invalid_client', status: 401 }],
] as const)('%s of the introspection endpoint is no verdict, and is not remembered (RF-09)', async (_name, fault) => {
  const one = await world('client')
  one.provider.introspection = () => ({ active: true, aud: AUDIENCE })
  one.provider.faults.introspection = fault

  await expect(one.verify('opaque')).rejects.toMatchObject({ code: 'provider_unavailable' })
  delete one.provider.faults.introspection
  await expect(one.verify('opaque')).resolves.toMatchObject({ claims: { active: true } })
})

test('no opaque token is sent to an issuer at which the gateway is no client (RF-09)', async () => {
  const one = await world('foreign')

  await expect(one.verify('opaque')).rejects.toMatchObject({ code: 'login_required' })
  expect(one.provider.calls('introspection')).toBe(0)
})

test('a flood of opaque tokens takes no connection from the logins (R18, RF-09)', async () => {
  const one = await world('client')
  await one.verify(await one.issue())
  one.provider.faults.introspection = { kind: 'hang' }

  const flood = Array.from({ length: 60 }, (_, index) =>
    one.verify(`garbage-${index}`).catch((error: unknown) => error),
  )
  await one.provider.called('introspection', 40)
  const refused = await Promise.race(flood.slice(40))
  expect(refused).toMatchObject({ code: 'overloaded' })
  await one.verify(await one.issue({ jti: 'another' }))
  one.provider.release()
  await Promise.all(flood)
  expect(one.provider.calls('introspection')).toBe(40)
})

test('a token longer than any header is refused unread', async () => {
  const one = await world('client')

  await expect(one.verify('a'.repeat(16_385))).rejects.toMatchObject({ code: 'login_required' })
  expect(one.provider.requests).toEqual([])
})

import { generateKeyPairSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, importJWK, jwtVerify } from 'jose'
import type { AuthorizationServer, Client } from 'oauth4webapi'
import { describe, expect, test } from 'vitest'
import { authenticationMethods, readClientKeys } from '../../src/oidc/client-authentication.ts'
import type { ProviderConfig } from '../../src/config/schema.ts'
import { providerConfig } from '../support/oidc-client.ts'

const ISSUER = 'https://id.example.com'
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

async function authenticated(
  config: ProviderConfig,
  position = 0,
): Promise<{ body: URLSearchParams; headers: Headers }> {
  const body = new URLSearchParams()
  const headers = new Headers()
  const server: AuthorizationServer = { issuer: ISSUER }
  const self: Client = { client_id: config.clientId }
  const method = authenticationMethods(config, readClientKeys(config))[position]
  // Declared as void; those that sign return a promise.
  await (method?.(server, self, body, headers) as unknown as Promise<void>)
  return { body, headers }
}

function credentials(headers: Headers): string {
  return Buffer.from(headers.get('authorization')!.split(' ')[1]!, 'base64').toString()
}

describe('client_secret_basic', () => {
  test.each([
    ['plain', 'shop', 'secret', 'shop:secret'],
    ['colons', 'a:b', 'c:d', 'a%3Ab:c%3Ad'],
    ['percent and plus', 'shop', '100%+1', 'shop:100%25%2B1'],
    ['a space', 'my shop', 'my secret', 'my+shop:my+secret'],
    ['beyond ASCII', 'shöp', 'pässwörd€', 'sh%C3%B6p:p%C3%A4ssw%C3%B6rd%E2%82%AC'],
    ['marks that encodeURIComponent leaves', 'shop', "-_.!~*'()", 'shop:%2D%5F%2E%21%7E%2A%27%28%29'],
  ])('encodes %s as RFC 6749 §2.3.1 says (TK-03)', async (_name, clientId, clientSecret, expected) => {
    const { headers, body } = await authenticated(providerConfig(ISSUER, { clientId, clientSecret }))

    expect(credentials(headers)).toBe(expected)
    expect([...body]).toEqual([])
  })

  test('leaves everything as it is with basicEncoding raw', async () => {
    const config = providerConfig(ISSUER, { clientId: 'a b', clientSecret: 'ü:+%', basicEncoding: 'raw' })
    expect(credentials((await authenticated(config)).headers)).toBe('a b:ü:+%')
  })
})

test('each method sends its own credentials and no others (TK-02)', async () => {
  const post = await authenticated(providerConfig(ISSUER, { clientAuthentication: 'client_secret_post' }))
  expect([...post.body.keys()]).toEqual(['client_id', 'client_secret'])
  expect(post.headers.has('authorization')).toBe(false)

  const jwt = await authenticated(providerConfig(ISSUER, { clientAuthentication: 'client_secret_jwt' }))
  expect([...jwt.body.keys()]).toEqual(['client_id', 'client_assertion_type', 'client_assertion'])
  expect(decodeProtectedHeader(jwt.body.get('client_assertion')!).alg).toBe('HS256')

  const tls = await authenticated(providerConfig(ISSUER, { clientAuthentication: 'tls_client_auth' }))
  expect([...tls.body]).toEqual([['client_id', 'shop']])
})

describe('private_key_jwt', () => {
  const config = providerConfig(ISSUER, { clientAuthentication: 'private_key_jwt', privateKey: pem(ec) })

  test('asserts this client to this issuer, once, for a minute (TK-04)', async () => {
    const [first, second] = await Promise.all([authenticated(config), authenticated(config)])
    const assertion = first.body.get('client_assertion')!
    const [key] = readClientKeys(config)

    const { payload, protectedHeader } = await jwtVerify(assertion, await importJWK(key!.publicJwk, 'ES256'))
    expect(payload).toMatchObject({ iss: 'shop', sub: 'shop', aud: ISSUER })
    expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(60)
    expect(protectedHeader).toEqual({ alg: 'ES256', kid: key!.kid })
    expect(decodeJwt(second.body.get('client_assertion')!).jti).not.toBe(payload.jti)
    expect(first.headers.has('authorization')).toBe(false)
  })

  test.each([
    ['RSA', pem(generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey), 'RS256'],
    ['P-384', pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey), 'ES384'],
    ['Ed25519', pem(generateKeyPairSync('ed25519').privateKey), 'EdDSA'],
    [
      'a JWK that names its algorithm',
      JSON.stringify({
        ...generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export({ format: 'jwk' }),
        alg: 'PS512',
        kid: 'k-1',
      }),
      'PS512',
    ],
  ])('takes %s keys', async (_name, privateKey, alg) => {
    const { body } = await authenticated({ ...config, privateKey })

    expect(decodeProtectedHeader(body.get('client_assertion')!).alg).toBe(alg)
  })
})

test('fapi2 signs with PS256 where the key does not say (F2-04)', () => {
  const privateKey = pem(generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey)
  expect(readClientKeys(providerConfig(ISSUER, { privateKey, profile: 'fapi2' }))[0]?.alg).toBe('PS256')
})

describe('the published keys (AS-08)', () => {
  test('hold no private member, and a kid each', async () => {
    const next = generateKeyPairSync('ed25519').privateKey
    const keys = readClientKeys(providerConfig(ISSUER, { privateKey: `${pem(ec)}\n${pem(next)}` }))

    expect(keys.map(({ publicJwk }) => Object.keys(publicJwk).toSorted())).toEqual([
      ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'],
      ['alg', 'crv', 'kid', 'kty', 'use', 'x'],
    ])
    expect(keys[0]?.kid).toBe(await calculateJwkThumbprint(keys[0]!.publicJwk))
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(2)
  })

  test('are those of a JWK Set in its order', () => {
    const set = {
      keys: ['a', 'b'].map((kid) => ({ ...generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }), kid })),
    }
    expect(readClientKeys(providerConfig(ISSUER, { privateKey: JSON.stringify(set) })).map(({ kid }) => kid)).toEqual([
      'a',
      'b',
    ])
  })
})

test.each([
  ['no key at all', 'hello'],
  ['broken JSON', '{"kty":"EC","d":"very-secret'],
  ['a public JWK', JSON.stringify({ kty: 'EC', crv: 'P-256', x: 'very-secret', y: 'very-secret' })],
  ['a broken PEM block', '-----BEGIN PRIVATE KEY-----\nvery/secret\n-----END PRIVATE KEY-----'],
  ['a short RSA key', pem(generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey)],
  ['a curve for encryption', pem(generateKeyPairSync('x25519').privateKey)],
])('a private key of %s is refused without quoting it', (_name, privateKey) => {
  const read = (): unknown => readClientKeys(providerConfig(ISSUER, { privateKey }))

  expect(read).toThrow(/^privateKey /)
  expect(read).not.toThrow(/secret/)
})

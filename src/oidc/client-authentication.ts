/** How this client proves who it is at the provider: exactly one method, the configured one (RFC 6749 §2.3). */
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { CryptoKey, JWK } from 'jose'
import * as client from 'openid-client'
import type { ProviderConfig } from '../config/schema.ts'

/** A private key of this client, with what others may know of it. */
export interface ClientKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
}

/**
 * The methods that may be tried, in the configured order: one for each secret, or one in all.
 * The library's own default is `client_secret_post`, which RFC 6749 §2.3.1 does not recommend; it is never used.
 */
export function authenticationMethods(config: ProviderConfig, keys: readonly ClientKey[]): client.ClientAuth[] {
  const secrets = config.clientSecrets ?? (config.clientSecret === undefined ? [] : [config.clientSecret])
  switch (config.clientAuthentication) {
    case 'client_secret_basic':
      return secrets.map((secret) =>
        config.basicEncoding === 'raw' ? rawBasic(secret) : client.ClientSecretBasic(secret),
      )
    case 'client_secret_post':
      return secrets.map((secret) => client.ClientSecretPost(secret))
    case 'client_secret_jwt':
      return secrets.map((secret) => client.ClientSecretJwt(secret))
    case 'private_key_jwt':
      return keys.slice(0, 1).map((key) => client.PrivateKeyJwt({ key: key.privateKey, kid: key.kid }, signedAs(key)))
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return [client.TlsClientAuth()]
  }
}

/** Makes the library name the algorithm as the key does: servers know Ed25519 keys by `EdDSA` (RFC 8037) or `Ed25519`. */
export function signedAs(key: ClientKey): client.ModifyAssertionOptions {
  return {
    [client.modifyAssertion]: (header) => {
      header['alg'] = key.alg
    },
  }
}

/** RFC 6749 §2.3.1 without its form-urlencoding, for servers that do not decode. */
function rawBasic(secret: string): client.ClientAuth {
  return (_server, { client_id }, _body, headers) => {
    headers.set('authorization', `Basic ${Buffer.from(`${client_id}:${secret}`).toString('base64')}`)
  }
}

/**
 * The client's private keys: PEM blocks, a JWK or a JWK Set. The first signs; the others are only published, so that
 * a server knows the next key before it is used.
 *
 * @throws Error naming what is wrong with the key, never any of it
 */
export function readClientKeys(config: ProviderConfig): ClientKey[] {
  const text = config.privateKey?.trim()
  if (!text) return []
  const keys = text.startsWith('{') ? jwksIn(text) : pemsIn(text)
  if (keys.length === 0) throw new Error('privateKey holds neither a PEM private key nor a JWK')
  return keys.map(({ key, jwk }) => clientKey(key, jwk, config.profile === 'fapi2'))
}

function jwksIn(text: string): { key: KeyObject; jwk: JWK }[] {
  try {
    // A key file of the operator's; createPrivateKey judges what is in it.
    const value = JSON.parse(text) as JWK & { keys?: JWK[] }
    return (value.keys ?? [value]).map((jwk) => ({
      key: createPrivateKey({ key: jwk, format: 'jwk' }),
      jwk,
    }))
  } catch {
    // Not as a cause: a parser's message may quote what it read.
    throw new Error('privateKey is no private JWK')
  }
}

function pemsIn(text: string): { key: KeyObject; jwk?: JWK }[] {
  const blocks = text.match(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----/g) ?? []
  try {
    return blocks.map((pem) => ({ key: createPrivateKey(pem) }))
  } catch {
    throw new Error('privateKey is no PEM private key that can be read')
  }
}

const CURVES: Readonly<Record<string, { alg: string; namedCurve: string }>> = {
  prime256v1: { alg: 'ES256', namedCurve: 'P-256' },
  secp384r1: { alg: 'ES384', namedCurve: 'P-384' },
  secp521r1: { alg: 'ES512', namedCurve: 'P-521' },
}

function clientKey(key: KeyObject, jwk: JWK | undefined, isFapi: boolean): ClientKey {
  const { alg, algorithm } = algorithmOf(key, jwk?.alg, isFapi)
  // Exported from the public key: nothing private can be in it.
  const exported = createPublicKey(key).export({ format: 'jwk' }) as JWK
  const kid = jwk?.kid ?? thumbprint(exported)
  return {
    kid,
    alg,
    privateKey: key.toCryptoKey(algorithm, false, ['sign']),
    publicJwk: { ...exported, kid, alg, use: 'sig' },
  }
}

type Algorithm = Parameters<KeyObject['toCryptoKey']>[0]

function algorithmOf(
  key: KeyObject,
  wanted: string | undefined,
  isFapi: boolean,
): { alg: string; algorithm: Algorithm } {
  if (key.asymmetricKeyType === 'ed25519') return { alg: wanted ?? 'EdDSA', algorithm: { name: 'Ed25519' } }
  if (key.asymmetricKeyType === 'ec') {
    const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? '']
    if (curve) return { alg: curve.alg, algorithm: { name: 'ECDSA', namedCurve: curve.namedCurve } }
  }
  if (key.asymmetricKeyType === 'rsa') {
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < 2_048)
      throw new Error('privateKey is an RSA key of less than 2048 bits')
    // FAPI 2.0 §5.4.1 has no PKCS #1 v1.5 signatures.
    const alg = wanted ?? (isFapi ? 'PS256' : 'RS256')
    const bits = /^[RP]S(256|384|512)$/.exec(alg)?.[1]
    const name = alg.startsWith('PS') ? 'RSA-PSS' : 'RSASSA-PKCS1-v1_5'
    if (bits) return { alg, algorithm: { name, hash: `SHA-${bits}` } }
  }
  throw new Error('privateKey is of a kind that signs no JWT here; use RSA, P-256, P-384, P-521 or Ed25519')
}

/** RFC 7638 §3: the members that make the key, in alphabetical order. */
function thumbprint(jwk: JWK): string {
  const members: Record<string, unknown> = {}
  for (const name of ['crv', 'e', 'kty', 'n', 'x', 'y'] as const) if (jwk[name] !== undefined) members[name] = jwk[name]
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

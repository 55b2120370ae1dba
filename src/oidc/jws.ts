/** Whether a JWT was signed by the key that fits it (RFC 7515 §5.2), found out in the calling thread. */
import { constants, KeyObject, verify } from 'node:crypto'
import type { VerifyKeyObjectInput } from 'node:crypto'
import { decodeProtectedHeader, errors } from 'jose'
import type { CompactJWSHeaderParameters, CryptoKey } from 'jose'

const COMPACT = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/
const SMALLEST_RSA_KEY_BITS = 2_048

type Scheme = Omit<VerifyKeyObjectInput, 'key'> & { readonly hash: string | null }

const pkcs1 = { padding: constants.RSA_PKCS1_PADDING }
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
const ecdsa = { dsaEncoding: 'ieee-p1363' } as const

/** Asymmetric ones only: with HMAC, a public key would be the secret (RFC 8725 §3.2). */
const SCHEMES: ReadonlyMap<string, Scheme> = new Map<string, Scheme>([
  ['RS256', { hash: 'sha256', ...pkcs1 }],
  ['RS384', { hash: 'sha384', ...pkcs1 }],
  ['RS512', { hash: 'sha512', ...pkcs1 }],
  ['PS256', { hash: 'sha256', ...pss }],
  ['PS384', { hash: 'sha384', ...pss }],
  ['PS512', { hash: 'sha512', ...pss }],
  ['ES256', { hash: 'sha256', ...ecdsa }],
  ['ES384', { hash: 'sha384', ...ecdsa }],
  ['ES512', { hash: 'sha512', ...ecdsa }],
  ['EdDSA', { hash: null }],
  ['Ed25519', { hash: null }],
])

/** Made once for each key: it is looked at once, too. */
const keyObjects = new WeakMap<CryptoKey, KeyObject>()

/** Finds the one public key of a set that fits a header: by `kid`, `kty`, `crv`, `alg`, `use` and `key_ops`. */
export type KeyFinder = (header: CompactJWSHeaderParameters) => Promise<CryptoKey>

/**
 * Header and payload of a JWT with a good signature.
 *
 * jose would do the same by WebCrypto: a verification takes 30 µs, and its way to another thread and back as much again.
 *
 * @throws jose's errors when it is not good
 */
export async function verifyJws(
  jwt: string,
  algorithm: string,
  findKey: KeyFinder,
): Promise<{ header: CompactJWSHeaderParameters; payload: Buffer }> {
  const [, head, body = '', signature = ''] = COMPACT.exec(jwt) ?? []
  if (head === undefined) throw new errors.JWSInvalid('it is no JWS in compact form')
  // What has the form of a compact JWS has this type of header.
  const header = decodeProtectedHeader(jwt) as CompactJWSHeaderParameters
  const scheme = SCHEMES.get(algorithm)
  if (!scheme || header.alg !== algorithm) throw new errors.JOSEAlgNotAllowed('alg is another one')
  // Extensions change what is signed, or what it means (§4.1.11); a JWT of ours has none.
  if (header.crit !== undefined) throw new errors.JOSENotSupported('"crit" is not supported')

  const key = keyObjectOf(await findKey(header))
  const { hash, ...options } = scheme
  const signed = Buffer.from(jwt.slice(0, head.length + 1 + body.length), 'latin1')
  if (!verify(hash, signed, { key, ...options }, Buffer.from(signature, 'base64url'))) {
    throw new errors.JWSSignatureVerificationFailed()
  }
  return { header, payload: Buffer.from(body, 'base64url') }
}

function keyObjectOf(key: CryptoKey): KeyObject {
  let made = keyObjects.get(key)
  if (!made) {
    made = KeyObject.from(key)
    const { modulusLength = SMALLEST_RSA_KEY_BITS } = made.asymmetricKeyDetails ?? {}
    if (modulusLength < SMALLEST_RSA_KEY_BITS) throw new errors.JOSENotSupported('an RSA key of less than 2048 bits')
    keyObjects.set(key, made)
  }
  return made
}

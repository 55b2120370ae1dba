import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { CryptoKey, JWK } from 'jose'
import { generateKeyPairSync, sign } from 'node:crypto'
import { expect, test } from 'vitest'
import { verifyJws } from '../../src/oidc/jws.ts'

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

async function issuer(alg: string) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid: 'k1', alg }
  return { jwt: await signed(privateKey, { alg, kid: 'k1' }), privateKey, keys: createLocalJWKSet({ keys: [jwk] }) }
}

function signed(key: CryptoKey, header: { alg: string; [name: string]: unknown }): Promise<string> {
  return new SignJWT({ sub: 'alice' }).setProtectedHeader(header).sign(key)
}

test.each(ALGORITHMS)('a signature by %s is good, and a changed one is not (ID-03)', async (alg) => {
  const { jwt, keys } = await issuer(alg)

  const { header, payload } = await verifyJws(jwt, alg, keys)
  expect(header).toEqual({ alg, kid: 'k1' })
  expect(JSON.parse(payload.toString())).toEqual({ sub: 'alice' })

  const [head = '', , signature = ''] = jwt.split('.')
  const otherBody = Buffer.from('{"sub":"mallory"}').toString('base64url')
  const otherSignature = Buffer.from(signature, 'base64url')
  otherSignature[20]! ^= 1
  for (const changed of [
    `${head}.${otherBody}.${signature}`,
    `${jwt.slice(0, jwt.lastIndexOf('.'))}.${otherSignature.toString('base64url')}`,
    jwt.slice(0, -8),
  ]) {
    await expect(verifyJws(changed, alg, keys)).rejects.toMatchObject({ code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
  }
})

test.each(ALGORITHMS)('a signature by %s is not taken where another algorithm is expected (ID-04)', async (alg) => {
  const { jwt, keys } = await issuer(alg)

  for (const other of [...ALGORITHMS, 'HS256', 'none'].filter((one) => one !== alg)) {
    await expect(verifyJws(jwt, other, keys)).rejects.toMatchObject({ code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
  }
})

test('HMAC and no signature at all are never taken, whatever is expected (ID-04)', async () => {
  const { keys } = await issuer('RS256')
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.e30`
  const hmac = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).sign(new Uint8Array(32))

  await expect(verifyJws(none, 'none', keys)).rejects.toMatchObject({ code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
  await expect(verifyJws(hmac, 'HS256', keys)).rejects.toMatchObject({ code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
})

test('a token with critical extensions is refused, whatever they are (ID-12)', async () => {
  const { keys, privateKey } = await issuer('ES256')
  const jwt = await signed(privateKey, { alg: 'ES256', kid: 'k1', crit: ['b64'], b64: true })

  await expect(verifyJws(jwt, 'ES256', keys)).rejects.toMatchObject({ code: 'ERR_JOSE_NOT_SUPPORTED' })
})

test('an RSA key of less than 2048 bits verifies nothing (RFC 7518 §3.3)', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1_024 })
  const keys = createLocalJWKSet({ keys: [{ ...(publicKey.export({ format: 'jwk' }) as JWK), kid: 'k1' }] })
  const text = `${Buffer.from('{"alg":"RS256","kid":"k1"}').toString('base64url')}.e30`
  const jwt = `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`

  await expect(verifyJws(jwt, 'RS256', keys)).rejects.toMatchObject({ code: 'ERR_JOSE_NOT_SUPPORTED' })
})

test.each(['', 'a.b', 'a.b.c.d', 'a.b.', '.b.c', 'a=.b.c', 'a.b.c\n', 'é.b.c'])(
  'what has not the form of a signed JWT is none: %j',
  async (text) => {
    const { keys } = await issuer('ES256')

    await expect(verifyJws(text, 'ES256', keys)).rejects.toMatchObject({ code: 'ERR_JWS_INVALID' })
  },
)

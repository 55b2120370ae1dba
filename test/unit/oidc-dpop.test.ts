import { createHash } from 'node:crypto'
import { importJWK, jwtVerify } from 'jose'
import { expect, test } from 'vitest'
import { DpopNonces, createDpopProof, generateDpopKey } from '../../src/oidc/dpop.ts'

test('a proof names method, address without query, token and nonce, and is good once (RFC 9449 §4.2)', async () => {
  const key = await generateDpopKey()
  const options = {
    htm: 'GET',
    htu: 'https://orders.example.com/v1/7?limit=2#top',
    accessToken: 'at-1',
    nonce: 'n-1',
    now: () => 1_800_000_000_999,
  }

  const [first, second] = await Promise.all([createDpopProof(key, options), createDpopProof(key, options)])

  const { d: _private, ...publicKey } = key
  const verifying = await importJWK(publicKey, 'ES256')
  const read = async (proof: string) => await jwtVerify(proof, verifying, { typ: 'dpop+jwt' })
  const { payload, protectedHeader } = await read(first)
  expect(payload).toEqual({
    htm: 'GET',
    htu: 'https://orders.example.com/v1/7',
    ath: createHash('sha256').update('at-1').digest('base64url'),
    nonce: 'n-1',
    iat: 1_800_000_000,
    jti: expect.any(String),
  })
  expect(Object.keys(protectedHeader['jwk']!).toSorted()).toEqual(['crv', 'kty', 'x', 'y'])
  expect((await read(second)).payload.jti).not.toBe(payload.jti)
})

test('the last nonce of each origin is kept, of a bounded number of origins', () => {
  const nonces = new DpopNonces()
  nonces.learn('https://a.example', 'first')
  nonces.learn('https://a.example', 'second')
  nonces.learn('https://a.example', null)
  nonces.learn('https://b.example', 'x'.repeat(2_000))
  expect(nonces.get('https://a.example')).toBe('second')
  expect(nonces.get('https://b.example')).toBeUndefined()

  for (let index = 0; index < 100; index += 1) nonces.learn(`https://${index}.example`, 'n')
  expect(nonces.get('https://a.example')).toBeUndefined()
  expect(nonces.get('https://99.example')).toBe('n')
})

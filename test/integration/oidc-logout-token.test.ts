/** Logout tokens, from the wire to a verdict (OIDC Back-Channel Logout §2.6). */
import { generateKeyPairSync } from 'node:crypto'
import { SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { OidcClient } from '../support/oidc-client.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'

test('a token signed by the provider as ID tokens are is good (LO-07)', async () => {
  await using provider = await startScriptedProvider()
  await using client = new OidcClient(provider.issuer)
  await expect(client.verifyLogoutToken(await provider.logoutToken({ sid: 's-1' }))).resolves.toMatchObject({
    iss: provider.issuer,
    sub: 'alice',
    sid: 's-1',
  })
})

test('a token without a type is good, one of another type is not (LO-08)', async () => {
  await using provider = await startScriptedProvider()
  await using client = new OidcClient(provider.issuer)
  const untyped = await provider.logoutToken({}, { typ: undefined })
  await expect(client.verifyLogoutToken(untyped)).resolves.toMatchObject({ sub: 'alice' })
  const other = await provider.logoutToken({}, { typ: 'at+jwt' })
  await expect(client.verifyLogoutToken(other)).rejects.toMatchObject({ code: 'invalid_request' })
})

test.each(['none', 'HS256', 'ES256', 'foreign', 'garbage', 'long'])(
  'a token signed by %s is refused though the key set could verify it (LO-07)',
  async (kind) => {
    await using provider = await startScriptedProvider()
    const rsa = provider.signingKey.publicJwk
    await using client = new OidcClient(provider.issuer)
    let token = ''
    if (kind === 'none') token = await provider.logoutToken({}, { alg: 'none' })
    if (kind === 'garbage') token = 'not.a.jwt'
    if (kind === 'long') token = 'a'.repeat(20_000)
    if (kind === 'HS256') {
      // The old trick: the public key as the secret of a symmetric algorithm.
      const secret = new TextEncoder().encode(JSON.stringify(rsa))
      token = await new SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'HS256', kid: rsa.kid! }).sign(secret)
    }
    if (kind === 'ES256') {
      await provider.useAlgorithm('ES256')
      provider.publishedKeys = [rsa, provider.signingKey.publicJwk]
      token = await provider.logoutToken()
    }
    if (kind === 'foreign') {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
      token = await new SignJWT({ sub: 'alice' }).setProtectedHeader({ alg: 'RS256', kid: rsa.kid! }).sign(privateKey)
    }

    await expect(client.verifyLogoutToken(token)).rejects.toMatchObject({
      code: 'invalid_request',
      message: kind === 'long' ? 'logout token: it is too long' : expect.stringMatching(/not signed by the provider/),
    })
  },
)

test('without the provider’s keys there is no verdict (LO-09)', async () => {
  await using provider = await startScriptedProvider()
  provider.faults.jwks = { kind: 'status', status: 503 }
  await using client = new OidcClient(provider.issuer)
  await expect(client.verifyLogoutToken(await provider.logoutToken())).rejects.toMatchObject({
    code: 'provider_unavailable',
  })
})

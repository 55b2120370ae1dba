/** `profile: fapi2` end to end: a whole gateway between a browser, a real server that insists on it, and an API. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader } from 'jose'
import type { JWK } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import { OidcClient } from '../support/oidc-client.ts'
import { startWorld } from '../support/world.ts'
import type { World } from '../support/world.ts'

const privateKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()

async function startStrictWorld(): Promise<World> {
  const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
  const world = await startWorld({
    config: {
      provider: {
        clientSecret: undefined,
        privateKey,
        profile: 'fapi2',
        idTokenSignedResponseAlg: 'ES256',
        scopes: ['openid', 'offline_access'],
      },
    },
    provider: {
      client: {
        client_secret: undefined,
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        id_token_signed_response_alg: 'ES256',
        dpop_bound_access_tokens: true,
        require_pushed_authorization_requests: true,
        jwks: new OidcClient('https://id.example.com', {
          config: { clientAuthentication: 'private_key_jwt', privateKey },
        }).publicJwks(),
      },
      configuration: {
        jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig', kid: 'es' }] },
        features: {
          pushedAuthorizationRequests: { enabled: true },
          dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
        },
      },
    },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

interface Proof {
  readonly token: string
  readonly claims: Record<string, unknown>
  readonly jwk: JWK
}

/** The bound token and the proof of the last request that reached the API. */
function lastProof({ upstream }: World): Proof {
  const { authorization, dpop } = upstream.last.headers
  const [scheme, token = ''] = (authorization ?? '').split(' ')
  expect(scheme).toBe('DPoP')
  const header = decodeProtectedHeader(String(dpop))
  expect(header).toMatchObject({ typ: 'dpop+jwt', alg: 'ES256' })
  // A proof carries the public key (RFC 9449 §4.2).
  return { token, claims: decodeJwt(String(dpop)), jwk: header.jwk as JWK }
}

test('two logins, their calls and refreshes, by one line of configuration: all is pushed, keys prove everything, each call has a proof of its own (F2-01, F2-02, F2-05, F2-06, F2-09, PX-18, RF-08)', async () => {
  const world = await startStrictWorld()
  const first = await world.signedIn({ user: 'alice' })
  const second = await world.signedIn({ user: 'bob' })

  const login = first.browser.hops.find(({ url }) => url.startsWith(`${world.url}/bff/login`))
  const sent = new URL(login?.headers.location ?? '').searchParams
  expect([...sent.keys()].toSorted()).toEqual(['client_id', 'request_uri'])

  const call = await first.tab.fetch('/api/orders?page=2', { method: 'PUT', body: 'x', from: world.url })
  expect(call.status).toBe(200)
  const before = lastProof(world)
  expect(before.claims).toMatchObject({
    htm: 'PUT',
    htu: `${world.upstream.url}/api/orders`,
    ath: createHash('sha256').update(before.token).digest('base64url'),
  })
  expect(before.jwk).not.toHaveProperty('d')

  await first.tab.fetch('/api/orders', { from: world.url })
  const again = lastProof(world)
  expect(again.claims['jti']).not.toBe(before.claims['jti'])
  await second.tab.fetch('/api/orders', { from: world.url })
  const other = lastProof(world)
  const key = (proof: Proof): Promise<string> => calculateJwkThumbprint(proof.jwk)
  expect(await key(other)).not.toBe(await key(before))

  // Now, and not by moving the clock: proofs and assertions that are ahead of the server's clock would be refused.
  for (const [{ tab }, earlier] of [
    [first, before],
    [second, other],
  ] as const) {
    const forced = await tab.fetch('/bff/session/refresh', { method: 'POST', from: world.url })
    expect(forced.status).toBe(200)
    await tab.fetch('/api/orders', { from: world.url })
    const refreshed = lastProof(world)
    expect(refreshed.token).not.toBe(earlier.token)
    expect(await key(refreshed)).toBe(await key(earlier))
  }
  expect(world.provider.count('refresh_token')).toBe(2)
  expect(
    world.provider.tokenRequests.filter(({ grantType }) => grantType === 'authorization_code').length,
  ).toBeGreaterThan(1)
  for (const { params } of world.provider.tokenRequests) expect(params['client_secret']).toBeUndefined()
})

test('what a browser says of proofs and tokens reaches no API (PX-06, PX-18)', async () => {
  const world = await startStrictWorld()
  const { tab } = await world.signedIn()

  await tab.fetch('/api/orders', { from: world.url, headers: { dpop: 'a.b.c', authorization: 'DPoP stolen' } })

  expect(lastProof(world).token).not.toBe('stolen')
  expect(world.upstream.last.rawHeaders.filter((name) => name.toLowerCase() === 'dpop')).toHaveLength(1)
})

/** Proofs of possession of the key to which tokens are bound (RFC 9449). */
import { createHash, randomUUID } from 'node:crypto'
import { SignJWT, exportJWK, generateKeyPair, importJWK } from 'jose'
import type { JWK } from 'jose'
import * as client from 'openid-client'

/** Every server that knows DPoP knows it, and its keys are small. */
const ALGORITHM = 'ES256'
/** Origins whose last nonce is kept; a gateway talks to a few. */
const MAX_ORIGINS = 100

/** A new private key, as it is kept sealed in the session. */
export async function generateDpopKey(): Promise<JWK> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true })
  return await exportJWK(privateKey)
}

export interface DpopProofOptions {
  readonly htm: string
  /** The URL that is called; query and fragment are left out of the proof (RFC 9449 §4.2). */
  readonly htu: string | URL
  /** Bound into the proof as `ath`: for calls of an API. */
  readonly accessToken?: string
  /** What the server asked for last. */
  readonly nonce?: string | undefined
  readonly now?: () => number
}

/** A proof for one request; each attempt needs a new one. */
export async function createDpopProof(key: JWK, options: DpopProofOptions): Promise<string> {
  const { origin, pathname } = new URL(options.htu)
  const { crv, kty, x, y } = key
  const now = options.now ?? Date.now
  return await new SignJWT({
    htm: options.htm,
    htu: `${origin}${pathname}`,
    ...(options.accessToken !== undefined && {
      ath: createHash('sha256').update(options.accessToken).digest('base64url'),
    }),
    ...(options.nonce !== undefined && { nonce: options.nonce }),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: 'dpop+jwt', jwk: { crv, kty, x, y } as JWK })
    .setIssuedAt(Math.floor(now() / 1_000))
    .setJti(randomUUID())
    .sign(await importJWK(key, ALGORITHM))
}

/** The last nonce of each origin (RFC 9449 §8.2); without it each call would first be refused. */
export class DpopNonces {
  readonly #nonces = new Map<string, string>()

  get(origin: string): string | undefined {
    return this.#nonces.get(origin)
  }

  /** Takes what an answer brought in `DPoP-Nonce`. */
  learn(origin: string, nonce: string | null | undefined): void {
    if (!nonce || nonce.length > 1_024) return
    this.#nonces.delete(origin)
    this.#nonces.set(origin, nonce)
    const oldest = this.#nonces.keys().next().value
    if (this.#nonces.size > MAX_ORIGINS && oldest !== undefined) this.#nonces.delete(oldest)
  }
}

/** The library's handle for a session's key; it asks again once when a nonce is wanted. */
export async function dpopHandle(
  configuration: client.Configuration,
  key: JWK,
  nonces: DpopNonces,
): Promise<client.DPoPHandle> {
  const { crv, kty, x, y } = key
  const [privateKey, publicKey] = await Promise.all([
    importJWK(key, ALGORITHM),
    importJWK({ crv, kty, x, y } as JWK, ALGORITHM, { extractable: true }),
  ])
  if (privateKey instanceof Uint8Array || publicKey instanceof Uint8Array)
    throw new TypeError('a DPoP key is no secret')
  return client.getDPoPHandle(
    configuration,
    { privateKey, publicKey },
    {
      [client.modifyAssertion]: (_header, payload) => {
        const { htu } = payload
        if (payload['nonce'] === undefined && typeof htu === 'string')
          payload['nonce'] = nonces.get(new URL(htu).origin)
      },
    },
  )
}

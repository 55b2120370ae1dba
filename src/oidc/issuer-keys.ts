/** The provider's public keys: who signs ID tokens and logout tokens. */
import { compactVerify, createLocalJWKSet, errors } from 'jose'
import type { JSONWebKeySet } from 'jose'
import { BffError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { BackChannel } from './back-channel.ts'

/** A key taken out of the set stops verifying after this time at the latest. */
const MAX_AGE_MS = 600_000
/** Between two fetches because of keys that are not there: 1,000 forged tokens cost one fetch a minute (R16). */
const COOLDOWN_MS = 60_000

export interface IssuerKeysOptions {
  readonly backChannel: Pick<BackChannel, 'exchange'>
  readonly log: Log
  readonly now: () => number
}

/** A JWT whose signature is the issuer's. Nothing is known yet about its claims. */
export interface VerifiedJwt {
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
}

/**
 * Keys of one `jwks_uri` and of nowhere else: `jku`, `x5u` and `jwk` in a token's header are not looked at.
 *
 * jose's own remote set would wait 30 s after any fetch, the library's 60 s; a rotation right after a fetch
 * would then fail every login (OIDC Core §10.1.1). Here the first unknown `kid` is always worth a fetch.
 */
export class IssuerKeys {
  readonly uri: string
  readonly #options: IssuerKeysOptions
  #set: JSONWebKeySet | undefined
  #resolve: Resolver | undefined
  #fetchedAt = Number.NEGATIVE_INFINITY
  #loading: Promise<void> | undefined
  // A bucket each, so that forged logout tokens from the internet cannot use up the fetch that a login needs.
  readonly #refetchedAt = { provider: Number.NEGATIVE_INFINITY, internet: Number.NEGATIVE_INFINITY }

  constructor(uri: string, options: IssuerKeysOptions) {
    this.uri = uri
    this.#options = options
  }

  /** What was last fetched. */
  get current(): JSONWebKeySet | undefined {
    return this.#set
  }

  /**
   * Verifies the signature of a JWT with exactly the algorithm given; its claims are for the caller to judge.
   *
   * @param cameFrom who handed the token over: over our own connection, or anybody
   * @throws BffError `provider_unavailable` when there are no keys; jose's errors when the token is not good
   */
  async verify(jwt: string, algorithm: string, cameFrom: 'provider' | 'internet'): Promise<VerifiedJwt> {
    await this.#ensureFresh()
    try {
      return await verified(jwt, algorithm, this.#resolver())
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayRefetch(cameFrom)) throw error
    }
    await this.#load()
    return await verified(jwt, algorithm, this.#resolver())
  }

  async #ensureFresh(): Promise<void> {
    if (this.#options.now() - this.#fetchedAt < MAX_AGE_MS) return
    try {
      await this.#load()
    } catch (error) {
      // An outage of one endpoint must not stop logins that the last good set can verify.
      if (!this.#set) throw error
      this.#fetchedAt = this.#options.now() - MAX_AGE_MS + COOLDOWN_MS
      this.#options.log.warn({ reason: messageOf(error) }, 'the key set could not be read again, the last one stays')
    }
  }

  #mayRefetch(cameFrom: 'provider' | 'internet'): boolean {
    const now = this.#options.now()
    if (now - this.#refetchedAt[cameFrom] < COOLDOWN_MS) return false
    this.#refetchedAt[cameFrom] = now
    return true
  }

  #resolver(): Resolver {
    if (!this.#resolve) throw new BffError('provider_unavailable', 'there is no key set')
    return this.#resolve
  }

  #load(): Promise<void> {
    this.#loading ??= this.#fetch().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #fetch(): Promise<void> {
    const exchange = this.#options.backChannel.exchange('jwks')
    try {
      await exchange.fetch(this.uri, {
        method: 'GET',
        headers: { accept: 'application/json, application/jwk-set+json' },
      })
    } catch {
      // The facts are in the exchange.
    }
    const keys = exchange.json?.['keys']
    if (exchange.status !== 200 || !Array.isArray(keys)) {
      throw new BffError('provider_unavailable', `no key set: ${exchange.describe()}`)
    }
    // A stray entry must not make the whole set unusable (ID-12).
    const usable: JSONWebKeySet = { keys: keys.filter((key) => typeof key?.kty === 'string') }
    this.#resolve = createLocalJWKSet(usable)
    this.#set = usable
    this.#fetchedAt = this.#options.now()
  }
}

type Resolver = ReturnType<typeof createLocalJWKSet>

/** Throws at what is no UTF-8. */
const utf8 = new TextDecoder('utf-8', { fatal: true })

async function verified(jwt: string, algorithm: string, resolve: Resolver): Promise<VerifiedJwt> {
  const { protectedHeader, payload } = await compactVerify(jwt, resolve, { algorithms: [algorithm] })
  // jose knows one extension (b64); a JWT of ours has none (RFC 7515 §4.1.11).
  if (protectedHeader.crit !== undefined) throw new errors.JOSENotSupported('"crit" is not supported')
  const claims: unknown = JSON.parse(utf8.decode(payload))
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) {
    throw new errors.JWTInvalid('the payload is no JSON object')
  }
  // What JSON.parse calls an object and is no array has string keys.
  return { header: { ...protectedHeader }, claims: claims as Record<string, unknown> }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown'
}

/** The tokens that native apps send: verified once, believed for a moment (`routes[].bearer`). */
import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { BffError, hasCode } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { type BearerRule, type BearerToken, invalidToken, isSignedJwt } from './access-token.ts'
import { ForeignIssuer } from './foreign-issuer.ts'
import type { OidcProvider } from './provider.ts'

/** So long an answer is used again: a token revoked at the issuer opens a route for half a minute at most (RF-09). */
const KEPT_MS = 30_000
/** Of a few kilobytes each. */
const MOST_KEPT = 5_000
/** A server's limit for a header field; no token is longer. */
const LONGEST = 16_384
/** Opaque tokens being asked about at once: who sends garbage must not take all connections from logins (R18). */
const MOST_ASKED = 40

export interface BearerTokensOptions {
  /** The rules of all routes: other issuers are not looked for. */
  readonly rules: readonly BearerRule[]
  readonly providers: readonly Pick<OidcProvider, 'issuer' | 'verifyAccessToken'>[]
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'providerDuration'> | undefined
  readonly tracing?: Tracing | undefined
  readonly now: () => number
}

interface Verdict {
  readonly until: number
  readonly found: BearerToken | BffError
}

/** Made once for a configuration, closed with it. */
export class BearerTokens {
  readonly #options: BearerTokensOptions
  readonly #foreign: ReadonlyMap<string, ForeignIssuer>
  /** Good ones and refused ones apart: a flood of refused ones pushes no good one out. */
  readonly #good = new LRUCache<string, Verdict>({ max: MOST_KEPT })
  readonly #bad = new LRUCache<string, Verdict>({ max: MOST_KEPT })
  readonly #asking = new Map<string, Promise<BearerToken>>()
  #opaque = 0

  constructor(options: BearerTokensOptions) {
    const { rules, providers, ...foreign } = options
    this.#options = options
    const own = new Set(providers.map(({ issuer }) => issuer))
    const others = new Set(rules.map(({ issuer }) => issuer).filter((issuer) => !own.has(issuer)))
    this.#foreign = new Map([...others].map((issuer) => [issuer, new ForeignIssuer({ issuer, ...foreign })]))
  }

  /**
   * What the token says, if it is good for the route.
   *
   * @throws BffError `login_required` with `WWW-Authenticate`; `provider_unavailable` where that cannot be found out
   */
  async verify(token: string, rule: BearerRule): Promise<BearerToken> {
    if (token.length > LONGEST) throw invalidToken('it is too long')
    // Of a token only its hash is kept longer than the request lasts. A rule's texts hold no line feed.
    const key = createHash('sha256').update(`${rule.issuer}\n${rule.audience}\n${token}`).digest('base64url')
    const known = this.#good.get(key) ?? this.#bad.get(key)
    if (known && this.#options.now() < known.until) {
      if (known.found instanceof BffError) throw known.found
      return { ...known.found, token }
    }
    const running = this.#asking.get(key)
    if (running) return await running
    const asked = this.#ask(token, rule, key).finally(() => this.#asking.delete(key))
    this.#asking.set(key, asked)
    return await asked
  }

  close(): void {
    for (const issuer of this.#foreign.values()) issuer.close()
  }

  async #ask(token: string, rule: BearerRule, key: string): Promise<BearerToken> {
    const { providers, now } = this.#options
    const issuer = providers.find((provider) => provider.issuer === rule.issuer) ?? this.#foreign.get(rule.issuer)
    // Every rule's issuer was looked up at the start; a provider's may have changed since.
    if (!issuer) throw new BffError('provider_unavailable', 'the issuer of the route is being replaced')
    const isOpaque = !isSignedJwt(token)
    if (isOpaque && this.#opaque >= MOST_ASKED) {
      throw new BffError('overloaded', 'too many opaque bearer tokens are being introspected', { retryAfterSeconds: 1 })
    }
    if (isOpaque) this.#opaque += 1
    try {
      const found = await issuer.verifyAccessToken(token, rule)
      const until = Math.min(now() + KEPT_MS, found.expiresAt ?? Number.POSITIVE_INFINITY)
      this.#good.set(key, { until, found: { ...found, token: '' } })
      return found
    } catch (error) {
      // Only what is known: an outage is over when it is over.
      if (hasCode(error, 'login_required')) this.#bad.set(key, { until: now() + KEPT_MS, found: error })
      throw error
    } finally {
      if (isOpaque) this.#opaque -= 1
    }
  }
}

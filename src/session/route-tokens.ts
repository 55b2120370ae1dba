/** Tokens for single routes: each got once per session, kept in it, and never replaced by a broader one (RFC 9700 §2.3). */
import { LRUCache } from 'lru-cache'
import { BffError } from '../errors.ts'
import type { OidcProvider, RouteTokenOutcome, RouteTokenRule } from '../oidc/provider.ts'
import { routeTokenKey } from '../oidc/route-token.ts'
import type { TokenSet } from '../oidc/token-set.ts'
import type { Log } from '../telemetry/log.ts'
import type { OpenedSession } from './reader.ts'
import type { Hold, Refresher, RefreshResult } from './refresh.ts'
import { type Session, providerOf } from './session.ts'

/** A token that lives no longer than this is got anew: it has to reach the upstream while it is good. */
const MARGIN_MS = 5_000
/** After a refusal the provider is left alone for so long. */
const SETBACK_MS = 2_000

type RouteTokenProvider = Pick<OidcProvider, 'issuer'> & Partial<Pick<OidcProvider, 'routeToken'>>

export interface RouteTokensOptions {
  readonly refresher: Pick<Refresher, 'exclusively' | 'write' | 'reject' | 'lost'>
  readonly providers: ReadonlyMap<string, RouteTokenProvider>
  readonly log: Log
  readonly now: () => number
}

/**
 * A `resource` token may cost the session's refresh token, so it is got under the session's lock, as a refresh is; and
 * so are the others, that no two processes ask for the same one. All of them go with the next refresh and with the session.
 */
export class RouteTokens {
  readonly #options: RouteTokensOptions
  readonly #setbacks = new LRUCache<string, { until: number; retryAfterSeconds: number }>({ max: 10_000 })

  constructor(options: RouteTokensOptions) {
    this.#options = options
  }

  /** The token that the session has for this rule, if it is good for a while yet. */
  heldBy(session: Session, rule: RouteTokenRule): TokenSet | undefined {
    const token = session.routeTokens?.[routeTokenKey(rule)]
    return token && this.#options.now() < token.accessTokenExpiresAt - MARGIN_MS ? token : undefined
  }

  /** Gets it. @throws BffError `session_expired`, `store_unavailable`, `provider_unavailable` (the session stays) */
  async tokenFor(cookieValue: string, session: Session, rule: RouteTokenRule): Promise<TokenSet> {
    const { token } = await this.#obtain(cookieValue, session, rule, undefined)
    return token
  }

  /**
   * The session with another token for this rule than the one that an upstream has refused before its time. Fails as
   * `tokenFor` does.
   */
  async replace(cookieValue: string, session: Session, rule: RouteTokenRule, refused: string): Promise<Session> {
    return (await this.#obtain(cookieValue, session, rule, refused)).session
  }

  async #obtain(
    cookieValue: string,
    session: Session,
    rule: RouteTokenRule,
    refused: string | undefined,
  ): Promise<{ session: Session; token: TokenSet }> {
    let seen = session
    // Twice: a refresh on another instance, in the same moment, takes the token away with those that it belongs to.
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const held = this.#heldOtherThan(refused, seen, rule)
      if (held) return { session: seen, token: held }
      const result = await this.#fly(cookieValue, seen, rule, refused)
      if (result.kind === 'ended')
        throw new BffError('session_expired', 'the session ended while a token was got for it')
      if (result.kind === 'unavailable') throw unavailable(result.retryAfterSeconds)
      seen = result.opened.session
    }
    const token = this.#heldOtherThan(refused, seen, rule)
    if (token) return { session: seen, token }
    throw unavailable(1)
  }

  #heldOtherThan(refused: string | undefined, session: Session, rule: RouteTokenRule): TokenSet | undefined {
    const held = this.heldBy(session, rule)
    return held?.accessToken === refused ? undefined : held
  }

  #fly(
    cookieValue: string,
    session: Session,
    rule: RouteTokenRule,
    refused: string | undefined,
  ): Promise<RefreshResult> {
    const flightKey = `${session.ref} ${routeTokenKey(rule)}`
    const setback = this.#setbacks.get(flightKey)
    if (setback && setback.until > this.#options.now()) throw unavailable(setback.retryAfterSeconds)
    return this.#options.refresher.exclusively(flightKey, cookieValue, session, {
      isDone: (current) => this.#heldOtherThan(refused, current, rule) !== undefined,
      work: (hold, current) => this.#ask(flightKey, hold, current, rule),
    })
  }

  async #ask(flightKey: string, hold: Hold, current: OpenedSession, rule: RouteTokenRule): Promise<RefreshResult> {
    const { session } = current
    const outcome = await this.#grant(session, rule)
    switch (outcome.kind) {
      case 'issued': {
        const written = await this.#options.refresher.write(hold, current, (base) => withToken(base, rule, outcome))
        return written.kind === 'gone' ? { kind: 'ended' } : { kind: 'current', opened: written.opened }
      }
      case 'rejected':
        // Only a grant by the session's refresh token is answered so: that token is dead for everything.
        return this.#options.refresher.reject(hold, current, outcome.reason)
      case 'lost':
        return this.#options.refresher.lost(hold, current, outcome.reason)
      case 'refused':
      case 'misconfigured':
        this.#options.log.error(
          {
            provider: session.provider,
            reason: outcome.reason,
            rule: routeTokenKey(rule),
            alarm: 'route_token_refused',
          },
          'the provider refuses the token of a route: check its rule; nobody is signed out, and no other token is sent',
        )
        return this.#setBack(flightKey)
      case 'unavailable':
        this.#options.log.warn(
          { provider: session.provider, reason: outcome.reason },
          'no token could be got for a route',
        )
        return this.#setBack(flightKey, outcome.retryAfterSeconds)
      default:
        return outcome satisfies never
    }
  }

  async #grant(session: Session, rule: RouteTokenRule): Promise<RouteTokenOutcome> {
    const provider = providerOf(session, this.#options.providers)
    return provider?.routeToken
      ? provider.routeToken(rule, session)
      : { kind: 'misconfigured', reason: 'the provider of the session is not configured any more' }
  }

  #setBack(flightKey: string, retryAfterSeconds = 5): RefreshResult {
    this.#setbacks.set(flightKey, { until: this.#options.now() + SETBACK_MS, retryAfterSeconds })
    return { kind: 'unavailable', retryAfterSeconds }
  }
}

function withToken(
  session: Session,
  rule: RouteTokenRule,
  issued: Extract<RouteTokenOutcome, { kind: 'issued' }>,
): Session {
  const { token, refreshToken } = issued
  return {
    ...session,
    version: session.version + 1,
    routeTokens: { ...session.routeTokens, [routeTokenKey(rule)]: token },
    // A rotated refresh token replaces the old one in the same write (RF-02).
    tokens: { ...session.tokens, ...(refreshToken !== undefined && { refreshToken }) },
  }
}

function unavailable(retryAfterSeconds: number): BffError {
  return new BffError('provider_unavailable', 'no token could be got for the route', { retryAfterSeconds })
}

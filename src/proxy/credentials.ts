/** The token that a request takes to its upstream, by the route's rule: the user's, one of the route's own, or none. */
import { LRUCache } from 'lru-cache'
import { hasCode } from '../errors.ts'
import type { RouteTokenRule } from '../oidc/provider.ts'
import { createDpopProof, DpopNonces } from '../oidc/dpop.ts'
import type { TokenSet } from '../oidc/token-set.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Session } from '../session/session.ts'
import type { RequestOwner, StreamOwner } from './open-streams.ts'
import type { Route } from './route-table.ts'

/** Header fields, names and values in turn. */
export type CredentialFields = readonly string[]

export interface CredentialsOptions {
  readonly manager: Pick<SessionManager, 'replaceToken'> & {
    readonly routeTokens: Pick<SessionManager['routeTokens'], 'heldBy' | 'tokenFor' | 'replace'>
  }
  readonly now: () => number
}

const NONE: CredentialFields = []
/** So long an API that has refused a new token, too, gets no other for its sake: it is not the token that is wrong. */
const REFUSED_AGAIN_MS = 30_000

/** Made once. Never answers with another token than the one that the route asks for (RFC 9700 §2.3). */
export class Credentials {
  readonly #options: CredentialsOptions
  readonly #nonces = new DpopNonces()
  /** Until when an API's refusals cause nothing, by session and route. */
  readonly #inVain = new LRUCache<string, number>({ max: 10_000 })

  constructor(options: CredentialsOptions) {
    this.#options = options
  }

  /**
   * At once where the token is at hand and needs no proof.
   *
   * @param url of the upstream, for the proof of a bound token
   * @throws BffError `session_expired`, `store_unavailable`, `provider_unavailable`, by the promise
   */
  for(
    route: Route,
    owner: RequestOwner | null,
    request: { method: string; url: string },
  ): CredentialFields | Promise<CredentialFields> {
    const rule = route.config.token ?? 'user'
    if (!owner || rule === 'none') return NONE
    // The app's own, which was issued for this route's audience; what the route asks for is for sessions.
    if ('token' in owner) return ['authorization', `Bearer ${owner.token}`]
    if (!route.policy.needsToken) return NONE
    const { session, sessionCookie } = owner
    if (rule === 'user') return this.#fields(session.tokens, session, request)
    const held = this.#options.manager.routeTokens.heldBy(session, rule)
    return held ? this.#fields(held, session, request) : this.#fetch(sessionCookie, session, rule, request)
  }

  /** Takes what an upstream said in `DPoP-Nonce` (RFC 9449 §8.2). */
  learnNonce(origin: string, nonce: string): void {
    this.#nonces.learn(origin, nonce)
  }

  /**
   * After an upstream has refused the token that it got: the session with another one, got anew unless somebody else
   * already has (PX-13). `undefined` where there is none to be had now.
   *
   * @param sent what `for` gave
   * @throws BffError `session_expired`
   */
  async renew(route: Route, owner: StreamOwner, sent: CredentialFields): Promise<Session | undefined> {
    const { manager, now } = this.#options
    const { session, sessionCookie } = owner
    const refused = sent[1]?.split(' ')[1]
    const rule = route.config.token ?? 'user'
    if (refused === undefined || rule === 'none' || now() < (this.#inVain.get(vainKey(route, owner)) ?? 0))
      return undefined
    try {
      if (rule === 'user') return await manager.replaceToken(sessionCookie, refused)
      return await manager.routeTokens.replace(sessionCookie, session, rule, refused)
    } catch (error) {
      // An outage is no verdict: the upstream's own answer says more than ours would.
      if (hasCode(error, 'provider_unavailable', 'store_unavailable')) return undefined
      throw error
    }
  }

  /** Takes note that an upstream has refused the new token, too: asking for one by one would only burden the provider. */
  refusedAgain(route: Route, owner: StreamOwner): void {
    this.#inVain.set(vainKey(route, owner), this.#options.now() + REFUSED_AGAIN_MS)
  }

  async #fetch(
    sessionCookie: string,
    session: Session,
    rule: RouteTokenRule,
    request: { method: string; url: string },
  ): Promise<CredentialFields> {
    return this.#fields(
      await this.#options.manager.routeTokens.tokenFor(sessionCookie, session, rule),
      session,
      request,
    )
  }

  #fields(
    token: TokenSet,
    { dpopKey }: Session,
    request: { method: string; url: string },
  ): CredentialFields | Promise<CredentialFields> {
    if (token.tokenType === 'bearer' || !dpopKey) return ['authorization', `Bearer ${token.accessToken}`]
    const { accessToken } = token
    const nonce = this.#nonces.get(new URL(request.url).origin)
    return createDpopProof(dpopKey, {
      htm: request.method,
      htu: request.url,
      accessToken,
      nonce,
      now: this.#options.now,
    }).then((proof) => ['authorization', `DPoP ${accessToken}`, 'dpop', proof])
  }
}

function vainKey(route: Route, { session }: StreamOwner): string {
  return `${session.ref} ${route.path}`
}

/**
 * One request on its way to its upstream, in as many attempts as that takes: one nearly always, and another where the
 * upstream has refused the credentials of the first and there can be others.
 *
 * By a 401 an upstream says that it has not applied the request (RFC 9110 §15.5.2). So it is sent again whatever its
 * method, unless it has a body: that has gone, and was not kept. Once for a nonce of proofs (RFC 9449 §9), once for
 * a token (RFC 6750 §3.1); what is refused after that is refused.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { BffError } from '../errors.ts'
import { judgeAccess } from '../http/access.ts'
import type { ClientAddresses } from '../http/client-address.ts'
import type { Call } from '../http/call.ts'
import type { Judged } from '../http/judge.ts'
import type { RequestSpans } from '../http/request-spans.ts'
import type { Session } from '../session/session.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { TraceContext } from '../telemetry/tracing.ts'
import { type Challenge, challengesIn } from './challenges.ts'
import type { CredentialFields, Credentials } from './credentials.ts'
import { Exchange, type Instead } from './exchange.ts'
import type { RequestOwner, StreamOwner } from './open-streams.ts'
import type { ProxiedRoute } from './proxied-route.ts'
import { hasBody } from './request-body.ts'
import { valueOf } from './response-headers.ts'
import { isHandshake, joinWebSocket } from './websocket.ts'

export interface DeliveryOptions {
  readonly credentials: Pick<Credentials, 'for' | 'learnNonce' | 'renew' | 'refusedAgain'>
  /** The failure that leads to the sign-in which an API asks for by the parameters of its challenge (RFC 9470). */
  readonly stepUp: (session: Session, wanted: ReadonlyMap<string, string>) => BffError
  readonly addresses: Pick<ClientAddresses, 'isTrusted'>
  /** `{basePath}/login` */
  readonly loginPath: string
  readonly now: () => number
  readonly metrics?: Pick<Metrics, 'countRequest'> | undefined
  readonly traces?: Pick<RequestSpans, 'upstream' | 'upgraded'> | undefined
}

/** What was judged of the request. */
export interface DeliveryFacts {
  readonly proxied: ProxiedRoute
  readonly judged: Judged
  /** Path and query for the upstream. */
  readonly target: string
  /** The session or token that is used, if one is. */
  readonly owner: RequestOwner | null
}

/** Made, `begin` called once, forgotten. */
export class Delivery {
  readonly #call: Call
  readonly #facts: DeliveryFacts
  readonly #options: DeliveryOptions
  #target: string
  #owner: RequestOwner | null
  #sent: CredentialFields = []
  #hasNewNonce = false
  #hasNewToken = false

  constructor(call: Call, facts: DeliveryFacts, options: DeliveryOptions) {
    this.#call = call
    this.#facts = facts
    this.#options = options
    this.#target = facts.target
    this.#owner = facts.owner
  }

  /** The next attempt, with the credentials that there are now: each needs a proof of its own (RFC 9449 §4.2). */
  begin(): void {
    const { route, upstream } = this.#facts.proxied
    const credentials = this.#options.credentials.for(route, this.#owner, {
      method: this.#call.raw.method ?? '',
      url: upstream.address.origin + this.#target,
    })
    if (!isPromise(credentials)) return this.#attempt(credentials)
    credentials.then((list) => this.#attempt(list)).catch((error: unknown) => this.#call.fail(error))
  }

  /** Called by nobody who would catch. */
  #again(): void {
    try {
      this.begin()
    } catch (error) {
      this.#call.fail(error)
    }
  }

  #attempt(credentials: CredentialFields): void {
    this.#sent = credentials
    const owner = this.#owner
    const { route, upstream } = this.#facts.proxied
    const span = this.#options.traces?.upstream(this.#call.raw, route.policy.name, upstream.address.origin)
    const exchange = {
      target: this.#target,
      owner,
      fields: this.#fields(credentials, span?.context),
      span,
      instead: (status: number, raw: readonly Buffer[]) => this.#insteadOf(status, raw),
      ...(isHandshake(this.#call.raw) && {
        onUpgrade: (raw: Buffer[], upstream: Duplex): void => this.#upgraded(raw, upstream),
      }),
    }
    new Exchange(this.#facts.proxied, this.#call, exchange).start()
  }

  /** The header fields for the upstream. */
  #fields(credentials: CredentialFields, trace: TraceContext | undefined): string[] {
    const { raw, id } = this.#call
    const owner = this.#owner
    const { requestHeaders, upstream } = this.#facts.proxied
    return requestHeaders.build(raw, {
      session: owner && 'session' in owner ? owner.session : owner,
      requestId: id,
      forwardedFor: forwardedFor(raw, this.#options.addresses),
      credentials,
      trace,
      upstreamHost: upstream.address.host,
    })
  }

  #upgraded(raw: Buffer[], upstream: Duplex): void {
    const { proxied, judged } = this.#facts
    this.#learnNonce(raw)
    this.#options.traces?.upgraded(this.#call.raw, proxied.route.policy.name)
    joinWebSocket(this.#call, {
      proxied,
      judged,
      owner: this.#owner,
      answer: raw,
      upstream,
      metrics: this.#options.metrics,
    })
  }

  /** What is done with an answer other than handing it on; nearly all are handed on. */
  #insteadOf(status: number, raw: readonly Buffer[]): Instead | Promise<Instead> {
    this.#learnNonce(raw)
    if (status === 401) return this.#refused(raw)
    const index = status === 404 ? indexOf(this.#facts, this.#call) : undefined
    if (index === undefined || index === this.#target) return undefined
    this.#target = index
    return () => this.#again()
  }

  /**
   * @throws BffError `step_up_required`; by the promise `session_expired`, and what the route's rules say of the claims
   * that a refresh has brought
   */
  #refused(raw: readonly Buffer[]): Instead | Promise<Instead> {
    const owner = this.#owner
    // A token that an app has brought along is the app's to replace.
    if (!owner || !('session' in owner)) return undefined
    const challenges = challengesIn(raw)
    const wanted = challengeWith(challenges, 'insufficient_user_authentication')
    if (wanted) throw this.#options.stepUp(owner.session, wanted.params)
    if (this.#sent.length === 0 || hasBody(this.#call.raw)) return undefined

    const wantsNonce = challengeWith(challenges, 'use_dpop_nonce')?.scheme === 'dpop'
    if (wantsNonce && !this.#hasNewNonce && isBound(this.#sent) && valueOf(raw, 'dpop-nonce') !== undefined) {
      this.#hasNewNonce = true
      return () => this.#again()
    }
    if (!challengeWith(challenges, 'invalid_token')) return undefined
    if (this.#hasNewToken) {
      this.#options.credentials.refusedAgain(this.#facts.proxied.route, owner)
      return undefined
    }
    this.#hasNewToken = true
    return this.#withNewToken(owner)
  }

  async #withNewToken(owner: StreamOwner): Promise<Instead> {
    const { credentials, loginPath, now } = this.#options
    const { route } = this.#facts.proxied
    const session = await credentials.renew(route, owner, this.#sent)
    if (!session) return undefined
    // A refresh may have brought other claims: whoever is let in no more must not slip through in between.
    judgeAccess(route.policy, session, { loginPath, now: now() })
    this.#owner = { ...owner, session }
    return () => this.#again()
  }

  /** Whatever the answer is: the next proof then needs no attempt in vain (RFC 9449 §8.2). */
  #learnNonce(raw: readonly Buffer[]): void {
    if (!isBound(this.#sent)) return
    const nonce = valueOf(raw, 'dpop-nonce')
    if (nonce !== undefined) this.#options.credentials.learnNonce(this.#facts.proxied.upstream.address.origin, nonce)
  }
}

/** The peer, behind what a trusted proxy says of its own peers; anybody else's word is dropped (PX-09). */
function forwardedFor(raw: IncomingMessage, addresses: DeliveryOptions['addresses']): string {
  const peer = raw.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/i, '')
  const said = raw.headers['x-forwarded-for']
  if (said === undefined || !addresses.isTrusted(raw)) return peer ?? 'unknown'
  const chain = Array.isArray(said) ? said.join(', ') : said
  return peer === undefined ? chain : `${chain}, ${peer}`
}

/** `Authorization` and `DPoP`, where a bound token was sent. */
function isBound(sent: CredentialFields): boolean {
  return sent.length > 2
}

/** The error of a token, by a scheme of tokens (RFC 6750 §3, RFC 9449 §7.1); one in a Basic challenge means nothing. */
function challengeWith(challenges: readonly Challenge[], error: string): Challenge | undefined {
  return challenges.find(
    ({ scheme, params }) => (scheme === 'bearer' || scheme === 'dpop') && params.get('error') === error,
  )
}

/** What a development server is asked for when it does not know a view of the app: history fallback, as files have it. */
function indexOf({ proxied: { route }, judged }: DeliveryFacts, { raw }: Call): string | undefined {
  const isView = route.config.spa?.devServer !== undefined && judged.isNavigation && raw.method === 'GET'
  return isView && judged.path.path !== `${route.path}/` ? route.target(`${route.path}/`) : undefined
}

function isPromise(value: CredentialFields | Promise<CredentialFields>): value is Promise<CredentialFields> {
  return !Array.isArray(value)
}

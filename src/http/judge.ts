/**
 * Every judgment on a request, in one place and in one order; the first that fails answers:
 * framing → path → place (404) → method (405) → preflight → CSRF (403) → rate (429) → session (401, 503)
 * → access (403, step-up) → size (413).
 *
 * HTTP requests and WebSocket handshakes, endpoints and routes all pass here, judged from what the client sent and
 * not from what a router made of it. What stands behind only acts.
 */
import type { IncomingMessage } from 'node:http'
import { BffError, hasCode } from '../errors.ts'
import type { BearerToken } from '../oidc/access-token.ts'
import type { BearerTokens } from '../oidc/bearer-tokens.ts'
import type { Session } from '../session/session.ts'
import { judgeAccess } from './access.ts'
import { bearerTokenOf } from './bearer.ts'
import type { ClientAddresses } from './client-address.ts'
import type { CookieJar } from './cookies.ts'
import { isPreflight } from './cors.ts'
import { type CsrfOptions, csrfFactsOf, isNavigation, judgeCsrf } from './csrf.ts'
import { checkFraming } from './framing.ts'
import type { Policy } from './policy.ts'
import type { Limiter, Rate, RateVerdict } from './rate-limit.ts'
import { parseRequestTarget, type RequestPath } from './request-path.ts'

/** An endpoint of ours or a route of the table. */
export interface Place {
  readonly policy: Policy
}

export interface Judged<P extends Place = Place> {
  /** `login`: the place begins a sign-in for this navigation; `preflight`: it is answered and goes nowhere. */
  readonly verdict: 'pass' | 'login' | 'preflight'
  readonly place: P
  readonly path: RequestPath
  /** The session that the place may use; `null` where there is none or it is not looked at. */
  readonly session: Session | null
  /** The value of the session cookie, where exactly one well-formed one came and the place looks at sessions. */
  readonly sessionCookie: string | undefined
  /** The token that a native app sent instead, where the place takes such. */
  readonly bearer?: BearerToken | undefined
  readonly isNavigation: boolean
  /** The client's address by `trustedProxies`. */
  readonly clientAddress: string
}

/** What the judge needs of the session manager. */
export interface SessionSource {
  /** Answers at once when the session is at hand and fresh; `undefined` says nothing. */
  tryResolve(cookieValue: string, options: ResolveOptions): Session | undefined
  resolve(cookieValue: string, options: ResolveOptions): Promise<Session>
}

interface ResolveOptions {
  readonly slides: boolean
  readonly token: boolean
  readonly safeMethod: boolean
}

export interface JudgeOptions<P extends Place> {
  readonly publicUrl: URL
  /** The place for a path and method; throws when the path can be read as another place's. */
  readonly match: (path: RequestPath, method: string) => P | undefined
  readonly sessions: SessionSource
  readonly cookies: CookieJar
  /** Needed where a place takes bearer tokens. */
  readonly bearers?: Pick<BearerTokens, 'verify'> | undefined
  readonly csrf: CsrfOptions
  readonly addresses: ClientAddresses
  readonly limiter: Limiter
  readonly rateLimits: Readonly<Record<'login' | 'refresh' | 'api', Rate | undefined>>
  readonly loginPath: string
  readonly onCsrfRejection: (reason: string, policy: Policy, raw: IncomingMessage) => void
  readonly now: () => number
}

/** A request as far as it has been judged when its user is looked for. */
interface Asked<P extends Place> {
  readonly raw: IncomingMessage
  readonly context: Pick<Judged<P>, 'place' | 'path' | 'isNavigation' | 'clientAddress'>
  readonly sessionCookie: string | undefined
  /** Without a session, a sign-in begins in place of an answer. */
  readonly beginsLogin: boolean
}

const NEVER = new Set(['TRACE', 'CONNECT'])
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Judges requests; made once, holds no state of its own. */
export class Judge<P extends Place> {
  readonly #options: JudgeOptions<P>

  constructor(options: JudgeOptions<P>) {
    this.#options = options
  }

  /**
   * At once where there is nothing to wait for: a session at hand needs no promise.
   *
   * @throws BffError with the code of the first judgment that fails, or rejects with it
   */
  judge(raw: IncomingMessage, kind: 'request' | 'websocket'): Judged<P> | Promise<Judged<P>> {
    const options = this.#options
    // Node sets both on every message that a server receives.
    const method = raw.method as string
    const target = raw.url as string

    checkFraming(raw)
    // A browser's handshake names a path; the absolute form is for proxies, which do not pass handshakes on so.
    if (kind === 'websocket' && !target.startsWith('/')) throw new BffError('invalid_request', 'a handshake for a URL')
    const path = parseRequestTarget(target, options.publicUrl)
    const preflight = isPreflight(method, raw.headers)
    // A preflight asks for another request: it is that one's method that the place takes or not.
    const wantedMethod = preflight ? String(raw.headers['access-control-request-method']) : method
    const place = options.match(path, wantedMethod)
    if (!place) throw new BffError('not_found', 'no route and no endpoint has this path')
    const { policy } = place
    judgeMethod(policy, wantedMethod)

    const context = {
      place,
      path,
      isNavigation: isNavigation(raw.headers),
      clientAddress: options.addresses.of(raw),
    }
    if (preflight) return { ...context, verdict: 'preflight', session: null, sessionCookie: undefined }

    const looksAtSession = policy.kind === 'endpoint' || policy.session !== 'none'
    const sessionCookie = looksAtSession ? options.cookies.sessionOf(raw) : undefined
    if (sessionCookie !== undefined && policy.csrf === 'rule') this.#judgeCsrf(raw, method, policy, kind)
    const rating = this.#judgeRate(policy, raw, sessionCookie)

    const beginsLogin = policy.session === 'login' && kind === 'request' && method === 'GET' && context.isNavigation
    const asked: Asked<P> = { raw, context, sessionCookie, beginsLogin }
    // Only where a limit is counted elsewhere, or an app brings a token, there is something to wait for here.
    return rating || policy.bearer ? this.#judgeLate(asked, rating) : this.#judgeUser(asked)
  }

  async #judgeLate(asked: Asked<P>, rating: Promise<void> | undefined): Promise<Judged<P>> {
    await rating
    const { raw, context } = asked
    const { policy } = context.place
    const bearer = await this.#judgeBearer(policy, raw)
    if (!bearer) return this.#judgeUser(asked)
    this.#judgeRest(policy, raw, bearer)
    return { ...context, verdict: 'pass', session: null, sessionCookie: undefined, bearer }
  }

  #judgeUser(asked: Asked<P>): Judged<P> | Promise<Judged<P>> {
    const { raw, context, sessionCookie } = asked
    const { policy } = context.place
    if (policy.session === 'none' || sessionCookie === undefined) return this.#judgeSession(asked, null)
    // Polling says of itself that nobody sits there.
    const slides = policy.slides && raw.headers['sidegate-background'] !== '1'
    const options = { slides, token: policy.needsToken, safeMethod: SAFE.has(raw.method ?? '') }
    const session = this.#options.sessions.tryResolve(sessionCookie, options)
    return session ? this.#judgeSession(asked, session) : this.#findSession(asked, sessionCookie, options)
  }

  async #findSession(asked: Asked<P>, sessionCookie: string, options: ResolveOptions): Promise<Judged<P>> {
    const { policy } = asked.context.place
    let session: Session | null = null
    try {
      session = await this.#options.sessions.resolve(sessionCookie, options)
    } catch (error) {
      // Where anonymous requests are welcome a session that has ended is none; an outage is still an outage.
      if (!hasCode(error, 'session_expired')) throw error
      if (policy.session !== 'optional' && !asked.beginsLogin) throw this.#leading(error, policy)
    }
    return this.#judgeSession(asked, session)
  }

  #judgeSession({ raw, context, sessionCookie, beginsLogin }: Asked<P>, session: Session | null): Judged<P> {
    const { policy } = context.place
    if (!session && beginsLogin) return { ...context, verdict: 'login', session: null, sessionCookie }
    if (!session && needsSomebody(policy)) {
      const why = 'the request has no session cookie, or a malformed or doubled one'
      // RFC 6750 §3: without an error, since there was no token to find fault with.
      const headers = policy.bearer && { headers: { 'www-authenticate': 'Bearer' } }
      throw this.#leading(new BffError('login_required', why, headers), policy)
    }
    this.#judgeRest(policy, raw, session)
    return { ...context, verdict: 'pass', session, sessionCookie }
  }

  /** With the way to the provider at which the place's users sign in, where it says so. */
  #leading(error: BffError, { loginProvider }: Policy): BffError {
    if (loginProvider === undefined) return error
    const loginUrl = `${this.#options.loginPath}?provider=${encodeURIComponent(loginProvider)}`
    return new BffError(error.code, error.message, { headers: error.headers, members: { loginUrl }, cause: error })
  }

  #judgeRest(policy: Policy, raw: IncomingMessage, user: Session | BearerToken | null): void {
    judgeAccess(policy, user, { loginPath: this.#options.loginPath, now: this.#options.now() })
    judgeSize(policy, raw)
  }

  #judgeCsrf(raw: IncomingMessage, method: string, policy: Policy, kind: 'request' | 'websocket'): void {
    const verdict = judgeCsrf(
      csrfFactsOf(method, raw.headers),
      {
        session: policy.session,
        navigable: policy.navigable,
        isEndpoint: policy.kind === 'endpoint',
        isWebSocket: kind === 'websocket',
        isEventStream: policy.isEventStream,
        isForm: policy.isForm ?? false,
      },
      this.#options.csrf,
    )
    if (verdict.ok) return
    this.#options.onCsrfRejection(verdict.reason, policy, raw)
    throw new BffError('csrf_rejected', `CSRF check failed: ${verdict.reason}`)
  }

  #judgeRate(policy: Policy, raw: IncomingMessage, sessionCookie: string | undefined): Promise<void> | undefined {
    const kind = policy.rateLimit
    const rate = kind && this.#options.rateLimits[kind]
    if (!rate) return undefined
    const { addresses, cookies, limiter } = this.#options
    // A login has no session yet; everything else is its session's where it has one.
    const isPerSession = kind !== 'login' && sessionCookie !== undefined
    const whose = isPerSession ? cookies.refOf(sessionCookie) : addresses.limitKeyOf(raw)
    if (whose === undefined) return undefined
    const verdict = limiter.take(`${kind} ${whose}`, rate)
    if (verdict instanceof Promise) return verdict.then((late) => refuseBeyond(late, kind))
    refuseBeyond(verdict, kind)
    return undefined
  }

  /**
   * The token of a request without our cookie. With it, whatever it is worth, the request is a browser's, and its
   * `Authorization` is dropped: a page must not choose between two identities.
   */
  async #judgeBearer(policy: Policy, raw: IncomingMessage): Promise<BearerToken | undefined> {
    const { bearers, cookies } = this.#options
    if (!policy.bearer || !bearers || cookies.carriesOwnCookie(raw)) return undefined
    const token = bearerTokenOf(raw)
    return token === undefined ? undefined : await bearers.verify(token, policy.bearer)
  }
}

/** @throws BffError `rate_limited` */
function refuseBeyond({ allowed, retryAfterSeconds }: RateVerdict, kind: string): void {
  if (!allowed) throw new BffError('rate_limited', `more than the ${kind} limit`, { retryAfterSeconds })
}

/** Whether an anonymous request has to stop here. */
function needsSomebody({ session, bearer }: Policy): boolean {
  return session === 'required' || session === 'login' || (session === 'none' && bearer !== undefined)
}

function judgeMethod(policy: Policy, method: string): void {
  if (!NEVER.has(method) && (!policy.methods || policy.methods.has(method))) return
  const allow = policy.methods ? [...policy.methods].join(', ') : 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'
  throw new BffError('method_not_allowed', `${policy.name} does not take this method`, { headers: { allow } })
}

function judgeSize(policy: Policy, raw: IncomingMessage): void {
  const announced = Number(raw.headers['content-length'] ?? 0)
  if (policy.bodyLimit !== undefined && announced > policy.bodyLimit) {
    throw new BffError('payload_too_large', `a body of ${announced} bytes; ${policy.bodyLimit} are allowed`)
  }
}

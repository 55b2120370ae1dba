/** `callback`: finishes the code grant (RFC 6749 §4.1.2, OIDC Core §3.1.3), once for each login. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { decodeJwt } from 'jose'
import { BffError, hasCode } from '../errors.ts'
import { addCookie, type SetCookie } from '../http/cookies.ts'
import { readForm } from '../http/form.ts'
import type { Judged } from '../http/judge.ts'
import {
  type CurrentLogin,
  type HeldTransaction,
  openCurrent,
  openTransactions,
  sealCurrent,
} from '../http/login-cookies.ts'
import {
  codeVerifierOf,
  issuerMark,
  type LoginTransaction,
  nonceOf,
  TRANSACTION_LIFETIME_MS,
  transactionId,
} from '../oidc/login-transaction.ts'
import type { LoginResult } from '../oidc/provider.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Session } from '../session/session.ts'
import type { Audit } from '../telemetry/audit.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { LoginOptions } from './login.ts'

/** How long a doubled callback waits for the one that is at the token endpoint. */
const PATIENCE_MS = 25_000

/** Refusals of `prompt=none` that say "not now" and not "something is wrong" (OIDC Core §3.1.2.6). */
const SILENT_REFUSALS = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
])

export interface CallbackOptions extends LoginOptions {
  readonly manager: Pick<SessionManager, 'create' | 'peek' | 'end'>
  readonly audit: Audit
  readonly metrics: Metrics
}

export function registerCallback(app: FastifyInstance, options: CallbackOptions): void {
  app.get('/callback', async (request, reply) => {
    // Set by the judge on every request that reaches a handler.
    const { path } = request.judged as Judged
    return finishLogin(request, reply, new URLSearchParams(path.query), options)
  })
  const takesForm = [...options.providers.values()].some(({ config }) => config.responseMode.includes('form_post'))
  if (takesForm) {
    app.post('/callback', async (request, reply) => finishLogin(request, reply, await readForm(request), options))
  }
}

async function finishLogin(
  request: FastifyRequest,
  reply: FastifyReply,
  response: URLSearchParams,
  options: CallbackOptions,
): Promise<FastifyReply> {
  reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
  try {
    return await new Callback(request, reply, response, options).finish()
  } catch (error) {
    options.metrics.logins.inc({
      outcome: hasCode(error, 'login_failed', 'invalid_request') ? 'failed' : 'unavailable',
    })
    options.audit.record('login.failed', {
      reason: error instanceof BffError ? error.message : 'internal',
      requestId: request.id,
    })
    throw error
  }
}

/** What a login found where it met others of its browser. */
type Meeting =
  | { readonly joined: Session; readonly leader: CurrentLogin; readonly hasLed: boolean }
  | { readonly joined: undefined; readonly over: readonly CurrentLogin[] }

/** One callback request from its cookies to its redirect. */
class Callback {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #response: URLSearchParams
  readonly #options: CallbackOptions
  /** The logins that this browser has under way, oldest first. */
  readonly #held: readonly HeldTransaction[]
  /** What the last callback in this browser left. */
  readonly #current: CurrentLogin | undefined

  constructor(request: FastifyRequest, reply: FastifyReply, response: URLSearchParams, options: CallbackOptions) {
    this.#request = request
    this.#reply = reply
    this.#response = response
    this.#options = options
    const { cookies, keyRing, now } = options
    const { held, stale } = openTransactions(keyRing, cookies.transactionsOf(request.raw), now())
    this.#held = held
    this.#current = openCurrent(keyRing, cookies.currentOf(request.raw))
    for (const id of stale) this.#clearTransaction(id)
  }

  async finish(): Promise<FastifyReply> {
    const state = this.#readState()
    const transaction = this.#transactionOf(state)
    if (!transaction) return this.#answerLateReplay(state)

    this.#judgeResponseMode(transaction)
    const earlier = await this.#options.ledger.claim(state, PATIENCE_MS)
    if (earlier?.kind === 'succeeded') return this.#goTo(earlier.returnTo)
    if (earlier) throw this.#failed('this login has been used and did not succeed', transaction)

    try {
      return await this.#exchange(state, transaction)
    } catch (error) {
      // Whatever went wrong, the code may have been spent: this login is over.
      this.#clearTransaction(transactionId(state))
      await this.#options.ledger.fail(state).catch((cause: unknown) => {
        this.#request.log.warn({ err: cause }, 'a failed login could not be noted')
      })
      if (this.#isSilentRefusal(transaction)) return this.#goTo(await this.#returnToOf(state, transaction))
      throw hasCode(error, 'login_failed') ? this.#failed(error.message, transaction, error) : error
    }
  }

  /** @throws BffError `login_failed` when there is none or several (RFC 6749 §3.1, CB-08) */
  #readState(): string {
    for (const name of ['state', 'code', 'iss', 'error', 'response']) {
      if (this.#response.getAll(name).length > 1)
        throw new BffError('login_failed', `the callback has ${name} more than once`)
    }
    const jwt = this.#response.get('response')
    const state = jwt === null ? this.#response.get('state') : stateInside(jwt)
    if (!state) throw new BffError('login_failed', 'the callback has no state')
    return state
  }

  /** The transaction of this browser that has this state (RFC 6749 §10.12, CB-01). */
  #transactionOf(state: string): LoginTransaction | undefined {
    const held = this.#held.find(({ id }) => id === transactionId(state))
    if (!held) return undefined
    const expected = Buffer.from(held.state)
    const given = Buffer.from(state)
    return expected.length === given.length && timingSafeEqual(expected, given) ? held.transaction : undefined
  }

  /** Before anything is used up: what is refused here was not the answer to this login (CB-09). */
  #judgeResponseMode(transaction: LoginTransaction): void {
    const { responseMode } = this.#options.providers.get(transaction.provider)?.config ?? {}
    const isPosted = responseMode?.startsWith('form_post') ?? false
    if (isPosted !== (this.#request.method === 'POST'))
      throw this.#failed('the callback is not in the configured response mode', transaction)
  }

  /** The transaction's cookie is gone, but the browser may still hold the session that this very login made. */
  async #answerLateReplay(state: string): Promise<FastifyReply> {
    const outcome = this.#current === undefined ? undefined : await this.#options.ledger.lookUp(state)
    if (outcome?.kind === 'succeeded' && outcome.browser === this.#current?.browser) return this.#goTo(outcome.returnTo)
    throw new BffError(
      'login_failed',
      'no login of this browser has this state: it is unknown, too old, or from elsewhere',
    )
  }

  async #exchange(state: string, transaction: LoginTransaction): Promise<FastifyReply> {
    const provider = this.#options.providers.get(transaction.provider)
    if (!provider) throw new BffError('login_failed', 'the provider of this login is not configured any more')
    const returnTo = await this.#returnToOf(state, transaction)
    // No turn of the event loop between this and the exchange: a reload may give the provider another issuer in any.
    if (transaction.issuer !== undefined && transaction.issuer !== issuerMark(provider.client.issuer)) {
      throw new BffError(
        'login_failed',
        'the provider of this login has another issuer now: its code is not sent there',
      )
    }
    const result = await provider.client.exchangeCode(this.#response, {
      state,
      nonce: nonceOf(transaction),
      codeVerifier: codeVerifierOf(transaction),
      requiresIss: this.#options.providers.size > 1,
      ...(transaction.maxAgeSeconds !== undefined && { maxAgeSeconds: transaction.maxAgeSeconds }),
      ...(transaction.acrValues && { acrValues: [...transaction.acrValues] }),
    })

    const login = await this.#startSession(transaction, result).catch((error: unknown) => {
      // Nobody has these tokens, and nobody shall: the user had reached the limit, say, or the store was away.
      const { refreshToken, accessToken } = result.tokens
      if (refreshToken !== undefined) void provider.client.revoke(refreshToken, 'refresh_token')
      else void provider.client.revoke(accessToken, 'access_token')
      throw error
    })
    await this.#options.ledger.succeed(state, { browser: login.browser, returnTo })
    this.#clearTransaction(transactionId(state))
    this.#options.metrics.logins.inc({ outcome: 'succeeded' })
    return this.#goTo(returnTo)
  }

  /**
   * Gives the browser one session and ends what it had before.
   *
   * Logins that a browser has under way at once (twenty tabs) end in one session: a later one of the same user that
   * had begun before an earlier one finished joins it. It finds the earlier one by the current cookie or, while that
   * answer is still on its way, at a transaction that both callbacks bring. So every answer sets the same cookie, in
   * whatever order they arrive.
   */
  async #startSession(transaction: LoginTransaction, result: LoginResult): Promise<CurrentLogin> {
    const before = this.#current
    const joined = before && (await this.#joinable(before, transaction, result))
    if (before && joined) return this.#signIn(before, joined)

    const { manager, cookies } = this.#options
    const userAgent = this.#request.headers['user-agent']
    // Where the session cookie is `Lax` it came along, and may be another one than the last callback's.
    const replaced = [before?.cookieValue, cookies.sessionOf(this.#request.raw)].filter((value) => value !== undefined)
    const { cookieValue, session } = await manager.create({
      provider: transaction.provider,
      result,
      replaces: replaced.map((value) => cookies.refOf(value)),
      ...(userAgent !== undefined && { userAgent }),
    })
    const mine = { cookieValue, browser: before?.browser ?? randomBytes(16).toString('base64url') }
    const met = await this.#meet(mine, (leader) => this.#joinable(leader, transaction, result))
    return met.joined
      ? this.#signIn(met.leader, met.joined, met.hasLed ? [] : [mine])
      : this.#signIn(mine, session, met.over)
  }

  /**
   * Leads at every transaction that this callback brought, oldest first, or joins who leads at one already.
   *
   * At all of them, since two callbacks need not bring the same: one may be sent before the answer to another tab's
   * login has set its cookie. But the one that is sent later brings the other's own, until that has been answered.
   */
  async #meet(mine: CurrentLogin, join: (leader: CurrentLogin) => Promise<Session | undefined>): Promise<Meeting> {
    const { ledger, now } = this.#options
    const meetings = this.#held.map(({ state, transaction }) => ({
      state,
      seed: transaction.seed,
      ttlMs: Math.max(1, transaction.createdAt + TRANSACTION_LIFETIME_MS - now()),
    }))
    // Looked at before anything is led: who has led nowhere can give its session up, for nobody can have joined it.
    for (const meeting of meetings.length > 1 ? meetings : []) {
      const leader = await ledger.leaderAt(meeting)
      const joined = leader && (await join(leader))
      if (joined) return { leader, joined, hasLed: false }
    }
    const led: typeof meetings = []
    const over: CurrentLogin[] = []
    for (const meeting of meetings) {
      const leader = await ledger.lead(meeting, mine, meeting.ttlMs)
      const joined = leader && (await join(leader))
      if (joined) {
        for (const one of led) await ledger.takeLead(one, leader, one.ttlMs)
        return { leader, joined, hasLed: led.length > 0 }
      }
      if (leader) {
        await ledger.takeLead(meeting, mine, meeting.ttlMs)
        over.push(leader)
      }
      led.push(meeting)
    }
    return { joined: undefined, over }
  }

  /** The session of an earlier login that this one can share; `undefined` when there is none. */
  async #joinable(
    earlier: CurrentLogin,
    transaction: LoginTransaction,
    { claims }: LoginResult,
  ): Promise<Session | undefined> {
    const asksForMore = transaction.maxAgeSeconds !== undefined || transaction.acrValues !== undefined
    const session = asksForMore ? undefined : await this.#options.manager.peek(earlier.cookieValue)
    // A name may have stood for another issuer a moment ago, where the same `sub` is somebody else.
    const isSameUser =
      session?.provider === transaction.provider && session.issuer === claims['iss'] && session.sub === claims['sub']
    return session && isSameUser && transaction.createdAt < session.createdAt ? session : undefined
  }

  /** Sets the cookies, and ends the sessions that this browser is not to have any more. */
  async #signIn(
    login: CurrentLogin,
    session: Session,
    superseded: readonly (CurrentLogin | undefined)[] = [],
  ): Promise<CurrentLogin> {
    const { manager, cookies, keyRing, now, audit } = this.#options
    for (const one of superseded) if (one) await manager.end(one.cookieValue, 'replaced')
    this.#setCookie(cookies.setSession(login.cookieValue, session.expiresAt, now()))
    this.#setCookie(cookies.setCurrent(sealCurrent(keyRing, login), session.expiresAt, now()))
    audit.record('login.succeeded', {
      sessionRef: session.ref,
      sub: session.sub,
      provider: session.provider,
      requestId: this.#request.id,
    })
    return login
  }

  async #returnToOf(state: string, transaction: LoginTransaction): Promise<string> {
    const returnTo = transaction.returnTo ?? (await this.#options.ledger.keptReturnTo(state)) ?? '/'
    return transaction.isPopup ? `${this.#options.basePath}/login/done` : returnTo
  }

  #isSilentRefusal(transaction: LoginTransaction): boolean {
    return transaction.isSilent === true && SILENT_REFUSALS.has(this.#response.get('error') ?? '')
  }

  #goTo(returnTo: string): FastifyReply {
    return this.#reply.redirect(returnTo, 303)
  }

  #clearTransaction(id: string): void {
    this.#setCookie(this.#options.cookies.clearTransaction(id))
  }

  #setCookie(cookie: SetCookie): void {
    addCookie(this.#reply, cookie)
  }

  /** With a way to sign in again that ends where this login wanted to go; nothing restarts by itself (CB-07). */
  #failed(detail: string, transaction: LoginTransaction, cause?: BffError): BffError {
    const query = new URLSearchParams()
    if (transaction.returnTo !== undefined && transaction.returnTo !== '/') query.set('returnTo', transaction.returnTo)
    const loginUrl = `${this.#options.basePath}/login${query.size > 0 ? `?${query}` : ''}`
    return new BffError('login_failed', detail, { members: { loginUrl }, ...(cause && { cause }) })
  }
}

/** Only to find the transaction: the provider's keys decide later whether the response counts (JARM §2.4). */
function stateInside(jwt: string): string | undefined {
  try {
    const { state } = decodeJwt(jwt)
    return typeof state === 'string' ? state : undefined
  } catch {
    return undefined
  }
}

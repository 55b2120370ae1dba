/** The life of sessions: create, resolve, refresh, list, end. Everything else asks here. */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from '../config/schema.ts'
import { BffError, hasCode } from '../errors.ts'
import type { LoginResult } from '../oidc/provider.ts'
import type { Audit } from '../telemetry/audit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { Activity, type SessionUse } from './activity.ts'
import { SessionCache } from './cache.ts'
import { type SessionListener, SessionWatch } from './events.ts'
import type { KeyRing } from './key-ring.ts'
import { type OpenedSession, SessionReader } from './reader.ts'
import { Refresher, type RefreshProvider, type RefreshResult } from './refresh.ts'
import { type ListedSession, SessionRoster, type SessionTarget } from './roster.ts'
import { RouteTokens } from './route-tokens.ts'
import { type EndReason, endReasons, type Session, sessionRef } from './session.ts'
import { SessionIndex } from './session-index.ts'
import type { DeleteConditions, ReplaceOutcome, SessionStore, StoredSession, StoreEvent } from './store.ts'

/** A request waits for a refresh so long at most. */
const PATIENCE_MS = 5_000
const LEASE_MS = 10_000
const MAX_USER_AGENT = 256

export type SessionSettings = Pick<
  Config['session'],
  'idleTimeout' | 'maxLifetime' | 'refreshMargin' | 'limit' | 'outageGrace' | 'cache'
>

export interface SessionManagerOptions {
  readonly store: SessionStore
  readonly keyRing: KeyRing
  readonly providers: ReadonlyMap<string, RefreshProvider>
  readonly settings: SessionSettings
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'refreshes' | 'sessionsStarted' | 'sessionsEnded' | 'sessionCache'>
  readonly audit: Pick<Audit, 'record'>
  readonly tracing?: Pick<Tracing, 'during'> | undefined
  readonly now: () => number
  /** Reads the key file again and updates the ring. */
  readonly onUnknownKey?: () => Promise<void>
  /** For tests: the lease of the refresh lock, and how long a request waits for a refresh. */
  readonly leaseMs?: number
  readonly patienceMs?: number
}

export interface NewLogin {
  /** The name under `providers`, or `default`. */
  readonly provider: string
  readonly result: LoginResult
  readonly userAgent?: string
  /** Refs of sessions that this login takes the place of: they do not count against the limit and end as `replaced`. */
  readonly replaces?: readonly string[]
}

export interface ResolveOptions {
  /** Whether this request keeps the session alive. */
  readonly slides: boolean
  /** Whether it needs a usable access token; a stale one is refreshed first. */
  readonly token: boolean
  /** Whether it may go on in an outage of the store, within `outageGrace`. */
  readonly safeMethod: boolean
}

export class SessionManager {
  /** For one-time notes. */
  readonly store: SessionStore
  /** Tokens for routes with a rule of their own. */
  readonly routeTokens: RouteTokens
  readonly #options: SessionManagerOptions
  /** One object for all parts that read it, since its values may change while running. */
  readonly #settings: SessionSettings
  readonly #now: () => number
  readonly #cache: SessionCache
  readonly #activity: Activity
  readonly #reader: SessionReader
  readonly #index: SessionIndex
  readonly #roster: SessionRoster
  readonly #refresher: Refresher
  readonly #watch: SessionWatch
  /** The live use of every session handed out; it goes when the session object goes. */
  readonly #uses = new WeakMap<Session, SessionUse>()
  readonly #unsubscribe: readonly (() => void)[]
  /** Bound once: finding a counter by its label costs more than counting. */
  readonly #countHit: { inc(): void } | undefined
  /** Monotonic; when the store began to fail. */
  #failingSince: number | undefined

  constructor(options: SessionManagerOptions) {
    const { store, keyRing, log, now } = options
    const settings = { ...options.settings }
    this.#options = options
    this.store = store
    this.#settings = settings
    this.#now = now
    this.#cache = new SessionCache({ ...settings.cache, keepsDoubtful: settings.outageGrace > 0 })
    this.#activity = new Activity({
      store,
      get idleTimeout() {
        return settings.idleTimeout
      },
      onGone: (ref) => this.#forget(ref),
      log,
    })
    this.#reader = new SessionReader({
      store,
      keyRing,
      cache: this.#cache,
      activity: this.#activity,
      log,
      ...(options.onUnknownKey && { onUnknownKey: options.onUnknownKey }),
    })
    this.#countHit = options.metrics?.sessionCache.labels('hit')
    this.#index = new SessionIndex({ store, keyRing, now })
    this.#roster = new SessionRoster({
      store,
      index: this.#index,
      settings,
      end: (ref, reason, onlyIf) => this.#end(ref, reason, onlyIf),
      now,
    })
    this.#refresher = new Refresher({
      store,
      providers: options.providers,
      read: (cookieValue, ref) => this.#reader.read(cookieValue, ref),
      write: (cookieValue, current, next, owner) => this.#write(cookieValue, current, next, owner),
      end: (ref, reason, onlyIf, sub) => this.#end(ref, reason, onlyIf, sub),
      get refreshMargin() {
        return settings.refreshMargin
      },
      leaseMs: options.leaseMs ?? LEASE_MS,
      log,
      ...(options.metrics && { metrics: options.metrics }),
      audit: options.audit,
      tracing: options.tracing,
      now,
    })
    this.routeTokens = new RouteTokens({ refresher: this.#refresher, providers: options.providers, log, now })
    this.#watch = new SessionWatch({
      store,
      get idleTimeout() {
        return settings.idleTimeout
      },
      end: (ref, reason, lastSeenAt) => this.#end(ref, reason, reason === 'idle_timeout' ? { lastSeenAt } : {}),
      now,
      log,
    })
    this.#unsubscribe = [store.onEvent((event) => this.#onEvent(event)), store.onDoubt(() => this.#onDoubt())]
  }

  /** Takes changed settings while running, but for those of the cache and of outages, which are made once. */
  update({ idleTimeout, maxLifetime, refreshMargin, limit }: SessionSettings): void {
    Object.assign(this.#settings, { idleTimeout, maxLifetime, refreshMargin, limit })
    this.#activity.retime()
  }

  /**
   * Starts a session under a new id (SC-07, SC-08). The index entries come first, and are looked at again once it is
   * there, so that a back-channel logout misses no session (LO-10).
   *
   * @throws BffError `store_unavailable`; `forbidden` when the user has as many sessions as `limit` allows;
   * `login_failed` when the user's sessions were ended meanwhile
   */
  async create(login: NewLogin): Promise<{ cookieValue: string; session: Session }> {
    const cookieValue = randomBytes(32).toString('base64url')
    const draft = this.#draft(cookieValue, login)
    const indexed = this.#index.entriesFor(draft)
    const session: Session = { ...draft, indexed }
    const { ref, createdAt, expiresAt } = session
    await this.#index.add(indexed, expiresAt)
    await this.#roster.refuseBeyondLimit(session, login.replaces ?? [])
    const ticket = this.#cache.begin(ref)
    const use = this.#activity.useOf(ref, expiresAt, createdAt)
    try {
      const sealed = this.#options.keyRing.sealSession(cookieValue, ref, session.version, JSON.stringify(session))
      const record = { ...sealed, version: session.version, lastSeenAt: createdAt, createdAt }
      await this.store.create(ref, record, this.#activity.storeExpiry(createdAt, expiresAt))
    } catch (error) {
      this.#cache.finish(ticket)
      throw error
    }
    this.#cache.finish(ticket, { session, use })
    this.#uses.set(session, use)
    this.#options.metrics?.sessionsStarted.inc()
    if (!(await this.#index.has(indexed))) {
      await this.#end(ref, 'unknown')
      throw new BffError('login_failed', 'the sessions of this user were ended while one was begun')
    }
    for (const replaced of login.replaces ?? []) await this.endByRef(replaced, 'replaced')
    await this.#roster.endBeyondLimit(session)
    return { cookieValue, session }
  }

  /** `resolve` for the hot path: a cached session with a fresh token at once; `undefined` says nothing. */
  tryResolve(cookieValue: string, options: ResolveOptions): Session | undefined {
    const entry = this.#cache.getByCookie(cookieValue)
    if (entry === undefined || !this.store.inStep) return undefined
    const { session, use } = entry
    const now = this.#now()
    if (now >= session.expiresAt || now >= use.lastSeenAt + this.#settings.idleTimeout) return undefined
    if (options.token && !this.#hasFreshToken(session, now)) return undefined
    if (options.slides) this.#activity.note(use, now)
    this.#countHit?.inc()
    return session
  }

  /**
   * The session behind a cookie, with a usable access token where one is asked for.
   *
   * @throws BffError `session_expired` when there is none; `store_unavailable`, `provider_unavailable` when that cannot
   * be told or no token can be had now. Neither ends the session.
   */
  async resolve(cookieValue: string, options: ResolveOptions): Promise<Session> {
    const cached = this.tryResolve(cookieValue, options)
    if (cached) return cached
    const opened = await this.#find(cookieValue, options)
    if (!opened) throw expired()
    if (options.slides) this.#activity.note(opened.use, this.#now())
    if (!options.token) return this.#handOut(opened)
    return this.#handOut(await this.#withToken(cookieValue, opened, options))
  }

  /** The session as it is: never slides it, never refreshes. `undefined` when there is none. */
  async peek(cookieValue: string): Promise<Session | undefined> {
    const cached = this.tryResolve(cookieValue, { slides: false, token: false, safeMethod: false })
    if (cached) return cached
    const opened = await this.#load(cookieValue)
    return opened && this.#handOut(opened)
  }

  /** When the session ends unless it is used, by what this process knows. */
  idleExpiresAt(session: Session): number {
    const use = this.#uses.get(session) ?? this.#cache.get(session.ref)?.use
    return (use?.lastSeenAt ?? session.createdAt) + this.#settings.idleTimeout
  }

  /**
   * Refreshes the tokens whether they are stale or not; a refresh under way is joined.
   *
   * @throws BffError `session_expired`, `store_unavailable`, `provider_unavailable` (the session stays)
   */
  async refreshNow(cookieValue: string): Promise<Session> {
    const opened = await this.#load(cookieValue)
    if (!opened) throw expired()
    const { session } = opened
    if (session.tokens.refreshToken === undefined) {
      if (this.#now() >= session.tokens.accessTokenExpiresAt) throw expired('there is no refresh token')
      return this.#handOut(opened)
    }
    const waitMs = this.#refresher.setbackMs(session)
    if (waitMs > 0 && this.#now() >= session.tokens.accessTokenExpiresAt) throw unavailable(Math.ceil(waitMs / 1_000))
    const result = await this.#patiently(this.#refresher.refresh(cookieValue, session, true))
    return this.#handOut(this.#current(result))
  }

  /**
   * The session with another access token than the one that an API has refused before its time. Whoever comes second
   * gets what the first one got; `undefined` where the session cannot have another.
   *
   * @throws BffError `session_expired`, `store_unavailable`, `provider_unavailable` (the session stays)
   */
  async replaceToken(cookieValue: string, refused: string): Promise<Session | undefined> {
    const opened = await this.#load(cookieValue)
    if (!opened) throw expired()
    const { session } = opened
    if (session.tokens.accessToken !== refused) return this.#handOut(opened)
    if (session.tokens.refreshToken === undefined) return undefined
    const waitMs = this.#refresher.setbackMs(session)
    if (waitMs > 0) throw unavailable(Math.ceil(waitMs / 1_000))
    const current = this.#current(await this.#patiently(this.#refresher.refresh(cookieValue, session, true)))
    // Some providers answer with the token that they still take for good.
    return current.session.tokens.accessToken === refused ? undefined : this.#handOut(current)
  }

  /**
   * Ends the session of a cookie, wherever it is open.
   *
   * @returns its last record, for the logout at the provider; `undefined` when there was none that could be opened
   */
  async end(cookieValue: string, reason: EndReason): Promise<Session | undefined> {
    const ref = sessionRef(cookieValue)
    const stored = await this.#delete(ref, reason)
    let opened: OpenedSession | undefined
    try {
      opened = stored && (await this.#reader.open(cookieValue, ref, stored))
    } finally {
      if (stored) this.#recordEnd(ref, reason, opened?.session.sub)
    }
    if (opened?.session.indexed) {
      // What stays behind points nowhere, and goes at the session's absolute end.
      await this.#index.remove(opened.session.indexed).catch((error: unknown) => {
        this.#options.log.debug({ err: error, sessionRef: ref.slice(0, 16) }, 'index entries were left behind')
      })
    }
    return opened?.session
  }

  /** Whether something was there. Its tokens cannot be revoked: without the cookie nothing opens them. */
  async endByRef(ref: string, reason: EndReason): Promise<boolean> {
    return this.#end(ref, reason)
  }

  /** Ends all sessions of one session at the provider (`sid`); resolves how many there were. */
  endByProviderSession(issuer: string, sid: string, reason: EndReason): Promise<number> {
    return this.#roster.endByProviderSession(issuer, sid, reason)
  }

  /** @param begunBefore epoch ms: later sessions stay. Without it, all of the user's sessions end. */
  endBySubject(issuer: string, sub: string, reason: EndReason, begunBefore?: number): Promise<number> {
    return this.#roster.endBySubject(issuer, sub, reason, begunBefore)
  }

  /** Ends every session begun before now; resolves how many. */
  endAll(reason: EndReason): Promise<number> {
    return this.#roster.endAll(reason)
  }

  /** All sessions of this session's user, itself included. */
  list(session: Pick<Session, 'issuer' | 'sub'>): Promise<ListedSession[]> {
    return this.#roster.list(session)
  }

  /** The sessions an operator asks for; a ref may be cut short, as logs show it. */
  find(target: SessionTarget): Promise<ListedSession[]> {
    return this.#roster.find(target)
  }

  /**
   * Tells what happens to a session, on whatever instance, until the function returned is called or it has ended.
   *
   * @param expiresAt its absolute end, where the caller has the session at hand
   */
  onSessionEvent(ref: string, listener: SessionListener, expiresAt?: number): () => void {
    const cached = this.#cache.get(ref)
    return this.#watch.on(ref, listener, {
      expiresAt: expiresAt ?? cached?.session.expiresAt ?? this.#now() + this.#settings.maxLifetime,
      lastSeenAt: cached?.use.lastSeenAt ?? this.#now(),
    })
  }

  /** Writes what is known of sessions' use and not yet in the store. */
  flush(): Promise<void> {
    return this.#activity.flush()
  }

  /** Lets refreshes that are under way be stored, then writes what is left. The store is its owner's to close. */
  async close(): Promise<void> {
    await this.#refresher.close()
    this.#watch.close()
    await this.#activity.close()
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
  }

  #draft(cookieValue: string, { provider, result, userAgent }: NewLogin): Omit<Session, 'indexed'> {
    const { tokens, issuer, claims, userinfo, dpopKey } = result
    const { sub, iss, sid } = claims
    if (typeof sub !== 'string') throw new BffError('login_failed', 'the ID token names nobody')
    const createdAt = this.#now()
    return {
      ref: sessionRef(cookieValue),
      version: 1,
      provider,
      issuer: typeof iss === 'string' ? iss : issuer,
      configuredIssuer: issuer,
      sub,
      ...(typeof sid === 'string' && { providerSid: sid }),
      createdAt,
      expiresAt: createdAt + this.#settings.maxLifetime,
      claims,
      ...(userinfo && { userinfo }),
      tokens,
      ...(dpopKey && { dpopKey }),
      ...(userAgent !== undefined && { userAgent: userAgent.slice(0, MAX_USER_AGENT) }),
    }
  }

  #hasFreshToken(session: Session, now: number): boolean {
    return now < session.tokens.accessTokenExpiresAt && !this.#refresher.needsRefresh(session, now)
  }

  /** From the store, or in an outage of it, for a while, from what is left in the cache. */
  async #find(cookieValue: string, options: ResolveOptions): Promise<OpenedSession | undefined> {
    try {
      const opened = await this.#load(cookieValue)
      this.#failingSince = undefined
      return opened
    } catch (error) {
      if (!hasCode(error, 'store_unavailable')) throw error
      const kept = options.safeMethod ? this.#keptThroughOutage(sessionRef(cookieValue)) : undefined
      if (!kept) throw error
      this.#options.metrics?.sessionCache.inc({ outcome: 'grace' })
      return kept
    }
  }

  async #load(cookieValue: string): Promise<OpenedSession | undefined> {
    const ref = sessionRef(cookieValue)
    this.#options.metrics?.sessionCache.inc({ outcome: this.store.inStep ? 'miss' : 'bypass' })
    const opened = await this.#reader.readShared(cookieValue, ref)
    return opened && (await this.#alive(cookieValue, opened))
  }

  /** A session whose time has come ends here, unless it was used elsewhere in the same moment. */
  async #alive(cookieValue: string, opened: OpenedSession): Promise<OpenedSession | undefined> {
    const { session, use } = opened
    const now = this.#now()
    if (now >= session.expiresAt) {
      await this.#end(session.ref, 'absolute_timeout', {}, session.sub)
      return undefined
    }
    if (now < use.lastSeenAt + this.#settings.idleTimeout) return opened
    if (await this.#end(session.ref, 'idle_timeout', { lastSeenAt: use.lastSeenAt }, session.sub)) return undefined
    const again = await this.#reader.read(cookieValue, session.ref)
    return again && this.#now() < again.use.lastSeenAt + this.#settings.idleTimeout ? again : undefined
  }

  #keptThroughOutage(ref: string): OpenedSession | undefined {
    const { outageGrace, cache, idleTimeout } = this.#settings
    if (outageGrace === 0) return undefined
    this.#failingSince ??= performance.now()
    if (performance.now() - this.#failingSince > outageGrace) return undefined
    const entry = this.#cache.getDoubtful(ref, cache.ttl + outageGrace)
    const now = this.#now()
    if (!entry || now >= entry.session.expiresAt || now >= entry.use.lastSeenAt + idleTimeout) return undefined
    return now < entry.session.tokens.accessTokenExpiresAt ? entry : undefined
  }

  async #withToken(cookieValue: string, opened: OpenedSession, options: ResolveOptions): Promise<OpenedSession> {
    const { session } = opened
    const isUsable = () => this.#now() < session.tokens.accessTokenExpiresAt
    if (!this.#refresher.needsRefresh(session)) {
      if (isUsable()) return opened
      throw expired('the access token has expired and there is no refresh token')
    }
    const waitMs = this.#refresher.setbackMs(session)
    if (waitMs > 0) {
      if (isUsable()) return opened
      throw unavailable(Math.ceil(waitMs / 1_000))
    }
    const hasFailed = this.#refresher.hasFailed(session.ref)
    const flight = this.#refresher.refresh(cookieValue, session)
    // The last attempt was in vain: this one is made, but whoever can do without does not wait for it.
    if (hasFailed && isUsable()) return opened
    try {
      const result = await this.#patiently(flight)
      if (result.kind === 'unavailable' && isUsable()) return opened
      const current = this.#current(result)
      if (this.#now() >= current.session.expiresAt) throw expired('its end came while its tokens were refreshed')
      if (this.#now() < current.session.tokens.accessTokenExpiresAt) return current
      throw unavailable(1)
    } catch (error) {
      const goesOn = hasCode(error, 'store_unavailable') && options.safeMethod && this.#keptThroughOutage(session.ref)
      if (goesOn && isUsable()) return opened
      throw error
    }
  }

  /** The flight goes on; this request does not wait for it for ever. */
  async #patiently(flight: Promise<RefreshResult>): Promise<RefreshResult> {
    const aborted = new AbortController()
    const patience = delay(this.#options.patienceMs ?? PATIENCE_MS, undefined, { signal: aborted.signal }).then(
      (): RefreshResult => ({ kind: 'unavailable', retryAfterSeconds: 1 }),
    )
    patience.catch(() => {}) // aborted, once the flight has landed
    try {
      return await Promise.race([flight, patience])
    } finally {
      aborted.abort()
    }
  }

  #current(result: RefreshResult): OpenedSession {
    if (result.kind === 'current') return result.opened
    throw result.kind === 'ended' ? expired() : unavailable(result.retryAfterSeconds)
  }

  #handOut(opened: OpenedSession): Session {
    this.#uses.set(opened.session, opened.use)
    return opened.session
  }

  async #write(cookieValue: string, current: OpenedSession, next: Session, owner: string): Promise<ReplaceOutcome> {
    const { ref, expiresAt, createdAt } = next
    // After a rotation the entries move to the new key with the session, so that look-ups find it when the old one goes.
    const isIndexed = this.#index.isCurrent(next)
    const session: Session = isIndexed ? next : { ...next, indexed: this.#index.entriesFor(next) }
    if (!isIndexed && session.indexed) await this.#index.add(session.indexed, expiresAt)
    const ticket = this.#cache.begin(ref)
    let isWritten = false
    try {
      const sealed = this.#options.keyRing.sealSession(cookieValue, ref, session.version, JSON.stringify(session))
      const { lastSeenAt } = current.use
      const outcome = await this.store.replace(
        ref,
        { ...sealed, version: session.version, lastSeenAt, createdAt },
        this.#activity.storeExpiry(lastSeenAt, expiresAt),
        {
          expectedVersion: current.session.version,
          owner,
          announce: session.tokens.accessToken === current.session.tokens.accessToken ? 'updated' : 'refreshed',
        },
      )
      isWritten = outcome === 'replaced'
      return outcome
    } finally {
      this.#cache.finish(ticket, isWritten ? { session, use: current.use } : undefined)
    }
  }

  async #end(ref: string, reason: EndReason, onlyIf?: DeleteConditions, sub?: string): Promise<boolean> {
    const stored = await this.#delete(ref, reason, onlyIf)
    if (stored) this.#recordEnd(ref, reason, sub)
    return stored !== undefined
  }

  async #delete(ref: string, reason: EndReason, onlyIf?: DeleteConditions): Promise<StoredSession | undefined> {
    const stored = await this.store.delete(ref, reason, onlyIf)
    if (!stored) return undefined
    this.#forget(ref)
    this.#watch.ended(ref, reason)
    this.#options.metrics?.sessionsEnded.inc({ reason })
    return stored
  }

  /** @param sub the user, where the session could be opened: without its cookie nobody knows */
  #recordEnd(ref: string, reason: EndReason, sub: string | undefined): void {
    this.#options.audit.record('session.ended', { sessionRef: ref, sub, reason })
  }

  #forget(ref: string): void {
    this.#cache.drop(ref)
    this.#reader.forget(ref)
    this.#activity.forget(ref)
  }

  #onEvent(event: StoreEvent): void {
    this.#refresher.onEvent(event)
    if (event.type === 'ended') {
      this.#forget(event.ref)
      this.#watch.ended(event.ref, reasonOf(event.reason))
    } else if (event.type !== 'released') {
      this.#cache.dropBelow(event.ref, event.version)
      this.#reader.forget(event.ref)
      if (event.type === 'refreshed') this.#watch.refreshed(event.ref, event.version)
    }
  }

  #onDoubt(): void {
    this.#cache.doubt()
    this.#refresher.onDoubt()
    void this.#watch.look()
  }
}

const reasons: ReadonlySet<string> = new Set(endReasons)

/** An instance of another version may have reasons that this one has not. */
function reasonOf(text: string): EndReason {
  return reasons.has(text) ? (text as EndReason) : 'unknown' // just looked up
}

function expired(detail = 'there is no session for this cookie'): BffError {
  return new BffError('session_expired', detail)
}

function unavailable(retryAfterSeconds: number): BffError {
  return new BffError('provider_unavailable', 'the tokens of the session could not be refreshed', { retryAfterSeconds })
}

/** Refreshing the tokens of a session: once, whoever asks and however often. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { hasCode } from '../errors.ts'
import type { OidcProvider, RefreshOutcome } from '../oidc/provider.ts'
import type { Audit } from '../telemetry/audit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import type { OpenedSession } from './reader.ts'
import { type EndReason, type Session, providerOf } from './session.ts'
import { Slots } from './slots.ts'
import type { DeleteConditions, ReplaceOutcome, SessionStore, StoreEvent } from './store.ts'

/** At most so many grants at once: a storm of sessions that expire together must not knock the provider over (R18). */
const GRANTS_AT_ONCE = 50
const GRANT_MS = 30_000
/** The provider bounds its grant itself; this is for one that does not keep its word. */
const GRANT_OVERDUE_MS = 35_000
/** New tokens are held in memory for so long while the store does not take them (R10). */
const STORE_PATIENCE_MS = 5_000
/** Longer than a grant, a lease and the writing of its result. */
const FLIGHT_MS = 50_000
/** How often a waiter looks while events may not arrive. */
const LOOK_WITHOUT_EVENTS_MS = 1_000
/** After a failure, while the old token is good, the next attempt is made so much later. */
const SETBACK_MS = 2_000
const LONGEST_RETRY_AFTER_S = 60
/** After the answer was lost twice: until the next attempt, doubling. */
const DOUBT_MS = 10_000
const LONGEST_DOUBT_MS = 60_000

/** `current`: the session with tokens to go on with. `ended`: there is none any more. */
export type RefreshResult =
  | { readonly kind: 'current'; readonly opened: OpenedSession }
  | { readonly kind: 'ended' }
  | { readonly kind: 'unavailable'; readonly retryAfterSeconds: number }

export type RefreshProvider = Pick<OidcProvider, 'refresh' | 'revoke' | 'issuer'> &
  Partial<Pick<OidcProvider, 'routeToken' | 'ready'>>

export interface RefresherOptions {
  readonly store: Pick<SessionStore, 'acquire' | 'renew' | 'release' | 'inStep'>
  readonly providers: ReadonlyMap<string, RefreshProvider>
  /** Reads past the cache; `undefined` when there is no such session. */
  readonly read: (cookieValue: string, ref: string) => Promise<OpenedSession | undefined>
  /** Seals and writes the next version, by compare-and-set. */
  readonly write: (cookieValue: string, current: OpenedSession, next: Session, owner: string) => Promise<ReplaceOutcome>
  readonly end: (ref: string, reason: EndReason, onlyIf: DeleteConditions, sub: string) => Promise<boolean>
  readonly refreshMargin: number
  /** Of the lock; its holder renews it every third of it. */
  readonly leaseMs: number
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'refreshes'>
  readonly audit: Pick<Audit, 'record'>
  readonly tracing?: Pick<Tracing, 'during'> | undefined
  readonly now: () => number
}

type Refreshed = Extract<RefreshOutcome, { kind: 'refreshed' }>

/** What became of a write by compare-and-set. */
export type Written =
  { readonly kind: 'written' | 'overtaken' | 'blocked'; readonly opened: OpenedSession } | { readonly kind: 'gone' }

interface Setback {
  readonly retryAt: number
  /** The server said when to come again: it is not asked before, whatever the state of the token. */
  readonly isOrdered: boolean
}

/** The refresh lock of one session, in our hands. */
export interface Hold {
  readonly cookieValue: string
  readonly ref: string
  readonly owner: string
}

/** Work at the provider that one of all processes does at a time for one session, because it may spend its refresh token. */
export interface ExclusiveTask {
  /** Whether the session shows that it has been done, here or elsewhere. */
  readonly isDone: (session: Session) => boolean
  /** Called where it turned out to be done. */
  readonly onDone?: (session: Session) => void
  readonly work: (hold: Hold, current: OpenedSession) => Promise<RefreshResult>
}

/** When the access token is to be replaced, in epoch ms. */
export function refreshDueAt(session: Session, marginMs: number): number {
  const { accessTokenExpiresAt } = session.tokens
  const lifetime =
    session.refreshedAt === undefined ? Number.POSITIVE_INFINITY : accessTokenExpiresAt - session.refreshedAt
  // A provider whose tokens live no longer than the margin would otherwise be asked again with every request.
  return accessTokenExpiresAt - (lifetime <= marginMs ? lifetime / 2 : marginMs)
}

/**
 * A refresh token may be good for one use only, and using it twice may cost the user every session (RFC 9700 §4.14.2).
 * So: in one process, callers join the flight that is under way. Between processes, who has the lock goes, and the
 * others are woken by an event. Who has got the lock reads the session again first, since the work may have been done
 * while it waited. The result is written by compare-and-set, and only while nobody else has the lock: a holder that
 * was stopped for longer than its lease writes nothing. The flight belongs to nobody's request: callers stop waiting,
 * the flight goes on.
 */
export class Refresher {
  readonly #options: RefresherOptions
  readonly #slots = new Slots(GRANTS_AT_ONCE)
  readonly #flights = new Map<string, Promise<RefreshResult>>()
  readonly #waiting = new Map<string, Set<(event?: StoreEvent) => void>>()
  readonly #setbacks = new LRUCache<string, Setback>({ max: 10_000 })
  #isClosing = false

  constructor(options: RefresherOptions) {
    this.#options = options
  }

  needsRefresh(session: Session, now = this.#options.now()): boolean {
    return session.tokens.refreshToken !== undefined && now >= refreshDueAt(session, this.#options.refreshMargin)
  }

  /** ms until the provider may be asked again for this session; 0 when now. */
  setbackMs(session: Session): number {
    const now = this.#options.now()
    const hasExpired = now >= session.tokens.accessTokenExpiresAt
    const setback = this.#setbacks.get(session.ref)
    const until = setback && (setback.isOrdered || !hasExpired) ? setback.retryAt : 0
    return Math.max(0, until - now, doubtEndsAt(session) - now)
  }

  /** Whether the last attempt failed: then nobody waits for the next one who can do without. */
  hasFailed(ref: string): boolean {
    return this.#setbacks.has(ref)
  }

  /**
   * Starts or joins the refresh of a session. Rejects with BffError `store_unavailable`, never for the provider's sake.
   *
   * @param seen what the caller has; newer tokens than these are a result without asking the provider
   * @param isForced ask the provider even if these tokens are good
   */
  refresh(cookieValue: string, seen: Session, isForced = false): Promise<RefreshResult> {
    const isJoining = this.#flights.has(seen.ref)
    if (isJoining) this.#options.metrics?.refreshes.inc({ outcome: 'joined' })
    const { tracing } = this.#options
    const start = () => this.#start(cookieValue, seen, isForced)
    return tracing ? tracing.during('refresh', { 'sidegate.refresh.joined': isJoining }, start) : start()
  }

  #start(cookieValue: string, seen: Session, isForced: boolean): Promise<RefreshResult> {
    return this.exclusively(seen.ref, cookieValue, seen, {
      // A new refresh token alone may be the work of a route's token.
      isDone: (session) =>
        isForced
          ? session.tokens.accessToken !== seen.tokens.accessToken
          : haveNewTokens(session, seen) && !this.needsRefresh(session),
      onDone: (session) => this.#countJoined(session),
      work: async (hold, current) => {
        if (current.session.tokens.refreshToken === undefined) return { kind: 'current', opened: current }
        return this.#grant(hold, current)
      },
    })
  }

  /**
   * Starts a task under the lock of a session, or joins the same one under way. Rejects with BffError
   * `store_unavailable`.
   *
   * @param flightKey what is the same task: it begins with the ref
   */
  exclusively(flightKey: string, cookieValue: string, seen: Session, task: ExclusiveTask): Promise<RefreshResult> {
    const underWay = this.#flights.get(flightKey)
    if (underWay) return underWay
    const flight = this.#fly(cookieValue, seen, task).finally(() => this.#flights.delete(flightKey))
    this.#flights.set(flightKey, flight)
    // Whoever started it may be gone when it fails; those who wait get the failure all the same.
    flight.catch(() => {})
    return flight
  }

  /** Wakes who waits for this session in another process. */
  onEvent(event: StoreEvent): void {
    if (!('ref' in event) || event.type === 'updated') return
    for (const wake of this.#waiting.get(event.ref) ?? []) wake(event)
  }

  /** Events may have been missed: everyone who waits looks again. */
  onDoubt(): void {
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake()
  }

  /** Waits for the grants under way; what only waits for another process gives up. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.onDoubt()
    await Promise.allSettled(this.#flights.values())
  }

  async #fly(cookieValue: string, seen: Session, task: ExclusiveTask): Promise<RefreshResult> {
    const { ref } = seen
    const hold = { cookieValue, ref, owner: randomUUID() }
    const startedAt = performance.now()
    while (performance.now() - startedAt < FLIGHT_MS && !this.#isClosing) {
      const { promise: woken, resolve } = Promise.withResolvers<StoreEvent | undefined>()
      // Before the look at the lock, so that no event falls between the two.
      const stopWaiting = this.#waitFor(ref, resolve)
      let event: StoreEvent | undefined
      try {
        const othersLeaseMs = await this.#acquire(hold)
        if (othersLeaseMs === 0) return await this.#holding(hold, task)
        event = await this.#wait(woken, othersLeaseMs)
      } finally {
        stopWaiting()
      }
      const opened = await this.#options.read(cookieValue, ref)
      if (!opened) return { kind: 'ended' }
      if (task.isDone(opened.session)) return done(task, opened)
      // The holder has just asked in vain: asking again at once would only double its attempt.
      const wasLost = (opened.session.refreshInDoubt?.losses ?? 0) > (seen.refreshInDoubt?.losses ?? 0)
      if (wasLost || (event?.type === 'released' && event.failure !== undefined)) return this.#unavailable(ref)
    }
    return this.#unavailable(ref)
  }

  #waitFor(ref: string, wake: (event?: StoreEvent) => void): () => void {
    const waiting = this.#waiting.get(ref) ?? new Set()
    this.#waiting.set(ref, waiting.add(wake))
    return () => {
      waiting.delete(wake)
      if (waiting.size === 0) this.#waiting.delete(ref)
    }
  }

  /** An answer that got lost is asked for again: the same owner already has what it has (R11). */
  async #acquire(hold: Hold): Promise<number> {
    const { store, leaseMs } = this.#options
    try {
      return await store.acquire(hold.ref, hold.owner, leaseMs)
    } catch (error) {
      if (!hasCode(error, 'store_unavailable')) throw error
      await delay(50)
      return store.acquire(hold.ref, hold.owner, leaseMs)
    }
  }

  async #wait(woken: Promise<StoreEvent | undefined>, othersLeaseMs: number): Promise<StoreEvent | undefined> {
    const aborted = new AbortController()
    const lapse = othersLeaseMs + 20
    const longest = this.#options.store.inStep ? lapse : Math.min(lapse, LOOK_WITHOUT_EVENTS_MS)
    const lapsed = delay(longest, undefined, { signal: aborted.signal }).catch(() => undefined)
    try {
      return await Promise.race([woken, lapsed])
    } finally {
      aborted.abort()
    }
  }

  async #holding(hold: Hold, task: ExclusiveTask): Promise<RefreshResult> {
    const { store, leaseMs, log } = this.#options
    const renewal = setInterval(() => {
      // A lease that could not be renewed is no reason to stop: the write itself looks who has the lock.
      store.renew(hold.ref, hold.owner, leaseMs).catch(() => {})
    }, leaseMs / 3)
    let result: RefreshResult | undefined
    try {
      const current = await this.#options.read(hold.cookieValue, hold.ref)
      if (!current) result = { kind: 'ended' }
      else if (task.isDone(current.session)) result = done(task, current)
      else if (doubtEndsAt(current.session) > this.#options.now()) result = this.#unavailable(hold.ref)
      else result = await task.work(hold, current)
      return result
    } finally {
      clearInterval(renewal)
      store
        .release(hold.ref, hold.owner, result?.kind === 'unavailable' ? 'unavailable' : undefined)
        .catch((error: unknown) => {
          log.debug({ err: error, sessionRef: short(hold.ref) }, 'a refresh lock was not released; its lease ends it')
        })
    }
  }

  async #grant(hold: Hold, current: OpenedSession): Promise<RefreshResult> {
    const { session } = current
    const outcome = await this.#slots.run(() => this.#ask(session))
    switch (outcome.kind) {
      case 'refreshed':
        return this.#store(hold, current, outcome)
      case 'rejected':
        return this.reject(hold, current, outcome.reason)
      case 'refused':
        // Some servers refuse a dead refresh token so. While the access token is good, nothing is lost by waiting.
        if (this.#options.now() >= session.tokens.accessTokenExpiresAt)
          return this.reject(hold, current, outcome.reason)
        return this.#failed(session, outcome.reason)
      case 'misconfigured':
        this.#options.log.error(
          { provider: session.provider, reason: outcome.reason, alarm: 'provider_client_refused' },
          'the provider refuses this client: check its credentials; nobody is signed out, and nothing is refreshed',
        )
        return this.#failed(session, outcome.reason)
      case 'unavailable':
        return this.#failed(session, outcome.reason, outcome.retryAfterSeconds)
      case 'lost':
        return this.lost(hold, current, outcome.reason)
      default:
        return outcome satisfies never
    }
  }

  async #ask(session: Session): Promise<RefreshOutcome> {
    const provider = providerOf(session, this.#options.providers)
    if (!provider) return this.#withoutProvider(session)
    const overdue = new AbortController()
    const timer = delay(GRANT_OVERDUE_MS, undefined, { signal: overdue.signal }).then((): RefreshOutcome => ({
      kind: 'lost',
      reason: 'timeout',
    }))
    timer.catch(() => {}) // aborted, once the answer is there
    try {
      return await Promise.race([provider.refresh(session, AbortSignal.timeout(GRANT_MS)), timer])
    } catch (error) {
      // A defect: what became of the grant is unknown.
      this.#options.log.error({ err: error, provider: session.provider }, 'a refresh grant failed unexpectedly')
      return { kind: 'lost', reason: 'error' }
    } finally {
      overdue.abort()
    }
  }

  /** A configuration without the session's issuer ends it, once it works; one that was never good may be a mistake. */
  #withoutProvider({ provider }: Session): RefreshOutcome {
    const { providers } = this.#options
    const successor = providers.get(provider)
    const successors = successor ? [successor] : [...providers.values()]
    const isInUse = successors.some(({ ready }) => ready !== false)
    return { kind: isInUse ? 'refused' : 'misconfigured', reason: 'issuer_not_configured' }
  }

  async #store(hold: Hold, current: OpenedSession, outcome: Refreshed): Promise<RefreshResult> {
    const refreshedAt = this.#options.now()
    const written = await this.write(hold, current, (session) => successor(session, outcome, refreshedAt))
    switch (written.kind) {
      case 'gone':
        return this.#discard(current.session, outcome)
      case 'overtaken':
        return this.#joined(written.opened)
      case 'blocked':
        return { kind: 'current', opened: written.opened }
      case 'written': {
        const { sub, provider } = written.opened.session
        this.#setbacks.delete(hold.ref)
        this.#options.metrics?.refreshes.inc({ outcome: 'refreshed' })
        this.#options.audit.record('session.refreshed', { sessionRef: hold.ref, sub, provider })
        return { kind: 'current', opened: written.opened }
      }
      default:
        return written satisfies never
    }
  }

  /**
   * Writes a change of the session by compare-and-set, or finds out why that must not be. What is to be written is held
   * in memory meanwhile, through a short outage of the store (R10).
   */
  async write(hold: Hold, current: OpenedSession, change: (session: Session) => Session): Promise<Written> {
    const giveUpAt = performance.now() + STORE_PATIENCE_MS
    let base = current
    for (let pauseMs = 50; ; pauseMs = Math.min(500, pauseMs * 2)) {
      try {
        const next = change(base.session)
        const outcome = await this.#options.write(hold.cookieValue, base, next, hold.owner)
        if (outcome === 'replaced') return { kind: 'written', opened: { ...base, session: next } }
        if (outcome === 'gone') return { kind: 'gone' }
        const theirs = await this.#options.read(hold.cookieValue, hold.ref)
        if (!theirs) return { kind: 'gone' }
        // Newer tokens are another's, or our own, written by a command whose answer was lost. They win either way.
        if (haveNewTokens(theirs.session, current.session)) return { kind: 'overtaken', opened: theirs }
        // Another change of the same tokens, which ours goes on top of; or somebody else has the lock now.
        if (performance.now() >= giveUpAt) return { kind: 'blocked', opened: theirs }
        base = theirs
      } catch (error) {
        if (!hasCode(error, 'store_unavailable') || performance.now() >= giveUpAt) throw error
      }
      await delay(pauseMs)
    }
  }

  /** The session ended while its tokens were being refreshed: they are nobody's, and must not stay good (R13). */
  #discard(session: Session, { tokens }: Refreshed): RefreshResult {
    const provider = providerOf(session, this.#options.providers)
    if (tokens.refreshToken !== undefined) void provider?.revoke(tokens.refreshToken, 'refresh_token')
    else void provider?.revoke(tokens.accessToken, 'access_token')
    return { kind: 'ended' }
  }

  /** The verdict is about one refresh token: a session that has a newer one meanwhile is none of its business (R6). */
  async reject(hold: Hold, judged: OpenedSession, reason: string): Promise<RefreshResult> {
    const { session } = judged
    const current = await this.#options.read(hold.cookieValue, hold.ref)
    if (!current) return { kind: 'ended' }
    if (haveNewTokens(current.session, session)) return this.#joined(current)
    const { version } = current.session
    const endReason = session.refreshInDoubt && reason === 'invalid_grant' ? 'refresh_lost' : 'refresh_rejected'
    if (await this.#options.end(hold.ref, endReason, { version }, session.sub)) {
      this.#setbacks.delete(hold.ref)
      this.#options.metrics?.refreshes.inc({ outcome: 'rejected' })
      this.#recordFailure(session, reason)
      return { kind: 'ended' }
    }
    const newer = await this.#options.read(hold.cookieValue, hold.ref)
    return newer ? this.#joined(newer) : { kind: 'ended' }
  }

  /** Whether the refresh token is spent is unknown. That is written down, so that no process uses it freely again. */
  async lost(hold: Hold, current: OpenedSession, reason: string): Promise<RefreshResult> {
    const { session } = current
    const losses = (session.refreshInDoubt?.losses ?? 0) + 1
    const refreshInDoubt = { losses, lastAt: this.#options.now() }
    const written = await this.write(hold, current, (base) => ({ ...base, version: base.version + 1, refreshInDoubt }))
    if (written.kind === 'gone') return { kind: 'ended' }
    return written.kind === 'overtaken' ? this.#joined(written.opened) : this.#failed(session, reason)
  }

  #failed(session: Session, reason: string, retryAfterSeconds?: number): RefreshResult {
    const afterMs =
      retryAfterSeconds === undefined ? SETBACK_MS : Math.min(retryAfterSeconds, LONGEST_RETRY_AFTER_S) * 1_000
    this.#setbacks.set(session.ref, {
      retryAt: this.#options.now() + afterMs,
      isOrdered: retryAfterSeconds !== undefined,
    })
    this.#options.metrics?.refreshes.inc({ outcome: 'unavailable' })
    this.#recordFailure(session, reason)
    return this.#unavailable(session.ref)
  }

  #recordFailure({ ref, sub, provider }: Session, reason: string): void {
    this.#options.audit.record('refresh.failed', { sessionRef: ref, sub, provider, reason })
  }

  #unavailable(ref: string): RefreshResult {
    const setback = this.#setbacks.get(ref)
    const leftMs = setback?.isOrdered ? setback.retryAt - this.#options.now() : 0
    return { kind: 'unavailable', retryAfterSeconds: Math.max(1, Math.ceil((leftMs > 0 ? leftMs : 5_000) / 1_000)) }
  }

  #joined(opened: OpenedSession): RefreshResult {
    this.#countJoined(opened.session)
    return { kind: 'current', opened }
  }

  #countJoined({ ref }: Session): void {
    this.#setbacks.delete(ref)
    this.#options.metrics?.refreshes.inc({ outcome: 'joined' })
  }
}

function done(task: ExclusiveTask, opened: OpenedSession): RefreshResult {
  task.onDone?.(opened.session)
  return { kind: 'current', opened }
}

function haveNewTokens(session: Session, seen: Session): boolean {
  const [now, then] = [session.tokens, seen.tokens]
  return now.accessToken !== then.accessToken || now.refreshToken !== then.refreshToken
}

/** When a refresh token of unknown state may be tried: once more at any time, later only after a growing pause. */
function doubtEndsAt({ refreshInDoubt, tokens }: Session): number {
  if (!refreshInDoubt || refreshInDoubt.losses < 2) return 0
  const pauseMs = Math.min(LONGEST_DOUBT_MS, DOUBT_MS * 2 ** (refreshInDoubt.losses - 2))
  // While the access token is good there is something to lose: a server may answer a second use by revoking it.
  return Math.max(refreshInDoubt.lastAt + pauseMs, tokens.accessTokenExpiresAt)
}

/** What the provider did not send again stays as it was (RFC 6749 §6). Tokens for single routes belong to the old ones. */
function successor(session: Session, outcome: Refreshed, refreshedAt: number): Session {
  const { refreshInDoubt: _settled, routeTokens: _old, ...kept } = session
  const { refreshToken, idToken, scope } = session.tokens
  return {
    ...kept,
    version: session.version + 1,
    refreshedAt,
    tokens: {
      ...(refreshToken !== undefined && { refreshToken }),
      ...(idToken !== undefined && { idToken }),
      ...(scope !== undefined && { scope }),
      ...outcome.tokens,
    },
    ...(outcome.claims && { claims: outcome.claims }),
    ...(outcome.userinfo && { userinfo: outcome.userinfo }),
  }
}

function short(ref: string): string {
  return ref.slice(0, 16)
}

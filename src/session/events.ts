/** What happens to sessions, for those in this process who hold something open for one: event streams, WebSockets. */
import type { Log } from '../telemetry/log.ts'
import type { EndReason } from './session.ts'
import type { SessionStore } from './store.ts'

const WATCH_MS = 500
const BATCH = 500

export type SessionEvent =
  | { readonly type: 'refreshed' }
  /** The last one: nothing comes after it. */
  | { readonly type: 'ended'; readonly reason: EndReason }

export type SessionListener = (event: SessionEvent) => void

export interface SessionWatchOptions {
  readonly store: Pick<SessionStore, 'lastSeen' | 'inStep'>
  /** Read at each look: it may change while running. */
  readonly idleTimeout: number
  /** Ends a session whose time has come, unless it was used later than `lastSeenAt`. */
  readonly end: (ref: string, reason: 'idle_timeout' | 'absolute_timeout', lastSeenAt: number) => Promise<boolean>
  readonly now: () => number
  readonly log: Log
}

interface Watched {
  readonly listeners: Set<SessionListener>
  /** As far as it is known. */
  expiresAt: number
  lastSeenAt: number
  /** The newest version anybody was told of. */
  version: number
}

/**
 * Tells listeners what events say, each thing once. And looks itself where no event will come: at an idle or absolute
 * end, and while events are out of step, when a session may have ended without a word.
 */
export class SessionWatch {
  readonly #options: SessionWatchOptions
  readonly #watched = new Map<string, Watched>()
  #timer: NodeJS.Timeout | undefined
  #isLooking = false

  constructor(options: SessionWatchOptions) {
    this.#options = options
  }

  /** How many sessions somebody listens for. */
  get size(): number {
    return this.#watched.size
  }

  on(ref: string, listener: SessionListener, known: { expiresAt: number; lastSeenAt: number }): () => void {
    const watched = this.#watched.get(ref) ?? { ...known, listeners: new Set(), version: 0 }
    watched.listeners.add(listener)
    this.#watched.set(ref, watched)
    this.#timer ??= setInterval(() => void this.look(), WATCH_MS).unref()
    return () => {
      watched.listeners.delete(listener)
      if (watched.listeners.size === 0 && this.#watched.get(ref) === watched) this.#forget(ref)
    }
  }

  refreshed(ref: string, version: number): void {
    const watched = this.#watched.get(ref)
    if (!watched || watched.version >= version) return
    watched.version = version
    this.#tell(watched, { type: 'refreshed' })
  }

  ended(ref: string, reason: EndReason): void {
    const watched = this.#watched.get(ref)
    if (!watched) return
    this.#forget(ref)
    this.#tell(watched, { type: 'ended', reason })
  }

  /** Asks the store about all sessions that may have ended without an event; never rejects. */
  async look(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      const now = this.#options.now()
      const isSure = this.#options.store.inStep
      const due = [...this.#watched].filter(([, watched]) => !isSure || this.#endOf(watched) <= now)
      for (let start = 0; start < due.length; start += BATCH) await this.#verify(due.slice(start, start + BATCH))
    } catch (error) {
      // The store does not answer, which ends nobody's session. The next look asks again.
      this.#options.log.debug({ err: error }, 'open streams could not be checked')
    } finally {
      this.#isLooking = false
    }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#watched.clear()
  }

  async #verify(due: readonly (readonly [string, Watched])[]): Promise<void> {
    const seen = await this.#options.store.lastSeen(due.map(([ref]) => ref))
    const now = this.#options.now()
    await Promise.all(
      due.map(async ([ref, watched], i) => {
        const lastSeenAt = seen[i]
        if (lastSeenAt === undefined) return this.ended(ref, this.#reason(watched, now) ?? 'unknown')
        watched.lastSeenAt = Math.max(watched.lastSeenAt, lastSeenAt)
        const reason = this.#reason(watched, now)
        if (reason && (await this.#options.end(ref, reason, lastSeenAt))) this.ended(ref, reason)
      }),
    )
  }

  #reason(watched: Watched, now: number): 'idle_timeout' | 'absolute_timeout' | undefined {
    if (now >= watched.expiresAt) return 'absolute_timeout'
    return now >= watched.lastSeenAt + this.#options.idleTimeout ? 'idle_timeout' : undefined
  }

  #endOf(watched: Watched): number {
    return Math.min(watched.expiresAt, watched.lastSeenAt + this.#options.idleTimeout)
  }

  #forget(ref: string): void {
    this.#watched.delete(ref)
    if (this.#watched.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tell(watched: Watched, event: SessionEvent): void {
    for (const listener of watched.listeners) {
      try {
        listener(event)
      } catch (error) {
        // One listener's failure must not keep the others' sockets open.
        this.#options.log.error({ err: error }, 'a listener for session events failed')
      }
    }
  }
}

/** When sessions were last used: known exactly here, written to the store seldom. */
import type { Log } from '../telemetry/log.ts'
import type { SessionStore } from './store.ts'

const BATCH = 200

/** One session's use as this process knows it. The hot path sets a number in it and nothing else. */
export interface SessionUse {
  readonly ref: string
  /** The session's absolute end. */
  readonly expiresAt: number
  lastSeenAt: number
  /** The last use that the store is known to have. */
  writtenAt: number
  isDirty: boolean
  isWriting: boolean
}

export interface ActivityOptions {
  readonly store: Pick<SessionStore, 'touch'>
  /** Read at each use: it may change while running. */
  readonly idleTimeout: number
  /** The store has no such session any more. */
  readonly onGone: (ref: string) => void
  readonly log: Log
}

/**
 * Keeps the idle timeout exact without a write for each request.
 *
 * A use is written at once when the store's knowledge is older than the interval, and otherwise with the next flush,
 * each time with the time at which it happened. So another instance that looks near the idle end sees every use but
 * those of the last interval, which is a twentieth of the timeout: a session in use never looks idle.
 */
export class Activity {
  readonly #options: ActivityOptions
  readonly #pending = new Map<string, SessionUse>()
  #timer: NodeJS.Timeout
  #flushing: Promise<void> | undefined

  constructor(options: ActivityOptions) {
    this.#options = options
    this.#timer = this.#startTimer()
  }

  /** ms; the store is at most so far behind. */
  get intervalMs(): number {
    return Math.min(this.#options.idleTimeout / 20, 15_000)
  }

  /** The idle timeout has changed, and the interval with it. */
  retime(): void {
    clearInterval(this.#timer)
    this.#timer = this.#startTimer()
  }

  /** The use of a session that the store just told about. */
  useOf(ref: string, expiresAt: number, storedSeenAt: number): SessionUse {
    const use = this.#pending.get(ref)
    if (!use)
      return { ref, expiresAt, lastSeenAt: storedSeenAt, writtenAt: storedSeenAt, isDirty: false, isWriting: false }
    use.lastSeenAt = Math.max(use.lastSeenAt, storedSeenAt)
    use.writtenAt = Math.max(use.writtenAt, storedSeenAt)
    return use
  }

  /** The session is being used now. */
  note(use: SessionUse, now: number): void {
    if (now > use.lastSeenAt) use.lastSeenAt = now
    if (use.isDirty) return
    use.isDirty = true
    this.#pending.set(use.ref, use)
    if (now - use.writtenAt >= this.intervalMs) void this.#write(use)
  }

  /** When the store may forget a session: its end, and a little for the uses that are still to be written. */
  storeExpiry(lastSeenAt: number, expiresAt: number): number {
    return Math.min(expiresAt, lastSeenAt + this.#options.idleTimeout) + this.intervalMs
  }

  forget(ref: string): void {
    this.#pending.delete(ref)
  }

  /** Writes every use that the store does not know yet; never rejects. */
  flush(): Promise<void> {
    this.#flushing ??= this.#flush()
      .catch((error: unknown) => this.#options.log.error({ err: error }, 'uses of sessions were not written'))
      .finally(() => (this.#flushing = undefined))
    return this.#flushing
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.flush()
  }

  #startTimer(): NodeJS.Timeout {
    return setInterval(() => void this.flush(), this.intervalMs).unref()
  }

  async #flush(): Promise<void> {
    const uses = [...this.#pending.values()]
    for (let start = 0; start < uses.length; start += BATCH) {
      await Promise.all(uses.slice(start, start + BATCH).map((use) => this.#write(use)))
    }
  }

  async #write(use: SessionUse): Promise<void> {
    if (use.isWriting) return
    use.isWriting = true
    const { ref, lastSeenAt } = use
    try {
      const isThere = await this.#options.store.touch(ref, lastSeenAt, this.storeExpiry(lastSeenAt, use.expiresAt))
      use.writtenAt = Math.max(use.writtenAt, lastSeenAt)
      // Used again while this was on its way: the next flush tells.
      if (isThere && use.lastSeenAt > lastSeenAt) return
      use.isDirty = false
      if (this.#pending.get(ref) === use) this.#pending.delete(ref)
      if (!isThere) this.#options.onGone(ref)
    } catch (error) {
      // It stays pending: the next flush tries again.
      this.#options.log.debug({ err: error, sessionRef: ref.slice(0, 16) }, 'the use of a session was not written')
    } finally {
      use.isWriting = false
    }
  }
}

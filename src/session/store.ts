/** Where sealed sessions live: one small contract, a memory and a Redis implementation, one shared test suite. */

/** A session as it is stored. The store cannot read it. */
export interface StoredSession {
  readonly version: number
  /** The id of the key of the ring that sealed it. */
  readonly keyId: string
  readonly sealed: Buffer
  /** Epoch ms of the last use that slid the idle timeout; in clear, so that touching needs no key. */
  readonly lastSeenAt: number
}

/** What instances tell each other about sessions. `from` is the sender's instance id. */
export type StoreEvent =
  | { readonly type: 'ended'; readonly ref: string; readonly reason: string; readonly from: string }
  | { readonly type: 'refreshed'; readonly ref: string; readonly from: string }
  /** A refresh came to an end without new tokens: waiters look again. */
  | { readonly type: 'released'; readonly ref: string; readonly from: string }
  /** A one-time note changed: a callback that waits for another's outcome looks again. */
  | { readonly type: 'noted'; readonly key: string; readonly from: string }

export type ReplaceOutcome = 'replaced' | 'conflict' | 'gone'

/**
 * Every implementation passes `test/support/store-contract.ts`.
 *
 * Keys are given without prefix. Methods reject with BffError `store_unavailable` when the backend cannot answer:
 * "no such session" and "cannot tell" are never the same value. Expiry is the store's business: a key whose
 * time has come is not there. All `…At` are epoch ms, all `…Ms` durations.
 */
export interface SessionStore {
  /** `undefined` when unknown, ended or expired. One command. */
  get(ref: string): Promise<StoredSession | undefined>
  /** Writes a session that must not exist yet. */
  create(ref: string, record: StoredSession, expiresAt: number): Promise<void>
  /**
   * Overwrites a session whose version is still `expectedVersion`. With `owner`, also only while no *other* owner
   * holds the refresh lock: a holder that slept through its lease must not overwrite its successor's work.
   * Never recreates an ended session. `lastSeenAt` never moves backwards.
   */
  replace(ref: string, record: StoredSession, expiresAt: number, expectedVersion: number, owner?: string): Promise<ReplaceOutcome>
  /** Moves last use and expiry forward; `false` when the session has ended meanwhile. Never recreates it. */
  touch(ref: string, lastSeenAt: number, expiresAt: number): Promise<boolean>
  /** Idempotent; resolves whether something was there. */
  delete(ref: string): Promise<boolean>

  /** Takes the refresh lock for `leaseMs`; an owner that holds it already holds it (a lost answer). */
  acquire(ref: string, owner: string, leaseMs: number): Promise<boolean>
  /** `false` when it is not ours any more. */
  renew(ref: string, owner: string, leaseMs: number): Promise<boolean>
  /** Compares and deletes atomically. */
  release(ref: string, owner: string): Promise<void>

  /** Adds a member to an index, scored by the absolute end of what it points to; the index outlives its last member. */
  addToIndex(key: string, member: string, expiresAt: number): Promise<void>
  removeFromIndex(key: string, members: readonly string[]): Promise<void>
  /** The members that have not expired. */
  readIndex(key: string): Promise<string[]>
  /** Last use of each of these sessions, `undefined` where there is none. */
  lastSeen(refs: readonly string[]): Promise<(number | undefined)[]>
  /** Every ref there is, in batches, for the operator's "end them all". */
  refs(): AsyncIterable<string[]>

  /** Writes a one-time note unless there is one; resolves the one that was there, or `undefined` when ours was written. */
  noteIfAbsent(key: string, value: string, ttlMs: number): Promise<string | undefined>
  note(key: string, value: string, ttlMs: number): Promise<void>
  readNote(key: string): Promise<string | undefined>
  /** Reads and deletes atomically: of two callers one gets it. */
  takeNote(key: string): Promise<string | undefined>

  /** Tells all instances, this one included. Best effort: never rejects. */
  publish(event: StoreEvent): void
  /** One listener per process; called for every instance's events, our own included. */
  onEvent(listener: (event: StoreEvent) => void): void
  /** Called when events may have been missed (reconnected, ticks stopped): caches are dropped. */
  onDoubt(listener: () => void): void
  /** Whether events can be trusted to arrive now. While not, nothing is served from a cache. */
  readonly inStep: boolean
  /** Writes and deletes a probe key: proves that the store takes writes. */
  probe(): Promise<void>
  close(): Promise<void>
}

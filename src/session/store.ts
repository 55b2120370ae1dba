/** Where sealed sessions live: one small contract, a memory and a Redis implementation, one shared test suite. */
import type { RedisConfig } from '../config/schema.ts'

/** A session as it is stored. The store cannot read it. */
export interface StoredSession {
  readonly version: number
  /** The id of the key of the ring that sealed it. */
  readonly keyId: string
  readonly sealed: Buffer
  /** Epoch ms of the last use that slid the idle timeout; in clear, so that touching needs no key. */
  readonly lastSeenAt: number
  /** Epoch ms; in clear, so that "everything begun before now" can be ended without opening anything. */
  readonly createdAt: number
}

/** What instances tell each other about sessions. `from` is the sender's instance id. */
export type StoreEvent =
  | { readonly type: 'ended'; readonly ref: string; readonly reason: string; readonly from: string }
  /** New tokens are there; copies below this version are old. */
  | { readonly type: 'refreshed'; readonly ref: string; readonly version: number; readonly from: string }
  /** The record was written for another reason: copies below this version are old. */
  | { readonly type: 'updated'; readonly ref: string; readonly version: number; readonly from: string }
  /** The refresh lock is free again: waiters look again, or share the failure that is named. */
  | { readonly type: 'released'; readonly ref: string; readonly failure?: string; readonly from: string }

export type ReplaceOutcome = 'replaced' | 'conflict' | 'gone'

export interface ReplaceOptions {
  readonly expectedVersion: number
  /** Write only while no *other* owner holds the refresh lock. */
  readonly owner?: string
  /** What all instances are told, in one atomic step with the write. */
  readonly announce: 'refreshed' | 'updated'
}

/** Conditions on a delete, checked in one atomic step with it. */
export interface DeleteConditions {
  /** Only this version: a verdict about one refresh token must not end a session that has a newer one. */
  readonly version?: number
  /** Only when it was not used later than this: a verdict "idle" must not end a session that was just used. */
  readonly lastSeenAt?: number
  /** Only when it was created before this. */
  readonly createdBefore?: number
}

/** Counts uses for all instances together; a part of stores that they share. */
export interface UseCounter {
  /** One use of a key, in a window that begins with its first; a refused one is not counted. Rejects as a store does. */
  countUse(key: string, limit: number, windowMs: number): Promise<{ allowed: boolean; endsInMs: number }>
}

/**
 * Every implementation passes `test/support/store-contract.ts`.
 *
 * Keys are given without prefix. Methods reject with BffError `store_unavailable` when the backend cannot answer:
 * "no such session" and "cannot tell" are never the same value. Expiry is the store's business: a key whose
 * time has come is not there. All `…At` are epoch ms, all `…Ms` durations.
 */
export interface SessionStore {
  /** This process's id in events. */
  readonly instance: string

  /** `undefined` when unknown, ended, expired or not a session record at all (logged, left alone). One command. */
  get(ref: string): Promise<StoredSession | undefined>
  /** Writes a session that must not exist yet. */
  create(ref: string, record: StoredSession, expiresAt: number): Promise<void>
  /**
   * Overwrites a session whose version is still `expectedVersion`. With `owner`, also only while no *other* owner
   * holds the refresh lock: a holder that slept through its lease must not overwrite its successor's work.
   * Never recreates an ended session. `lastSeenAt` and the expiry never move backwards.
   */
  replace(ref: string, record: StoredSession, expiresAt: number, options: ReplaceOptions): Promise<ReplaceOutcome>
  /** Moves last use and expiry forward, never back; `false` when the session has ended meanwhile. Never recreates it. */
  touch(ref: string, lastSeenAt: number, expiresAt: number): Promise<boolean>
  /**
   * Takes a session out, tells all instances (`ended`) and resolves the last record, all in one atomic step.
   * `undefined` when nothing was there or a condition did not hold; then nobody is told anything.
   */
  delete(ref: string, reason: string, onlyIf?: DeleteConditions): Promise<StoredSession | undefined>

  /**
   * Takes the refresh lock for `leaseMs`; an owner that holds it already holds it (a lost answer, R11).
   * Resolves 0 when it is ours, else the ms after which the other's lease lapses unless it is renewed.
   */
  acquire(ref: string, owner: string, leaseMs: number): Promise<number>
  /** `false` when it is not ours any more. */
  renew(ref: string, owner: string, leaseMs: number): Promise<boolean>
  /** Compares and deletes atomically, and tells all instances (`released`) when it was ours. */
  release(ref: string, owner: string, failure?: string): Promise<void>

  /** Adds a member to an index, scored by the absolute end of what it points to; the index outlives its last member. */
  addToIndex(key: string, member: string, expiresAt: number): Promise<void>
  removeFromIndex(key: string, members: readonly string[]): Promise<void>
  /** The members that have not expired. */
  readIndex(key: string): Promise<string[]>
  /** Whether `readIndex` would have this member; what it costs does not grow with the others. */
  isIndexed(key: string, member: string): Promise<boolean>
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
  /** Called for every instance's events, our own included; the function returned takes the listener out again. */
  onEvent(listener: (event: StoreEvent) => void): () => void
  /** Called when events may have been missed (reconnected, ticks stopped): caches are dropped. */
  onDoubt(listener: () => void): () => void
  /** Whether every event of more than a second ago has arrived. While not, nothing is served from a cache. */
  readonly inStep: boolean
  /** Writes and deletes a probe key: proves that the store takes writes. */
  probe(): Promise<void>
  close(): Promise<void>
}

/** A store of several instances. */
export interface SharedStore extends SessionStore, UseCounter {
  /** Takes changed credentials of the same Redis, for connections made from now on. */
  useCredentials(config: RedisConfig): void
}

export function isShared(store: SessionStore): store is SharedStore {
  return 'useCredentials' in store
}

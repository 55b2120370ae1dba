/** The session store of one process: nothing outlives it, nothing is shared. */
import { randomUUID } from 'node:crypto'
import { ExpiringMap } from './expiring-map.ts'
import type {
  DeleteConditions,
  ReplaceOptions,
  ReplaceOutcome,
  SessionStore,
  StoredSession,
  StoreEvent,
} from './store.ts'

const BATCH = 500

export interface MemoryStoreOptions {
  readonly now?: () => number
}

/** Each method does its work in one turn of the event loop, which is what makes it atomic. */
export class MemoryStore implements SessionStore {
  readonly instance = randomUUID()
  /** There is no channel that could be cut. */
  readonly inStep = true
  readonly #now: () => number
  readonly #sessions: ExpiringMap<StoredSession>
  readonly #locks: ExpiringMap<string>
  readonly #indexes: ExpiringMap<Map<string, number>>
  readonly #notes: ExpiringMap<string>
  readonly #listeners = new Set<(event: StoreEvent) => void>()

  constructor(options: MemoryStoreOptions = {}) {
    this.#now = options.now ?? Date.now
    this.#sessions = new ExpiringMap(this.#now)
    this.#locks = new ExpiringMap(this.#now)
    this.#indexes = new ExpiringMap(this.#now)
    this.#notes = new ExpiringMap(this.#now)
  }

  async get(ref: string): Promise<StoredSession | undefined> {
    return this.#sessions.get(ref)
  }

  async create(ref: string, record: StoredSession, expiresAt: number): Promise<void> {
    if (this.#sessions.get(ref)) throw new Error('a session with this ref exists already')
    this.#sessions.set(ref, record, expiresAt)
  }

  async replace(
    ref: string,
    record: StoredSession,
    expiresAt: number,
    options: ReplaceOptions,
  ): Promise<ReplaceOutcome> {
    const stored = this.#sessions.get(ref)
    if (!stored) return 'gone'
    if (stored.version !== options.expectedVersion) return 'conflict'
    const holder = this.#locks.get(ref)
    if (options.owner !== undefined && holder !== undefined && holder !== options.owner) return 'conflict'
    const lastSeenAt = Math.max(stored.lastSeenAt, record.lastSeenAt)
    const end = Math.max(this.#sessions.expiresAt(ref), expiresAt)
    this.#sessions.set(ref, { ...record, createdAt: stored.createdAt, lastSeenAt }, end)
    this.publish({ type: options.announce, ref, version: record.version, from: this.instance })
    return 'replaced'
  }

  async touch(ref: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const stored = this.#sessions.get(ref)
    if (!stored) return false
    const end = Math.max(this.#sessions.expiresAt(ref), expiresAt)
    this.#sessions.set(ref, { ...stored, lastSeenAt: Math.max(stored.lastSeenAt, lastSeenAt) }, end)
    return true
  }

  async delete(ref: string, reason: string, onlyIf: DeleteConditions = {}): Promise<StoredSession | undefined> {
    const stored = this.#sessions.get(ref)
    if (!stored) return undefined
    if (onlyIf.version !== undefined && stored.version !== onlyIf.version) return undefined
    if (onlyIf.lastSeenAt !== undefined && stored.lastSeenAt > onlyIf.lastSeenAt) return undefined
    if (onlyIf.createdBefore !== undefined && stored.createdAt >= onlyIf.createdBefore) return undefined
    this.#sessions.delete(ref)
    this.publish({ type: 'ended', ref, reason, from: this.instance })
    return stored
  }

  async acquire(ref: string, owner: string, leaseMs: number): Promise<number> {
    const holder = this.#locks.get(ref)
    if (holder !== undefined && holder !== owner) return this.#locks.expiresAt(ref) - this.#now()
    this.#locks.set(ref, owner, this.#now() + leaseMs)
    return 0
  }

  async renew(ref: string, owner: string, leaseMs: number): Promise<boolean> {
    if (this.#locks.get(ref) !== owner) return false
    this.#locks.set(ref, owner, this.#now() + leaseMs)
    return true
  }

  async release(ref: string, owner: string, failure?: string): Promise<void> {
    if (this.#locks.get(ref) !== owner) return
    this.#locks.delete(ref)
    this.publish({ type: 'released', ref, ...(failure !== undefined && { failure }), from: this.instance })
  }

  async addToIndex(key: string, member: string, expiresAt: number): Promise<void> {
    const members = this.#indexes.get(key) ?? new Map<string, number>()
    for (const [old, end] of members) if (end <= this.#now()) members.delete(old)
    members.set(member, expiresAt)
    this.#indexes.set(key, members, Math.max(this.#indexes.expiresAt(key), expiresAt))
  }

  async removeFromIndex(key: string, members: readonly string[]): Promise<void> {
    const index = this.#indexes.get(key)
    for (const member of members) index?.delete(member)
    if (index?.size === 0) this.#indexes.delete(key)
  }

  async readIndex(key: string): Promise<string[]> {
    const now = this.#now()
    return [...(this.#indexes.get(key) ?? [])].filter(([, end]) => end > now).map(([member]) => member)
  }

  async isIndexed(key: string, member: string): Promise<boolean> {
    return (this.#indexes.get(key)?.get(member) ?? 0) > this.#now()
  }

  async lastSeen(refs: readonly string[]): Promise<(number | undefined)[]> {
    return refs.map((ref) => this.#sessions.get(ref)?.lastSeenAt)
  }

  async *refs(): AsyncIterable<string[]> {
    const all = [...this.#sessions.keys()]
    for (let start = 0; start < all.length; start += BATCH) yield all.slice(start, start + BATCH)
  }

  async noteIfAbsent(key: string, value: string, ttlMs: number): Promise<string | undefined> {
    const earlier = this.#notes.get(key)
    if (earlier === undefined) this.#notes.set(key, value, this.#now() + ttlMs)
    return earlier
  }

  async note(key: string, value: string, ttlMs: number): Promise<void> {
    this.#notes.set(key, value, this.#now() + ttlMs)
  }

  async readNote(key: string): Promise<string | undefined> {
    return this.#notes.get(key)
  }

  async takeNote(key: string): Promise<string | undefined> {
    const value = this.#notes.get(key)
    this.#notes.delete(key)
    return value
  }

  /** Listeners run after the caller's turn, as they would with events that come from a network. */
  publish(event: StoreEvent): void {
    queueMicrotask(() => {
      for (const listener of this.#listeners) listener(event)
    })
  }

  onEvent(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onDoubt(): () => void {
    return () => {}
  }

  async probe(): Promise<void> {}

  async close(): Promise<void> {
    this.#listeners.clear()
    for (const map of [this.#sessions, this.#locks, this.#indexes, this.#notes]) map.clear()
  }
}

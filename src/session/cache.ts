/** Opened sessions of this process, so that the hot path asks no store. */
import { LRUCache } from 'lru-cache'
import type { SessionUse } from './activity.ts'
import { type Session, sessionRef } from './session.ts'

export interface CachedSession {
  readonly session: Session
  /** Shared with whatever else knows of this session's use here. */
  readonly use: SessionUse
  /** Monotonic: when the store last said so. */
  readonly confirmedAt: number
  /** The doubt it was born after. */
  readonly generation: number
}

/** A read or write of the store under way, whose result may be old by the time it arrives. */
export interface CacheTicket {
  readonly ref: string
  readonly generation: number
  isEnded: boolean
  minVersion: number
}

export interface SessionCacheOptions {
  /** 0 turns the cache off. */
  readonly maxEntries: number
  /** ms after which an entry is confirmed by the store again. */
  readonly ttl: number
  /** Whether entries that are in doubt are kept, for use in an outage only. */
  readonly keepsDoubtful: boolean
}

/**
 * Bounded; an entry lives for `ttl`. What `get` returns was true when the store was last asked, and no event has said
 * otherwise; whether events arrive at all is the caller's question.
 *
 * An event may overtake the answer of a read that began before it. So each read or write takes a ticket first, events
 * mark the tickets that are out, and a result whose ticket is marked is not kept.
 */
export class SessionCache {
  readonly #entries: LRUCache<string, CachedSession> | undefined
  /** Refs of the cookies that were found here: to hash a cookie costs more than the rest of a hit. */
  readonly #refs: LRUCache<string, string> | undefined
  readonly #tickets = new Map<string, Set<CacheTicket>>()
  readonly #ttl: number
  readonly #keepsDoubtful: boolean
  #generation = 0

  constructor(options: SessionCacheOptions) {
    const { maxEntries: max } = options
    this.#entries = max > 0 ? new LRUCache({ max }) : undefined
    this.#refs = max > 0 ? new LRUCache({ max }) : undefined
    this.#ttl = options.ttl
    this.#keepsDoubtful = options.keepsDoubtful
  }

  get size(): number {
    return this.#entries?.size ?? 0
  }

  /** As `get`, by the cookie's value. */
  getByCookie(cookieValue: string): CachedSession | undefined {
    if (this.#refs === undefined) return undefined
    const known = this.#refs.get(cookieValue)
    const entry = this.get(known ?? sessionRef(cookieValue))
    // Only of a session that is here: a made-up cookie takes nobody's place.
    if (entry !== undefined && known === undefined) this.#refs.set(cookieValue, entry.session.ref)
    return entry
  }

  get(ref: string): CachedSession | undefined {
    const entry = this.#entries?.get(ref)
    if (entry === undefined || entry.generation !== this.#generation) return undefined
    return performance.now() - entry.confirmedAt < this.#ttl ? entry : undefined
  }

  /** Also what is old or in doubt, confirmed within the last `ageMs`: for outages of the store. */
  getDoubtful(ref: string, ageMs: number): CachedSession | undefined {
    const entry = this.#entries?.get(ref)
    return entry !== undefined && performance.now() - entry.confirmedAt < ageMs ? entry : undefined
  }

  begin(ref: string): CacheTicket {
    const ticket = { ref, generation: this.#generation, isEnded: false, minVersion: 0 }
    const tickets = this.#tickets.get(ref)
    if (tickets) tickets.add(ticket)
    else this.#tickets.set(ref, new Set([ticket]))
    return ticket
  }

  /** Gives the ticket back and keeps what the store said, unless an event has overtaken it. */
  finish(ticket: CacheTicket, result?: { readonly session: Session; readonly use: SessionUse }): void {
    const tickets = this.#tickets.get(ticket.ref)
    tickets?.delete(ticket)
    if (tickets?.size === 0) this.#tickets.delete(ticket.ref)
    if (!result || ticket.isEnded || ticket.generation !== this.#generation) return
    if (result.session.version < ticket.minVersion) return
    const known = this.get(ticket.ref)
    if (known && known.session.version > result.session.version) return
    this.#entries?.set(ticket.ref, { ...result, confirmedAt: performance.now(), generation: this.#generation })
  }

  /** The session has ended. */
  drop(ref: string): void {
    this.#entries?.delete(ref)
    for (const ticket of this.#tickets.get(ref) ?? []) ticket.isEnded = true
  }

  /** There is a newer version; what is at least that new stays. */
  dropBelow(ref: string, version: number): void {
    const entry = this.#entries?.peek(ref)
    if (entry && entry.session.version < version) this.#entries?.delete(ref)
    for (const ticket of this.#tickets.get(ref) ?? []) ticket.minVersion = Math.max(ticket.minVersion, version)
  }

  /** Events may have been missed: nothing that is known now is used as if it were sure. */
  doubt(): void {
    this.#generation += 1
    if (!this.#keepsDoubtful) this.#entries?.clear()
  }
}

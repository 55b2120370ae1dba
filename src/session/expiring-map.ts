/** A map whose entries have an end; what the memory store is made of. */

/** So many entries are looked at for each one written: the dead ones never outnumber the living by much. */
const SWEEP = 4

interface Entry<V> {
  value: V
  expiresAt: number
}

/** Expired entries are not there for any reader. They are swept a few at a time with each write, so no timer is needed. */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, Entry<V>>()
  readonly #now: () => number
  #sweep: MapIterator<[string, Entry<V>]>

  constructor(now: () => number) {
    this.#now = now
    this.#sweep = this.#entries.entries()
  }

  /** How many entries take up memory, expired ones not yet swept included. */
  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    if (!entry) return undefined
    if (entry.expiresAt > this.#now()) return entry.value
    this.#entries.delete(key)
    return undefined
  }

  set(key: string, value: V, expiresAt: number): void {
    this.#entries.set(key, { value, expiresAt })
    for (let i = 0; i < SWEEP; i++) {
      const next = this.#sweep.next()
      if (next.done) {
        this.#sweep = this.#entries.entries()
        return
      }
      const [swept, entry] = next.value
      if (entry.expiresAt <= this.#now()) this.#entries.delete(swept)
    }
  }

  /** When the entry ends; 0 when it is not there. */
  expiresAt(key: string): number {
    return this.#entries.get(key)?.expiresAt ?? 0
  }

  delete(key: string): boolean {
    const isThere = this.get(key) !== undefined
    this.#entries.delete(key)
    return isThere
  }

  /** The keys of what has not expired. */
  *keys(): IterableIterator<string> {
    const now = this.#now()
    for (const [key, entry] of this.#entries) if (entry.expiresAt > now) yield key
  }

  clear(): void {
    this.#entries.clear()
  }
}

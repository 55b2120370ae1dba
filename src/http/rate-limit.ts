/** How often something may happen: a counter for each key and window. */

export interface Rate {
  readonly limit: number
  readonly windowMs: number
}

export interface RateVerdict {
  readonly allowed: boolean
  /** Whole seconds until the window ends; at least 1. */
  readonly retryAfterSeconds: number
}

/** Counts uses; at once, or where the count is kept elsewhere, when that has answered. Never fails. */
export interface Limiter {
  take(key: string, rate: Rate): RateVerdict | Promise<RateVerdict>
}

interface Window {
  count: number
  /** Epoch ms. */
  readonly endsAt: number
}

/** So many keys are kept, about 100 bytes each; then the oldest windows go. */
const MOST_KEYS = 50_000

/**
 * Counts in windows that begin with a key's first use. Bounded in memory whatever keys come: a flood of addresses
 * pushes out the oldest windows, which only lets their clients begin anew.
 */
export class RateLimiter implements Limiter {
  readonly #now: () => number
  readonly #mostKeys: number
  readonly #windows = new Map<string, Window>()

  constructor(options: { now: () => number; mostKeys?: number }) {
    this.#now = options.now
    this.#mostKeys = options.mostKeys ?? MOST_KEYS
  }

  /** How many keys are held now. */
  get size(): number {
    return this.#windows.size
  }

  /** Counts one use of a key and says whether it is within the rate. A refused use does not lengthen the wait. */
  take(key: string, rate: Rate): RateVerdict {
    const now = this.#now()
    let window = this.#windows.get(key)
    if (!window || window.endsAt <= now) {
      window = { count: 0, endsAt: now + rate.windowMs }
      // Taken out first, so that the map stays ordered by the beginning of the windows.
      this.#windows.delete(key)
      this.#makeRoom(now)
      this.#windows.set(key, window)
    }
    const allowed = window.count < rate.limit
    if (allowed) window.count += 1
    return { allowed, retryAfterSeconds: Math.max(1, Math.ceil((window.endsAt - now) / 1_000)) }
  }

  #makeRoom(now: number): void {
    for (const [key, window] of this.#windows) {
      if (window.endsAt > now && this.#windows.size < this.#mostKeys) return
      this.#windows.delete(key)
    }
  }
}

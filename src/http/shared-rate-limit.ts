/** Limits that hold for all instances together: counted in the store that they share. */
import type { KeyRing } from '../session/key-ring.ts'
import type { UseCounter } from '../session/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Limiter, Rate, RateVerdict } from './rate-limit.ts'

export interface SharedRateLimiterOptions {
  readonly counter: UseCounter
  readonly keyRing: Pick<KeyRing, 'keyedHash'>
  /** Counts while the store does not answer. */
  readonly own: Limiter
  readonly log: Log
}

/**
 * An outage of the store must not let everything through, nor refuse anybody: each instance then counts for itself,
 * from the beginning.
 */
export class SharedRateLimiter implements Limiter {
  readonly #options: SharedRateLimiterOptions
  #isAlone = false

  constructor(options: SharedRateLimiterOptions) {
    this.#options = options
  }

  async take(key: string, rate: Rate): Promise<RateVerdict> {
    const { counter, keyRing, own } = this.#options
    // Addresses are nobody's business who reads the store.
    const hashed = `c:{${keyRing.keyedHash('rate limit', key)}}`
    try {
      const { allowed, endsInMs } = await counter.countUse(hashed, rate.limit, rate.windowMs)
      this.#isAlone = false
      return { allowed, retryAfterSeconds: Math.max(1, Math.ceil(endsInMs / 1_000)) }
    } catch (error) {
      this.#tell(error)
      return own.take(key, rate)
    }
  }

  /** Once an outage: the store itself logs the rest. */
  #tell(error: unknown): void {
    if (this.#isAlone) return
    this.#isAlone = true
    this.#options.log.warn(
      { err: error },
      'rate limits are counted by each instance for itself: the store does not answer',
    )
  }
}

/** Whether this instance should get traffic: unready until it has worked once, degraded in an outage, draining at the end. */
import { setTimeout as delay } from 'node:timers/promises'
import type { z } from 'zod'
import type { ReadinessAnswer as ReadinessBody } from '../http/answers.ts'

type Body = z.infer<typeof ReadinessBody>

/** How often the store is looked at until it has been good once. */
const WATCH_MS = 250

interface ReadinessOptions {
  /** Rejects while the store takes no writes. */
  readonly probeStore: () => Promise<void>
  /** Whether every provider's metadata has been read. */
  readonly isProviderReady: () => boolean
  /** `readiness.requireStore`: an outage of the store takes the instance out of service. */
  readonly requireStore: boolean
}

export interface ReadinessAnswer {
  readonly status: 200 | 503
  readonly body: Body
}

/**
 * A dependency that all instances share must not take them all out of service, so an outage is `degraded`; only a
 * store that was never good, or `requireStore`, makes an instance unready (`docs/operations.md`).
 */
export class Readiness {
  readonly #options: ReadinessOptions
  #storeWasGood = false
  #isDraining = false

  constructor(options: ReadinessOptions) {
    this.#options = options
  }

  /** Looks at the store until it has been good once: it may be away again by the time anybody asks. Never rejects. */
  async watch(): Promise<void> {
    while (!this.#isDraining && !(await this.#probe())) await delay(WATCH_MS, undefined, { ref: false })
  }

  /** From now on the instance is on its way out. */
  drain(): void {
    this.#isDraining = true
  }

  async answer(): Promise<ReadinessAnswer> {
    const isStoreGood = await this.#probe()
    const reasons: NonNullable<Body['reasons']> = []
    if (this.#isDraining) reasons.push('draining')
    if (!isStoreGood && (!this.#storeWasGood || this.#options.requireStore)) reasons.push('store')
    const degraded: NonNullable<Body['degraded']> = []
    if (!isStoreGood) degraded.push('store')
    if (!this.#options.isProviderReady()) degraded.push('provider')
    if (reasons.length > 0) return { status: 503, body: { status: 'unready', reasons } }
    return { status: 200, body: { status: 'ready', ...(degraded.length > 0 && { degraded }) } }
  }

  async #probe(): Promise<boolean> {
    try {
      await this.#options.probeStore()
      this.#storeWasGood = true
      return true
    } catch {
      return false // the reason's name is all that leaves; the store logs its own faults
    }
  }
}

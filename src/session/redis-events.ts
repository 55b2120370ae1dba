/** Events between instances over Redis pub/sub, and the knowledge of whether they can be trusted to arrive. */
import type { Redis } from 'ioredis'
import { withoutCommand } from './redis-client.ts'
import type { Log } from '../telemetry/log.ts'
import type { StoreEvent } from './store.ts'

const TICK_MS = 250
/** Three ticks missed, and a little for the timer. Below a second: nothing that ended is served for longer. */
const IN_STEP_MS = 3 * TICK_MS + 100
/** A subscription that hears nothing for so long while ticks are being published is replaced. */
const DEAF_MS = 2_000
const REOPEN_MS = 200
const TICK = 'tick '

export interface RedisEventsOptions {
  readonly channel: string
  readonly instance: string
  /** Makes a connection that has not connected yet and does not reconnect. */
  readonly connect: () => Redis
  /** Publishes on the data connection: what is to be proved is that its messages arrive here. */
  readonly publish: (message: string) => Promise<unknown>
  readonly log: Log
}

/**
 * Loss of a subscription is silent: a half-open connection, or a subscriber left on an old master, looks like a quiet
 * day. So each instance publishes a tick on its data connection and waits for it here. A tick carries the time at which
 * it was sent; since messages keep their order, the newest own tick proves that everything published before it has
 * arrived. `inStep` is computed from that time when it is asked for, so neither a slow channel nor a process that was
 * stopped and woken up can be taken for a good one.
 */
export class RedisEvents {
  readonly #options: RedisEventsOptions
  readonly #listeners = new Set<(event: StoreEvent) => void>()
  readonly #doubters = new Set<() => void>()
  #subscriber: Redis | undefined
  #timer: NodeJS.Timeout | undefined
  #reopen: NodeJS.Timeout | undefined
  #isTicking = false
  #wasInStep = false
  /** Monotonic; when the newest own tick that arrived was sent. */
  #heardUpTo = Number.NEGATIVE_INFINITY
  /** When the last tick was published with success, and when one last arrived or the subscription was made. */
  #publishedAt = Number.NEGATIVE_INFINITY
  #hearingAt = Number.NEGATIVE_INFINITY

  constructor(options: RedisEventsOptions) {
    this.#options = options
  }

  start(): void {
    this.#open()
    this.#timer = setInterval(() => this.#turn(), TICK_MS)
    this.#timer.unref()
  }

  get inStep(): boolean {
    return performance.now() - this.#heardUpTo < IN_STEP_MS
  }

  onEvent(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  onDoubt(listener: () => void): () => void {
    this.#doubters.add(listener)
    return () => this.#doubters.delete(listener)
  }

  /** Everything known so far may be old. */
  doubt(): void {
    this.#heardUpTo = Number.NEGATIVE_INFINITY
    this.#wasInStep = false
    for (const listener of this.#doubters) listener()
  }

  close(): void {
    clearInterval(this.#timer)
    clearTimeout(this.#reopen)
    this.#timer = undefined
    const subscriber = this.#subscriber
    this.#subscriber = undefined
    subscriber?.disconnect()
    this.#listeners.clear()
    this.#doubters.clear()
  }

  #open(): void {
    const subscriber = this.#options.connect()
    this.#subscriber = subscriber
    this.#hearingAt = performance.now()
    subscriber.on('message', (_channel, message) => {
      if (subscriber === this.#subscriber) this.#hear(message)
    })
    // What went wrong is told by the end of the connection; without a listener it would be thrown.
    subscriber.on('error', (error) => {
      this.#options.log.debug({ err: withoutCommand(error) }, 'subscription to session events failed')
    })
    subscriber.on('end', () => this.#lost(subscriber))
    subscriber
      .connect()
      .then(() => subscriber.subscribe(this.#options.channel))
      .then(
        // There was a time without a subscription: what was published then is lost.
        () => subscriber === this.#subscriber && this.doubt(),
        () => subscriber.disconnect(),
      )
  }

  #lost(subscriber: Redis): void {
    if (subscriber !== this.#subscriber) return
    this.#subscriber = undefined
    this.doubt()
    this.#reopen = setTimeout(() => this.#open(), REOPEN_MS + Math.random() * REOPEN_MS)
    this.#reopen.unref()
  }

  #hear(message: string): void {
    if (message.startsWith(TICK)) {
      const [, instance, sentAt] = message.split(' ')
      if (instance === this.#options.instance) this.#hearTick(Number(sentAt))
      return
    }
    const event = parseEvent(message)
    if (event) for (const listener of this.#listeners) listener(event)
  }

  #hearTick(sentAt: number): void {
    // A gap nobody has noticed yet, because the process itself stood still.
    if (this.#wasInStep && sentAt - this.#heardUpTo >= IN_STEP_MS) this.doubt()
    const wasInStep = this.#wasInStep
    this.#heardUpTo = sentAt
    this.#hearingAt = performance.now()
    this.#wasInStep = this.inStep
    if (this.#wasInStep && !wasInStep) this.#options.log.info({}, 'session events are in step; the cache is used')
  }

  #turn(): void {
    const now = performance.now()
    if (this.#wasInStep && !this.inStep) {
      this.#options.log.warn({}, 'session events are out of step; the cache is not used')
      this.doubt()
    }
    const isDeaf = now - this.#hearingAt > DEAF_MS && now - this.#publishedAt < DEAF_MS
    if (isDeaf && this.#subscriber) {
      const deaf = this.#subscriber
      this.#lost(deaf)
      deaf.disconnect()
    }
    void this.#tick(now)
  }

  async #tick(now: number): Promise<void> {
    // One at a time: a server that does not answer must not collect them.
    if (this.#isTicking) return
    this.#isTicking = true
    try {
      await this.#options.publish(`${TICK}${this.#options.instance} ${now}`)
      this.#publishedAt = performance.now()
    } catch {
      // An outage; the missing tick is how it is noticed.
    } finally {
      this.#isTicking = false
    }
  }
}

/** Anyone who may publish on the channel can send anything: what is no event is nothing. */
function parseEvent(message: string): StoreEvent | undefined {
  try {
    const value: unknown = JSON.parse(message)
    if (typeof value !== 'object' || value === null) return undefined
    const { type, ref, reason, version, failure, from } = value as Record<string, unknown> // any object has string keys
    if (typeof from !== 'string') return undefined
    if (typeof ref !== 'string') return undefined
    if (type === 'ended') return typeof reason === 'string' ? { type, ref, reason, from } : undefined
    if (type === 'released') return { type, ref, ...(typeof failure === 'string' && { failure }), from }
    if (type === 'refreshed' || type === 'updated') {
      return typeof version === 'number' ? { type, ref, version, from } : undefined
    }
    return undefined
  } catch {
    return undefined
  }
}

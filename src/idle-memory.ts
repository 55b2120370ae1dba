/**
 * Gives memory back while there is nothing to do. V8 keeps the room that a burst took until it collects, and a gateway
 * without requests gives it no reason to: a hundred MiB for hours, on the machine of the application that it stands
 * beside.
 *
 * Such a collection stops everything for 0.1 to 0.3 s, and takes compiled code along: the next requests cost twice as
 * much for some seconds. So there is one only after minutes in which next to nothing happened, and another only for
 * memory that was taken since.
 */
import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Log } from './telemetry/log.ts'

const LOOK_MS = 10_000
/** With fewer requests between two looks, hardly anybody would wait for a collection. */
const FEW_REQUESTS = 10
/** Share of the time in which the event loop does something. Streams and WebSockets show in nothing else. */
const QUIET_SHARE = 0.1
const QUIET_LOOKS = 30
const WORTH_BYTES = 32 * 1_048_576

export interface IdleMemoryOptions {
  readonly log: Pick<Log, 'debug' | 'warn'>
  /** How many requests have come since the start. */
  readonly requests: () => number
  /** Share of the time since it was asked before, 0 to 1, in which the event loop was busy. */
  readonly busyShare?: () => number
  readonly residentBytes?: () => number
  readonly collect?: () => void
}

/** Made once for a process; `start` begins to look. */
export class IdleMemory {
  readonly #log: IdleMemoryOptions['log']
  readonly #requests: () => number
  readonly #busyShare: () => number
  readonly #residentBytes: () => number
  readonly #collect: () => void
  #timer: NodeJS.Timeout | undefined
  #quietLooks = 0
  #seenRequests = 0
  /** What was resident after the last collection. */
  #needed = 0

  constructor(options: IdleMemoryOptions) {
    this.#log = options.log
    this.#requests = options.requests
    this.#busyShare = options.busyShare ?? loopShare()
    this.#residentBytes = options.residentBytes ?? (() => process.memoryUsage.rss())
    this.#collect = options.collect ?? collectEverything
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Called by the timer, and by tests. */
  look(): void {
    const requests = this.#requests()
    const isQuiet = this.#busyShare() < QUIET_SHARE && requests - this.#seenRequests < FEW_REQUESTS
    this.#seenRequests = requests
    this.#quietLooks = isQuiet ? this.#quietLooks + 1 : 0
    const before = this.#residentBytes()
    if (this.#quietLooks < QUIET_LOOKS || before < this.#needed + WORTH_BYTES) return
    try {
      this.#collect()
    } catch (error) {
      // Another runtime may show no collector: then memory is kept as V8 keeps it.
      this.stop()
      this.#log.warn({ err: error }, 'memory cannot be given back')
      return
    }
    this.#needed = this.#residentBytes()
    this.#log.debug({ before, after: this.#needed }, 'memory was given back while there was nothing to do')
  }
}

function loopShare(): () => number {
  let last = performance.eventLoopUtilization()
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    return utilization
  }
}

/** A collection after which V8 keeps no room for new objects, either. */
export function collectEverything(): void {
  collector ??= findCollector()
  // Of all flavors only this one gives back the room that the young generation has grown to.
  collector({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}

let collector: NodeJS.GCFunction | undefined

/** V8 shows its collector to contexts that are made while a flag is set. */
function findCollector(): NodeJS.GCFunction {
  setFlagsFromString('--expose-gc')
  const found = runInNewContext('gc') as NodeJS.GCFunction // the flag says so
  // As it was: what V8 compiles is stored with the flags of its time.
  setFlagsFromString('--no-expose-gc')
  return found
}

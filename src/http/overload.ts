/**
 * Sheds load before latency collapses: what cannot be served in time is refused at once with 503, so that what was
 * accepted stays fast and ends.
 *
 * Two signs say that there is too much. Requests whose answer has not begun are counted: they hold memory. And a
 * timer that fires late says how long everything waits for its turn in the event loop. One late turn is a pause (a
 * garbage collection, a laptop that slept), two in a row are load. Then fewer requests are admitted than before, by as
 * much as it is late, and fewer still at the next late look; in time again, a little more at each look. So the gateway
 * works near what it can do, instead of going from everything to nothing and back.
 */
import { BffError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'

const LOOK_MS = 50
const LATE_MS = 200
/** Between this and `LATE_MS` there is hardly room for more. */
const GOOD_MS = 100
/** Somebody always gets through, or nobody would see that it is over. */
const LEAST_SHARE = 1 / 32
/** From the least share to everything in two seconds of good looks. */
const REGAIN = 1 / 40
const SLOW_REGAIN = 1 / 100
/** A few tens of kB each; more than a machine that one process fills can work on. */
const MOST_WAITING = 8_192
/** So few are not what keeps the loop busy: somebody else has the machine, and refusing them would help nobody. */
const FEW_WAITING = 64
/** So many looks without a refusal, and it is over. */
const QUIET_LOOKS = 40

export interface OverloadOptions {
  /** How many requests are waiting for the head of their answer now. Streams and downloads are not. */
  readonly waiting: () => number
  /** The places of the largest upstream, whose queue must fit into the bound. */
  readonly places: () => number
  readonly log: Pick<Log, 'warn' | 'info'>
  /** A clock that never jumps, in ms. */
  readonly now?: () => number
}

// Made once: a stack trace for each of thousands of refusals would cost more than the refusal.
export const OVERLOADED = new BffError('overloaded', 'the gateway has more to do than it can', { retryAfterSeconds: 1 })

/** Made once for a process; `start` begins to look. */
export class Overload {
  readonly #options: OverloadOptions
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined
  #lookedAt: number
  #lateLooks = 0
  /** How much of what comes is admitted. */
  #share = 1
  /** What the share has added up to: at 1 a request is admitted. */
  #credit = 0
  #waiting = 0
  #mostWaiting = MOST_WAITING
  #isShedding = false
  #quietLooks = 0

  constructor(options: OverloadOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.#lookedAt = this.#now()
  }

  start(): void {
    this.#lookedAt = this.#now()
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Whether one more request is taken; asked once for each, before anything is done for it that costs. */
  admits(): boolean {
    if (this.#waiting >= this.#mostWaiting || !this.#isAmongTheShare()) {
      this.#noteRefusal()
      return false
    }
    // What has ended since the last look is not known; the bound has room for that.
    this.#waiting += 1
    return true
  }

  /** Called by the timer, and by tests. */
  look(): void {
    const at = this.#now()
    const lateMs = at - this.#lookedAt - LOOK_MS
    this.#lookedAt = at
    this.#waiting = this.#options.waiting()
    this.#mostWaiting = Math.max(MOST_WAITING, 2 * this.#options.places())

    this.#lateLooks = lateMs > LATE_MS ? this.#lateLooks + 1 : 0
    if (this.#lateLooks > 1) this.#share = Math.max(LEAST_SHARE, this.#share * Math.max(1 / 2, LATE_MS / lateMs))
    else if (this.#lateLooks === 0) this.#share = Math.min(1, this.#share + (lateMs < GOOD_MS ? REGAIN : SLOW_REGAIN))
    this.#quietLooks += 1
    if (this.#isShedding && this.#share === 1 && this.#quietLooks >= QUIET_LOOKS) {
      this.#isShedding = false
      this.#options.log.info({}, 'no longer overloaded: every request is taken')
    }
  }

  #isAmongTheShare(): boolean {
    if (this.#share === 1 || this.#waiting < FEW_WAITING) return true
    this.#credit += this.#share
    if (this.#credit < 1) return false
    this.#credit -= 1
    return true
  }

  #noteRefusal(): void {
    this.#quietLooks = 0
    if (this.#isShedding) return
    this.#isShedding = true
    this.#options.log.warn({ waiting: this.#waiting, share: this.#share }, 'overloaded: requests are refused')
  }
}

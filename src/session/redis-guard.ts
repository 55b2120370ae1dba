/** What stands around every command to Redis: a bound, a measure, one kind of failure. */
import { BffError } from '../errors.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { withoutCommand } from './redis-client.ts'

/** While the server does not answer, one command in so many ms finds out whether it does again; the others fail at once. */
const TRIAL_MS = 250
/** What a node of a cluster says of a slot that moves. */
const REDIRECTIONS = new Set(['MOVED', 'ASK', 'TRYAGAIN'])
const MOST_REDIRECTIONS = 3

export class RedisGuard {
  readonly #timeoutMs: number
  readonly #metrics: Pick<Metrics, 'storeDuration' | 'storeErrors'> | undefined
  readonly #gather: () => void
  /** Of each operation: finding it by its labels costs more than counting. */
  readonly #durations = new Map<string, { observe(seconds: number): void }>()
  #isSilent = false
  #nextTrialAt = 0

  /** @param gather `gatherWrites` of the client */
  constructor(timeoutMs: number, metrics?: Pick<Metrics, 'storeDuration' | 'storeErrors'>, gather = () => {}) {
    this.#timeoutMs = timeoutMs
    this.#metrics = metrics
    this.#gather = gather
  }

  /**
   * One command: measured, bounded, its failure translated once.
   *
   * @throws BffError `store_unavailable` with the cause, for whatever went wrong
   */
  async run<T>(operation: string, command: () => Promise<T>, redirections = 0): Promise<T> {
    const started = performance.now()
    if (this.#isSilent) {
      // Fail fast: commands that wait for a server which is stopped would only pile up.
      if (started < this.#nextTrialAt) throw this.#unavailable(new Error('Redis does not answer'))
      this.#nextTrialAt = started + TRIAL_MS
    }
    try {
      const answer = await this.bounded(command)
      this.#isSilent = false
      return answer
    } catch (error) {
      const code = replyCode(error)
      if (code !== undefined) this.#isSilent = false
      // Not carried out, but to be had elsewhere. ioredis goes there itself, unless others of a pipeline were answered.
      if (REDIRECTIONS.has(code ?? '') && redirections < MOST_REDIRECTIONS)
        return await this.run(operation, command, redirections + 1)
      throw this.#unavailable(error)
    } finally {
      if (operation !== 'tick') this.#durationOf(operation)?.observe((performance.now() - started) / 1_000)
    }
  }

  #durationOf(operation: string): { observe(seconds: number): void } | undefined {
    let duration = this.#durations.get(operation)
    if (duration === undefined && this.#metrics) {
      duration = this.#metrics.storeDuration.labels(operation)
      this.#durations.set(operation, duration)
    }
    return duration
  }

  /** A Cluster's commands are bounded by ioredis too, but only from when they are sent: some wait behind others. */
  bounded<T>(command: () => Promise<T>): Promise<T> {
    this.#gather()
    return new Promise((resolve, reject) => {
      const answered = command()
      const timer = setTimeout(() => {
        this.#isSilent = true
        reject(new Error('Redis did not answer in time'))
      }, this.#timeoutMs)
      answered.then(
        (answer) => {
          clearTimeout(timer)
          resolve(answer)
        },
        (error: Error) => {
          clearTimeout(timer)
          reject(error)
        },
      )
    })
  }

  #unavailable(error: unknown): BffError {
    this.#metrics?.storeErrors.inc()
    const code = replyCode(error)
    const detail = code === 'OOM' ? 'Redis is full' : code ? `Redis refused: ${code}` : 'Redis did not answer'
    return new BffError('store_unavailable', detail, { cause: withoutCommand(error) })
  }
}

/** The first word of an error reply (`OOM`, `READONLY`, `WRONGTYPE`, `NOAUTH` …), also behind our own BffError. */
export function replyCode(error: unknown): string | undefined {
  const reply = error instanceof BffError ? error.cause : error
  if (!(reply instanceof Error) || reply.name !== 'ReplyError') return undefined
  return /\bWRONGTYPE\b/.test(reply.message) ? 'WRONGTYPE' : (/^-?([A-Z]+)/.exec(reply.message)?.[1] ?? 'ERR')
}

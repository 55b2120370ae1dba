/** A log whose lines name the trace in which they were written. */
import type { Log } from './log.ts'
import type { Tracing } from './tracing.ts'

/** For the layers that know nothing of requests; those of a request have their own. */
export class TracedLog implements Log {
  readonly #log: Log
  readonly #tracing: Pick<Tracing, 'traceIdOf'>

  constructor(log: Log, tracing: Pick<Tracing, 'traceIdOf'>) {
    this.#log = log
    this.#tracing = tracing
  }

  debug(fields: object, message: string): void {
    this.#log.debug(this.#traced(fields), message)
  }

  info(fields: object, message: string): void {
    this.#log.info(this.#traced(fields), message)
  }

  warn(fields: object, message: string): void {
    this.#log.warn(this.#traced(fields), message)
  }

  error(fields: object, message: string): void {
    this.#log.error(this.#traced(fields), message)
  }

  #traced(fields: object): object {
    const traceId = this.#tracing.traceIdOf()
    return traceId === undefined ? fields : { ...fields, traceId }
  }
}

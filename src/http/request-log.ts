/** The logger of one request, made when its first line is written: most requests write none but their access line. */
import type { FastifyBaseLogger } from 'fastify'

type Bindings = Record<string, unknown>
type Line = Parameters<(fields: object | string, message?: string) => void>

/** For `childLoggerFactory`: Fastify makes a logger for every request, and pino's costs as much as the whole judgment. */
export class RequestLog {
  readonly #parent: FastifyBaseLogger
  readonly #bindings: Bindings
  #made: FastifyBaseLogger | undefined

  constructor(parent: FastifyBaseLogger, bindings: Bindings) {
    this.#parent = parent
    this.#bindings = bindings
  }

  get level(): string {
    return this.#parent.level
  }

  child(bindings: Bindings): FastifyBaseLogger {
    return this.#log.child(bindings)
  }

  fatal(...[fields, message]: Line): void {
    this.#log.fatal(fields, message)
  }

  error(...[fields, message]: Line): void {
    this.#log.error(fields, message)
  }

  warn(...[fields, message]: Line): void {
    this.#log.warn(fields, message)
  }

  info(...[fields, message]: Line): void {
    this.#log.info(fields, message)
  }

  debug(...[fields, message]: Line): void {
    this.#log.debug(fields, message)
  }

  trace(...[fields, message]: Line): void {
    this.#log.trace(fields, message)
  }

  get #log(): FastifyBaseLogger {
    this.#made ??= this.#parent.child(this.#bindings)
    return this.#made
  }
}

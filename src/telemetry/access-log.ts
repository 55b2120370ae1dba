/** One line for each answered request: the one line of the hot path, so it is written by hand. */
import { type Logger, symbols } from 'pino'
import { cleanText } from './redaction.ts'

export interface AccessLine {
  readonly requestId: string
  readonly method: string
  /** Without the query, which may hold a code. */
  readonly path: string
  /** The configured path or an endpoint's name; `-` where nothing matched. */
  readonly route: string
  readonly status: number
  readonly durationMs: number
  readonly ip: string | undefined
  /** The first characters of the session's ref. */
  readonly sessionRef: string | undefined
  readonly traceId?: string | undefined
}

/**
 * The same JSON as the logger's, at a fifth of its cost: names and values are known, and nothing but the path comes
 * from outside. Where the logger does not write JSON (a terminal), the logger itself is used.
 */
export class AccessLog {
  readonly #logger: Logger
  readonly #stream: { write(line: string): void } | undefined
  readonly #routes = new Map<string, string>()
  #now = 0
  #time = ''

  /** @param isJson whether the logger writes JSON lines, as `createLogger` does everywhere but on a terminal */
  constructor(logger: Logger, isJson: boolean) {
    this.#logger = logger
    // pino keeps its destination under a public symbol, typed as anything.
    this.#stream = isJson ? (logger[symbols.streamSym as never] as { write(line: string): void }) : undefined
  }

  /** In one piece: the logger's destination counts the bytes of each that it gets. */
  write(lines: readonly AccessLine[]): void {
    if (!this.#logger.isLevelEnabled('info')) return
    if (this.#stream) this.#stream.write(lines.map((line) => this.#text(line)).join(''))
    else for (const line of lines) this.#logger.info(line, 'request')
  }

  #text({ requestId, method, path, route, status, durationMs, ip, sessionRef, traceId }: AccessLine): string {
    return (
      `{"level":"info","time":"${this.#isoTime()}","requestId":"${requestId}","method":"${method}",` +
      `"path":${JSON.stringify(cleanText(path))},"route":${this.#quoted(route)},"status":${status},` +
      `"durationMs":${durationMs}${ip === undefined ? '' : `,"ip":${JSON.stringify(ip)}`}` +
      (sessionRef === undefined ? '' : `,"sessionRef":"${sessionRef}"`) +
      `${traceId === undefined ? '' : `,"traceId":"${traceId}"`},"msg":"request"}\n`
    )
  }

  /** A busy gateway answers several requests in a millisecond. */
  #isoTime(): string {
    const now = Date.now()
    if (now !== this.#now) {
      this.#now = now
      this.#time = new Date(now).toISOString()
    }
    return this.#time
  }

  /** Routes are few and configured. */
  #quoted(route: string): string {
    let quoted = this.#routes.get(route)
    if (quoted === undefined) {
      quoted = JSON.stringify(route)
      this.#routes.set(route, quoted)
    }
    return quoted
  }
}

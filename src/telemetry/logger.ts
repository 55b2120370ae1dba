/** The logger: JSON lines on stdout; `pretty-lines.ts` makes them readable. */
import { fstatSync } from 'node:fs'
import { pino } from 'pino'
import type { DestinationStream, Logger, LoggerOptions } from 'pino'
import { BffError } from '../errors.ts'
import { cleanFields, cleanText } from './redaction.ts'

export interface LogSettings {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

/** A write for each line would cost a tenth of a proxied request: lines wait for company, for so long at most. */
const BATCH_BYTES = 16_000
const BATCH_MS = 100
/** Whoever reads the log has stopped: lines are dropped then, before the memory is full of them. */
const MOST_UNREAD_BYTES = 16 * 1_048_576

const CAUSES = 5
const FRAMES = 12

/** A pino logger that fits `Log` and Fastify's `loggerInstance`. Without `stream` it writes to stdout. */
export function createLogger(settings: LogSettings, stream?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level: settings.level,
    // One process to a container: its name and number tell nothing. Times in UTC (ASVS 16.2.2).
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    // Not pino's `redact`: its wildcards cost 20 µs a line, and it cannot cut or clean texts.
    formatters: { level: (label) => ({ level: label }), log: cleanLine, bindings: cleanFields },
    serializers: { err: describeError, error: describeError, req: describeRequest, res: describeResponse },
  }
  return pino(options, stream ?? standardOutput())
}

/** A file takes what is written at once; whoever reads a pipe may be slow, and the event loop must not wait for that. */
function standardOutput(): DestinationStream {
  const isFile = fstatSync(1).isFile()
  const destination = pino.destination({
    dest: 1,
    sync: isFile,
    minLength: BATCH_BYTES,
    periodicFlush: BATCH_MS,
    maxLength: MOST_UNREAD_BYTES,
  })
  // pino sees to that itself for a destination that is not synchronous.
  if (isFile) process.on('exit', () => destination.flushSync())
  return destination
}

/** Type, message, code and causes of a thrown value; no other property, since libraries hang answers and commands there. */
export function describeError(thrown: unknown): object {
  const described = describeOne(thrown)
  const causes: object[] = []
  const seen = new Set<unknown>([thrown])
  let cause = causeOf(thrown)
  while (cause instanceof Error && !seen.has(cause) && causes.length < CAUSES) {
    seen.add(cause)
    causes.push(describeOne(cause))
    cause = causeOf(cause)
  }
  return causes.length === 0 ? described : { ...described, causes }
}

function causeOf(thrown: unknown): unknown {
  if (thrown instanceof AggregateError && thrown.cause === undefined) return thrown.errors[0]
  return thrown instanceof Error ? thrown.cause : undefined
}

function describeOne(thrown: unknown): object {
  if (!(thrown instanceof Error)) return { type: typeof thrown, message: 'a value that is no error was thrown' }
  const code = 'code' in thrown && typeof thrown.code === 'string' ? { code: cleanText(thrown.code) } : {}
  const described = { type: thrown.name, message: cleanText(thrown.message), ...code }
  // Our own failures say where they come from; of foreign ones the frames are wanted, without the message above them.
  if (thrown instanceof BffError && thrown.code !== 'internal') return described
  return { ...described, stack: framesOf(thrown) }
}

/** A message of several lines stands in the stack, too, and could look like frames. */
function framesOf({ message, stack = '' }: Error): string[] {
  const at = stack.indexOf(message)
  const lines = (at === -1 ? stack : stack.slice(at + message.length)).split('\n')
  return lines
    .filter((line) => /^\s+at /.test(line))
    .slice(0, FRAMES)
    .map((line) => cleanText(line.trim()))
}

function cleanLine(fields: Record<string, unknown>): Record<string, unknown> {
  return cleanFields(fields)
}

/** Method and path only: the callback's query holds the code and the state. */
function describeRequest(request: unknown): object {
  if (typeof request !== 'object' || request === null) return {}
  const { method, url, ip } = request as { method?: unknown; url?: unknown; ip?: unknown }
  return {
    ...(typeof method === 'string' && { method: cleanText(method) }),
    ...(typeof url === 'string' && { path: cleanText(url.replace(/[?#].*$/s, '')) }),
    ...(typeof ip === 'string' && { remoteAddress: ip }),
  }
}

function describeResponse(response: unknown): object {
  if (typeof response !== 'object' || response === null || !('statusCode' in response)) return {}
  return { statusCode: response.statusCode }
}

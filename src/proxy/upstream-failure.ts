/** What went wrong on the way to an upstream, as a failure that a client may see: the cause is for the log. */
import { BffError } from '../errors.ts'

const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'])
const NO_CONNECTION = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
])

/** 504 for time, 502 for everything else; a failure of our own making stays what it is. */
export function failureOf(error: Error): BffError {
  if (error instanceof BffError) return error
  const code = codeOf(error)
  if (TIMEOUTS.has(code))
    return new BffError('upstream_timeout', `the upstream took too long (${code})`, { cause: error })
  return new BffError('upstream_unavailable', `the upstream could not be asked (${code})`, { cause: error })
}

/** Whether the connection was refused or broke while it was made: trying again at once may reach another address. */
export function isConnectFailure(error: Error): boolean {
  return NO_CONNECTION.has(codeOf(error))
}

function codeOf(error: Error): string {
  if ('code' in error && typeof error.code === 'string') return error.code
  // Node tries each address of a name and joins what happened.
  if (error instanceof AggregateError) {
    const first: unknown = error.errors[0]
    if (first instanceof Error) return codeOf(first)
  }
  return error.name
}

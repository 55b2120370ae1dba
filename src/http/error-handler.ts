/** Every failure of a request ends here: it is logged, and answered. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { BffError, type FailureCode } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { describeFailure, type FailureOptions } from './failure-answer.ts'
import { letRest } from './rest.ts'

/** How loud a failure is in the log; what is not named here is the daily bread of a server on the Internet. */
const LEVELS: Partial<Record<FailureCode, 'warn' | 'error'>> = {
  login_failed: 'warn',
  csrf_rejected: 'warn',
  rate_limited: 'warn',
  internal: 'error',
  upstream_unavailable: 'error',
  upstream_timeout: 'error',
  loop_detected: 'error',
  store_unavailable: 'error',
  provider_unavailable: 'error',
  overloaded: 'warn',
}

/** Fastify's own errors and Node's, by their status: what the client did wrong, without their words. */
const CODES_BY_STATUS: Readonly<Record<number, FailureCode>> = {
  400: 'invalid_request',
  404: 'not_found',
  405: 'method_not_allowed',
  413: 'payload_too_large',
  414: 'uri_too_long',
  415: 'unsupported_media_type',
  431: 'headers_too_large',
}

/** Takes over every failure of an application: thrown, rejected, not found. Registered at the root, before all else. */
export function registerErrorHandler(app: FastifyInstance, options: FailureOptions): void {
  app.setErrorHandler((error, request, reply) => sendFailure(error, request, reply, options))
  app.setNotFoundHandler((request, reply) =>
    sendFailure(new BffError('not_found', 'no handler has this path'), request, reply, options),
  )
}

/**
 * Answers with problem+json (RFC 9457), or with a page where a person looks, and logs the detail. Also what
 * `frameworkErrors` of Fastify's constructor calls.
 *
 * @param asked what the client asked for, where that is not this request but one that a proxy describes
 */
export function sendFailure(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  options: FailureOptions,
  asked: { readonly method: string; readonly target: string | undefined } = {
    method: request.method,
    target: request.raw.url,
  },
): FastifyReply {
  const error = failureOf(thrown)
  logFailure(request.log, error)
  const answer = describeFailure(error, { ...asked, requestId: request.id, headers: request.headers }, options)
  for (const [name, value] of Object.entries(answer.headers)) {
    // The callback has asked for a stricter policy than ours (CB-10).
    if (name !== 'referrer-policy' || !reply.hasHeader(name)) reply.header(name, value)
  }
  if (error.code === 'overloaded') letRest(request.raw.socket)
  // As bytes: to a text Fastify adds a charset, which JSON has none of (RFC 8259 §11).
  return reply.code(answer.status).send(Buffer.from(answer.body))
}

/** A request that the framework never saw, and further fields of the answer to it. */
interface UnreadRequest {
  readonly raw: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly headers: Readonly<Record<string, string>>
}

/** Answers a request of which nothing has been made, as `sendFailure` would and at a fraction of its cost. */
export function answerUnread(
  error: BffError,
  { raw, response, requestId, headers }: UnreadRequest,
  options: FailureOptions,
): void {
  const { method, url: target } = raw
  const answer = describeFailure(error, { requestId, method, target, headers: raw.headers }, options)
  const length = String(Buffer.byteLength(answer.body))
  response.writeHead(answer.status, { ...headers, ...answer.headers, 'content-length': length }).end(answer.body)
  if (error.code === 'overloaded') letRest(raw.socket)
}

/** Any thrown value as a failure with a public code; what we do not know is ours to answer for. */
export function failureOf(thrown: unknown): BffError {
  if (thrown instanceof BffError) return thrown
  if (thrown instanceof Error) {
    // Libraries put what they like there: both are looked at as unknown.
    const { statusCode, code } = thrown as Error & { statusCode?: unknown; code?: unknown }
    const known = typeof statusCode === 'number' ? CODES_BY_STATUS[statusCode] : undefined
    // The message may quote the request; the library's code does not.
    if (known) return new BffError(known, `refused by the server: ${typeof code === 'string' ? code : 'no code'}`)
  }
  return new BffError('internal', 'an unexpected error', { cause: thrown })
}

/** Writes it down as loudly as its kind deserves. */
export function logFailure(log: Log, error: BffError, requestId?: string): void {
  const level = LEVELS[error.code] ?? 'info'
  const fields = {
    code: error.code,
    detail: error.message,
    remedy: error.remedy,
    ...(requestId !== undefined && { requestId }),
    ...(level === 'error' && { err: error }),
  }
  log[level](fields, 'request failed')
}

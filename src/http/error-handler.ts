/** The only place that writes an answer to a failure, for requests and for what never became one. */
import { randomUUID } from 'node:crypto'
import { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { BffError, type FailureCode } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { isNavigation } from './csrf.ts'
import type { Pages } from './pages.ts'
import { letRest } from './rest.ts'
import { parseReturnTo } from './return-to.ts'
import type { SecurityHeaders } from './security-headers.ts'

export interface FailureOptions {
  readonly publicUrl: URL
  readonly basePath: string
  readonly pages: Pages
  readonly security: SecurityHeaders
}

interface FailedRequest {
  readonly requestId: string
  readonly method: string | undefined
  /** The request target as sent; `undefined` where it was never read. */
  readonly target: string | undefined
  readonly headers: IncomingHttpHeaders
}

interface Answer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

/** How loud a failure is in the log; what is not named here is the daily bread of a server on the Internet. */
const LEVELS: Partial<Record<FailureCode, 'debug' | 'warn' | 'error'>> = {
  login_required: 'debug',
  not_found: 'debug',
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

/** So long a client that is still sending may take to read our answer before the connection goes. */
const LINGER_MS = 1_000

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
  const answer = describe(error, { ...asked, requestId: request.id, headers: request.headers }, options)
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
  const answer = describe(error, { requestId, method, target, headers: raw.headers }, options)
  const length = String(Buffer.byteLength(answer.body))
  response.writeHead(answer.status, { ...headers, ...answer.headers, 'content-length': length }).end(answer.body)
  if (error.code === 'overloaded') letRest(raw.socket)
}

/** Connections that end with the answer that is under way on them. */
const ending = new WeakSet<Duplex>()

/**
 * Answers what never became a request: Node's `clientError`. A reset is no failure to anyone; a connection that says
 * nothing for too long is closed without a word, since a late answer would be taken for the next request's; in the
 * middle of an answer nothing can be said any more.
 */
export function answerClientError(
  parserError: Error & { code?: string },
  socket: Duplex,
  options: FailureOptions & { readonly log: Log },
): void {
  const hasNoReader = parserError.code === 'ECONNRESET' || parserError.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  // Node keeps the answer that is under way on the socket, and asks the same question in its own default.
  const { _httpMessage: underWay } = socket as Duplex & { _httpMessage?: ServerResponse | null }
  if (underWay?.req.complete && !hasNoReader) {
    // The fault is in what was pipelined behind a good request: an answer now would be taken for that one's.
    if (!ending.has(socket)) underWay.once('finish', () => socket.end())
    ending.add(socket)
    underWay.shouldKeepAlive = false
    return
  }
  if (hasNoReader || !socket.writable || underWay?.headersSent) {
    socket.destroy()
    return
  }
  const error = clientFailureOf(parserError)
  const requestId = randomUUID()
  logFailure(options.log, error, requestId)
  writeAnswer(socket, describe(error, { requestId, method: undefined, target: undefined, headers: {} }, options))
}

/** What the parser found wrong, as a failure. */
export function clientFailureOf(parserError: Error & { code?: string }): BffError {
  const detail = `Node's parser refused the request: ${parserError.code ?? 'unknown'}`
  switch (parserError.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new BffError('headers_too_large', detail)
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new BffError('payload_too_large', detail)
    default:
      return new BffError('invalid_request', detail)
  }
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

function logFailure(log: Log, error: BffError, requestId?: string): void {
  const level = LEVELS[error.code] ?? 'info'
  const fields = {
    code: error.code,
    detail: error.message,
    ...(requestId !== undefined && { requestId }),
    ...(level === 'error' && { err: error }),
  }
  log[level](fields, 'request failed')
}

function describe(error: BffError, request: FailedRequest, options: FailureOptions): Answer {
  const { statusCode: status, title, code } = error
  const common = {
    ...error.headers,
    'sidegate-error': code,
    'cache-control': 'no-store',
    ...(error.retryAfterSeconds !== undefined && { 'retry-after': String(error.retryAfterSeconds) }),
  }
  if (isNavigation(request.headers)) {
    const page = options.pages.failure({
      code,
      requestId: request.requestId,
      loginUrl: loginUrl(request, options, error.members['loginUrl']),
      retryUrl: retryUrl(request, options),
    })
    return { status, headers: { ...page.headers, ...common }, body: page.html }
  }
  const document = {
    ...(status === 401 && { loginUrl: `${options.basePath}/login` }),
    ...error.members,
    status,
    title,
    code,
    requestId: request.requestId,
  }
  return {
    status,
    headers: { ...options.security.answer, 'content-type': 'application/problem+json', ...common },
    body: JSON.stringify(document),
  }
}

/** What "try again" leads to: the same address, or for a sign-in that broke off a new one. */
function retryUrl(request: FailedRequest, options: FailureOptions): string | undefined {
  const login = `${options.basePath}/login`
  const target = request.method === 'GET' ? request.target : undefined
  if (target === login || target?.startsWith(`${login}?`)) return target
  return ownAddress(request, options) ?? (target?.startsWith(`${options.basePath}/callback`) ? login : undefined)
}

/** The sign-in that ends where this request wanted to go: the one that the failure asks for, or any. */
function loginUrl(request: FailedRequest, options: FailureOptions, wanted: unknown): string {
  const returnTo = ownAddress(request, options)
  const login = typeof wanted === 'string' ? wanted : `${options.basePath}/login`
  if (returnTo === undefined || returnTo === '/') return login
  return `${login}${login.includes('?') ? '&' : '?'}returnTo=${encodeURIComponent(returnTo)}`
}

/** The address that was asked for, where a page may link to it: by GET, ours, and no endpoint. */
function ownAddress(request: FailedRequest, options: FailureOptions): string | undefined {
  if (request.method !== 'GET' || request.target === undefined) return undefined
  const { returnTo, refused } = parseReturnTo(request.target, { ...options, allowedOrigins: [] })
  return refused ? undefined : returnTo
}

/** A whole HTTP/1.1 answer. The connection ends by it, but not before the client has had the time to read. */
function writeAnswer(socket: Duplex, answer: Answer): void {
  const body = Buffer.from(answer.body)
  const head = [
    `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`,
    ...Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}`),
    `date: ${new Date().toUTCString()}`,
    `content-length: ${body.length}`,
    'connection: close',
    '',
    '',
  ].join('\r\n')
  // A reset while we write is the client's affair.
  socket.on('error', () => socket.destroy())
  socket.end(Buffer.concat([Buffer.from(head, 'latin1'), body]))
  // Closing with unread bytes would send a reset that overtakes the answer; what still comes is thrown away.
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref()
  socket.once('close', () => clearTimeout(timer))
}

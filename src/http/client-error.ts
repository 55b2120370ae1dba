/** Answers what never became a request, on the bare socket. */
import { randomUUID } from 'node:crypto'
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { BffError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { logFailure } from './error-handler.ts'
import { describeFailure, type FailureAnswer, type FailureOptions } from './failure-answer.ts'

/** So long a client that is still sending may take to read our answer before the connection goes. */
const LINGER_MS = 1_000

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
  writeAnswer(socket, describeFailure(error, { requestId, method: undefined, target: undefined, headers: {} }, options))
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

/** A whole HTTP/1.1 answer. The connection ends by it, but not before the client has had the time to read. */
function writeAnswer(socket: Duplex, answer: FailureAnswer): void {
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

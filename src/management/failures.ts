/** Failures on the listeners for operators: problem documents (RFC 9457) without a word about the request. */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { z } from 'zod'
import { BffError } from '../errors.ts'
import type { OperatorProblem } from '../http/answers.ts'
import { clientFailureOf } from '../http/client-error.ts'
import { failureOf } from '../http/error-handler.ts'
import type { Log } from '../telemetry/log.ts'

/** For Fastify's constructor: its own answers would repeat the address that was asked for. */
export const operatorListener = {
  forceCloseConnections: true,
  frameworkErrors: (error: Error, _request: unknown, reply: FastifyReply) => void send(reply, failureOf(error)),
  clientErrorHandler: answerClientError,
} as const

/** Whatever a handler throws, and what has no handler. */
export function registerFailures(app: FastifyInstance, log: Log): void {
  app.setErrorHandler((thrown, _request, reply) => {
    const failure = failureOf(thrown)
    if (failure.code === 'internal') log.error({ err: thrown }, 'a request on a listener for operators failed')
    return send(reply, failure)
  })
  app.setNotFoundHandler((_request, reply) => send(reply, new BffError('not_found')))
}

function send(reply: FastifyReply, failure: BffError): FastifyReply {
  // As bytes: to a text Fastify adds a charset, which JSON has none of (RFC 8259 §11).
  return reply
    .code(failure.statusCode)
    .headers(headersOf(failure))
    .send(Buffer.from(bodyOf(failure)))
}

/** What never became a request: a reset and a silence have no reader. */
function answerClientError(parserError: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || ['ECONNRESET', 'ERR_HTTP_REQUEST_TIMEOUT'].includes(parserError.code ?? '')) {
    socket.destroy()
    return
  }
  const failure = clientFailureOf(parserError)
  const body = bodyOf(failure)
  const fields = Object.entries({
    ...headersOf(failure),
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  })
  const head = [
    `HTTP/1.1 ${failure.statusCode} ${STATUS_CODES[failure.statusCode] ?? ''}`,
    ...fields.map(([name, value]) => `${name}: ${value}`),
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

function headersOf({ headers, retryAfterSeconds }: BffError): Record<string, string> {
  return {
    ...headers,
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
  }
}

function bodyOf({ statusCode: status, title, code }: BffError): string {
  return JSON.stringify({ status, title, code } satisfies z.infer<typeof OperatorProblem>)
}

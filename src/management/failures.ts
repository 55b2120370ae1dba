/** Failures on the listeners for operators: problem documents (RFC 9457) without a word about the request. */
import type { FastifyError, FastifyInstance, FastifyReply } from 'fastify'
import type { z } from 'zod'
import { BffError } from '../errors.ts'
import type { OperatorProblem } from '../http/answers.ts'
import { failureOf } from '../http/error-handler.ts'
import type { Log } from '../telemetry/log.ts'

/** For `frameworkErrors` of Fastify's constructor: an address that it could not read. */
export function answerFrameworkError(error: FastifyError, _request: unknown, reply: FastifyReply): void {
  void send(reply, failureOf(error))
}

/** Whatever a handler throws, and what has no handler. */
export function registerFailures(app: FastifyInstance, log: Log): void {
  app.setErrorHandler((thrown, _request, reply) => {
    const failure = failureOf(thrown)
    if (failure.code === 'internal') log.error({ err: thrown }, 'a request on a listener for operators failed')
    return send(reply, failure)
  })
  app.setNotFoundHandler((_request, reply) => send(reply, new BffError('not_found')))
}

function send(
  reply: FastifyReply,
  { statusCode: status, title, code, headers, retryAfterSeconds }: BffError,
): FastifyReply {
  return reply
    .code(status)
    .headers({
      ...headers,
      'cache-control': 'no-store',
      ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
    })
    .type('application/problem+json')
    .send({ status, title, code } satisfies z.infer<typeof OperatorProblem>)
}

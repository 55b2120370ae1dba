/** One request and whoever answers it, by whatever way it came. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import { answerUnread, failureOf, logFailure } from './error-handler.ts'
import type { FailureOptions } from './failure-answer.ts'

export interface Call {
  readonly raw: IncomingMessage
  readonly response: ServerResponse
  /** For log lines, failures and `X-Request-Id`. */
  readonly id: string
  readonly log: Pick<FastifyBaseLogger, 'debug' | 'info' | 'warn' | 'error'>
  /** From now on the answer is written by whoever calls this. */
  takeOver(): void
  /** Answers with a failure, whatever was thrown. */
  fail(thrown: unknown): void
}

/** One that came through the framework. */
export class FrameworkCall implements Call {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply

  constructor(request: FastifyRequest, reply: FastifyReply) {
    this.#request = request
    this.#reply = reply
  }

  get raw(): IncomingMessage {
    return this.#request.raw
  }

  get response(): ServerResponse {
    return this.#reply.raw
  }

  get id(): string {
    return this.#request.id
  }

  get log(): FastifyBaseLogger {
    return this.#request.log
  }

  takeOver(): void {
    this.#reply.hijack()
  }

  fail(thrown: unknown): void {
    void this.#reply.send(thrown)
  }
}

export interface DirectCallOptions {
  readonly log: FastifyBaseLogger
  readonly failures: FailureOptions
}

/** One of which the framework knows nothing. */
export class DirectCall implements Call {
  readonly raw: IncomingMessage
  readonly response: ServerResponse
  readonly id: string
  readonly #options: DirectCallOptions
  #log: FastifyBaseLogger | undefined

  constructor(raw: IncomingMessage, response: ServerResponse, id: string, options: DirectCallOptions) {
    this.raw = raw
    this.response = response
    this.id = id
    this.#options = options
  }

  /** Made when it is needed: most requests write nothing but their line of access. */
  get log(): FastifyBaseLogger {
    this.#log ??= this.#options.log.child({ requestId: this.id })
    return this.#log
  }

  takeOver(): void {
    // Nobody else would write it.
  }

  fail(thrown: unknown): void {
    const { raw, response, id } = this
    try {
      const error = failureOf(thrown)
      logFailure(this.log, error)
      // Too late to say anything else; a client must not take what it has for the whole.
      if (response.headersSent) response.destroy()
      else answerUnread(error, { raw, response, requestId: id, headers: {} }, this.#options.failures)
    } catch (err) {
      // Called from where nobody would catch, and one failure must not end the process for all.
      this.log.error({ err }, 'a failure could not be answered')
      response.destroy()
    }
  }
}

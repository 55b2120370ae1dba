/** The framework's part: our own endpoints, files, and what of the proxy needs a router. */
import { randomUUID } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import {
  fastify,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { Config } from './config/schema.ts'
import type { Entrance } from './entrance.ts'
import { answerClientError } from './http/client-error.ts'
import { preflightHeaders } from './http/cors.ts'
import { sendFailure } from './http/error-handler.ts'
import type { FailureOptions } from './http/failure-answer.ts'
import type { Judged, Place } from './http/judge.ts'
import type { RequestAccount } from './http/request-account.ts'
import { RequestLog } from './http/request-log.ts'
import { Route } from './proxy/route-table.ts'
import { acceptUpgrades } from './proxy/websocket.ts'
import { beginLogin, type LoginOptions, onlyProvider } from './routes/login.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What the judge found; `null` until it has. */
    judged: Judged | null
  }
}

export interface ApplicationOptions {
  readonly log: Logger
  readonly failures: FailureOptions
  readonly account: Pick<RequestAccount, 'refused'>
  readonly entrance: Entrance
}

/** It listens nowhere: what its `server` emits as requests comes in by the entrance. */
export function createApplication({ log, failures, account, entrance }: ApplicationOptions): FastifyInstance {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: () => randomUUID(),
    // Made in full when it is needed; what Fastify asks of a logger is there.
    childLoggerFactory: (logger, bindings) => new RequestLog(logger, bindings) as unknown as FastifyBaseLogger,
    requestIdHeader: false,
    // The public listener hands it what comes, so that a reload can put another in its place.
    serverFactory: (handler) => createHttpServer((raw, response) => entrance.take(raw, response, handler)),
    return503OnClosing: false,
    exposeHeadRoutes: true,
    // Of a target that its router cannot read, Fastify calls no hook.
    frameworkErrors: (error, request, reply) => {
      sendFailure(error, request, reply, failures)
      account.refused(request.raw, request.id, reply.statusCode)
    },
    clientErrorHandler: (error, socket) => answerClientError(error, socket, { ...failures, log }),
  }) as unknown as FastifyInstance // the same interface with a logger of ours
  app.decorateRequest('judged', null)
  acceptUpgrades(app)
  app.server.on('checkContinue', (raw: IncomingMessage, response: ServerResponse) => {
    entrance.expectsContinue(raw)
    app.server.emit('request', raw, response)
  })
  return app
}

export interface JudgmentOptions {
  readonly entrance: Entrance
  readonly config: Config
  readonly loginOptions: LoginOptions
}

/** The one hook by which a request gets its judgment; what passes reaches a handler with `request.judged` set. */
export function registerJudgment(app: FastifyInstance, { entrance, config, loginOptions }: JudgmentOptions): void {
  const { origins } = config.cors

  // With a callback: a request whose session is at hand goes on at once, without a promise.
  app.addHook('onRequest', (request, reply, done) => {
    const goOn = (judged: Judged): void => {
      request.judged = judged
      entrance.letPass(request.raw, reply.raw, judged)
      if (judged.verdict === 'pass') done()
      else answerInPlace(judged, request, reply).then(undefined, done)
    }
    let judged
    try {
      judged = entrance.judge(request.raw)
    } catch (error) {
      // The judge throws nothing but errors.
      done(error as Error)
      return
    }
    if (judged instanceof Promise) judged.then(goOn, done)
    else goOn(judged)
  })

  async function answerInPlace(judged: Judged, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    if (judged.verdict === 'preflight') {
      const answer = preflightHeaders(request.headers, origins, judged.place.policy.methods)
      await reply.code(204).headers(answer).header('cache-control', 'no-store').send()
      return
    }
    const provider = judged.place.policy.loginProvider ?? onlyProvider(loginOptions)
    const returnTo = judged.path.path + judged.path.query
    if (provider === undefined) await reply.redirect(loginUrlFor(returnTo), 302)
    else
      await beginLogin(reply, { returnTo, provider, params: routeParams(judged.place), isPopup: false }, loginOptions)
  }

  /** Where the visitor chooses among several providers. */
  function loginUrlFor(returnTo: string): string {
    return `${config.basePath}/login?returnTo=${encodeURIComponent(returnTo)}`
  }
}

/** What a `login` route asks of the sign-in that it begins (`routes[].login`). */
function routeParams(place: Place): Readonly<Record<string, string>> {
  const { provider: _, ...params } = (place instanceof Route && place.config.login) || {}
  // Lists of values are texts with spaces on the wire (`acr_values`, `ui_locales`).
  return Object.fromEntries(Object.entries(params).map(([name, value]) => [name, [value].flat().join(' ')]))
}

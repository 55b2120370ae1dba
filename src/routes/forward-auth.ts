/**
 * Forward-auth: a proxy that stands before applications asks for each of their requests whether it may pass, and with
 * which credentials (nginx `auth_request`, `forward_auth` of Caddy and Traefik). The described request is judged by
 * the judge of the public listener. On a listener of its own: page script could read the token from the answer.
 */
import type { IncomingMessage } from 'node:http'
import { fastify, type FastifyBaseLogger, type FastifyInstance, type FastifyReply, LogController } from 'fastify'
import { BffError } from '../errors.ts'
import type { ClientAddresses } from '../http/client-address.ts'
import { answerClientError } from '../http/client-error.ts'
import { sendFailure } from '../http/error-handler.ts'
import type { FailureOptions } from '../http/failure-answer.ts'
import type { Judge, Judged, Place } from '../http/judge.ts'
import { OVERLOADED, type Overload } from '../http/overload.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** Where the login page is, in an answer of 401 to nginx, which passes no redirect on. */
const LOGIN_URL = 'sidegate-login-url'

/** The request that a proxy asks about. */
export interface DescribedRequest {
  readonly method: string
  /** As the client sent it; with scheme and authority where the proxy says them. */
  readonly target: string
  /** `original`: as nginx is configured; it takes 2xx, 401 and 403, and makes a 500 of everything else. */
  readonly dialect: 'forwarded' | 'original'
}

const METHODS = ['x-forwarded-method', 'x-original-method'] as const
const TARGETS = ['x-forwarded-uri', 'x-original-uri', 'x-original-url'] as const
/** RFC 9110 §5.6.2; two fields of a name, which Node joins, are none. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/**
 * Reads what a trusted proxy says. A field that a client has put in and a proxy has let through makes two answers to
 * one question, and then there is none: else the client could choose whose rules it is judged by.
 *
 * @throws BffError `forbidden`
 */
export function describedRequest({ headers }: Pick<IncomingMessage, 'headers'>): DescribedRequest {
  const method = only(METHODS.flatMap((name) => headers[name] ?? []))
  const targets = TARGETS.flatMap((name) => headers[name] ?? [])
  if (method === undefined || !TOKEN.test(method) || only(targets.map(withoutOrigin)) === undefined) {
    throw new BffError('forbidden', 'the check names no request, or more than one: method and URI are needed once')
  }
  const isOriginal = headers['x-original-uri'] !== undefined || headers['x-original-url'] !== undefined
  // Of several that agree the longest says the authority too, which is checked with the rest.
  const target = targets.toSorted((a, b) => b.length - a.length)[0] ?? ''
  return { method, target, dialect: isOriginal ? 'original' : 'forwarded' }
}

function only(values: readonly string[]): string | undefined {
  return new Set(values).size === 1 ? values[0] : undefined
}

function withoutOrigin(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]*/i, '')
}

export interface ForwardAuthOptions {
  readonly overload: Pick<Overload, 'admits'>
  readonly judge: Judge<Place>
  readonly addresses: Pick<ClientAddresses, 'isTrusted'>
  readonly failures: FailureOptions
  readonly corsOrigins: readonly string[]
  /** `Authorization` and identity headers for a request that may pass, names and values in turn. */
  readonly fieldsFor: (judged: Judged, method: string) => Promise<readonly string[]>
}

/** The answers of one gateway's configuration. */
export class ForwardAuth {
  readonly failures: FailureOptions
  readonly #options: ForwardAuthOptions

  constructor(options: ForwardAuthOptions) {
    this.#options = options
    this.failures = options.failures
  }

  /** @throws BffError `forbidden` when the check does not come from a trusted proxy or names no request */
  read(raw: IncomingMessage): DescribedRequest {
    if (!this.#options.addresses.isTrusted(raw)) {
      throw new BffError('forbidden', 'the check comes from a peer that trustedProxies does not name')
    }
    return describedRequest(raw)
  }

  /** @throws BffError with the code of the first judgment that fails */
  async judge(raw: IncomingMessage, described: DescribedRequest): Promise<Judged> {
    if (!this.#options.overload.admits()) throw OVERLOADED
    // The fields and the peer are those of the check, in which the proxy sends the client's along.
    const asked = Object.create(raw, {
      method: { value: described.method },
      url: { value: described.target },
    }) as IncomingMessage // its prototype is one
    // No page can set this field; without it the proxy would not open a WebSocket either.
    const kind = raw.headers['sec-websocket-key'] === undefined ? 'request' : 'websocket'
    return this.#options.judge.judge(asked, kind)
  }

  /** Sends what the judgment came to. */
  async answer(reply: FastifyReply, judged: Judged, { dialect, method }: DescribedRequest): Promise<FastifyReply> {
    const { failures, corsOrigins, fieldsFor } = this.#options
    const { origin } = reply.request.headers
    reply.header('cache-control', 'no-store')
    if (judged.verdict === 'login') {
      const returnTo = encodeURIComponent(judged.path.path + judged.path.query)
      const login = `${failures.publicUrl.origin}${failures.basePath}/login?returnTo=${returnTo}`
      if (dialect === 'forwarded') return reply.redirect(login, 302)
      throw new BffError('login_required', 'a navigation without a session', { headers: { [LOGIN_URL]: login } })
    }
    if (judged.verdict === 'preflight') {
      // The application answers it; it carries no credentials, and gets none here.
      if (origin !== undefined && corsOrigins.includes(origin)) return reply.code(200).send()
      throw new BffError('forbidden', 'a preflight from an origin that cors.origins does not name')
    }
    const fields = await fieldsFor(judged, method)
    for (let at = 0; at + 1 < fields.length; at += 2) reply.header(fields[at] ?? '', fields[at + 1])
    return reply.code(200).send()
  }
}

export interface ForwardAuthListenerOptions {
  /** The gateway in force may be another for each request. */
  readonly current: () => ForwardAuth
  readonly maxHeaderSize: number
  readonly log: FastifyBaseLogger
  readonly metrics: Pick<Metrics, 'countRequest'>
}

/** The listener's application: `GET /`, and nothing else. */
export function buildForwardAuth({
  current,
  maxHeaderSize,
  log,
  metrics,
}: ForwardAuthListenerOptions): FastifyInstance {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    http: { maxHeaderSize },
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => void sendFailure(error, request, reply, current().failures),
    clientErrorHandler: (error, socket) => answerClientError(error, socket, { ...current().failures, log }),
  }) as unknown as FastifyInstance // the same interface with a logger of ours
  const checks = new WeakMap<IncomingMessage, Check>()

  app.setErrorHandler((error, request, reply) => {
    const check = checks.get(request.raw)
    return sendFailure(error, request, reply, current().failures, check?.described)
  })
  app.setNotFoundHandler((request, reply) => {
    const isCheck = request.raw.url?.split('?', 1)[0] === '/'
    const error = isCheck
      ? new BffError('method_not_allowed', 'a check is a GET', { headers: { allow: 'GET' } })
      : new BffError('not_found', 'checks are for the path /')
    return sendFailure(error, request, reply, current().failures)
  })

  app.get('/', async (request, reply) => {
    const forwardAuth = current()
    const described = forwardAuth.read(request.raw)
    const check: Check = { described, judged: undefined }
    checks.set(request.raw, check)
    check.judged = await forwardAuth.judge(request.raw, described)
    return forwardAuth.answer(reply, check.judged, described)
  })
  app.addHook('onSend', async (request, reply) => {
    const { statusCode } = reply
    const isRefusal = statusCode >= 400 && statusCode < 500 && statusCode !== 401
    // To nginx any other refusal is an error of ours; which it was is in `Sidegate-Error`.
    if (isRefusal && checks.get(request.raw)?.described.dialect === 'original') reply.code(403)
  })
  app.addHook('onResponse', (request, reply, done) => {
    const { described, judged } = checks.get(request.raw) ?? {}
    const route = judged?.place.policy.name ?? '-'
    metrics.countRequest(route, described?.method ?? request.method, reply.statusCode, reply.elapsedTime / 1_000)
    request.log.info(
      {
        method: described?.method,
        path: described && withoutOrigin(described.target).split('?', 1)[0]?.slice(0, 256),
        route,
        status: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime * 10) / 10,
        ip: judged?.clientAddress,
        sessionRef: judged?.session?.ref.slice(0, 16),
      },
      'forward-auth',
    )
    done()
  })
  return app
}

/** A check that has been read, and what the judge found. */
interface Check {
  readonly described: DescribedRequest
  judged: Judged | undefined
}

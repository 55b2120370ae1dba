/** What stands behind the public listener, with everything registered in the order in which a request meets it. */
import { randomUUID } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import cookiePlugin from '@fastify/cookie'
import {
  fastify,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import type { Config } from './config/schema.ts'
import { ClientAddresses } from './http/client-address.ts'
import { CookieJar } from './http/cookies.ts'
import { corsHeaders, preflightHeaders } from './http/cors.ts'
import { answerClientError } from './http/client-error.ts'
import { registerErrorHandler, sendFailure } from './http/error-handler.ts'
import type { FailureOptions } from './http/failure-answer.ts'
import { FrontDoor } from './http/front-door.ts'
import { Judge, type Judged, type JudgeOptions, type Place } from './http/judge.ts'
import type { Overload } from './http/overload.ts'
import { Pages } from './http/pages.ts'
import type { Limiter } from './http/rate-limit.ts'
import { RequestAccount } from './http/request-account.ts'
import { RequestLog } from './http/request-log.ts'
import { RequestSpans } from './http/request-spans.ts'
import { SecurityHeaders } from './http/security-headers.ts'
import { BearerTokens } from './oidc/bearer-tokens.ts'
import type { ConfiguredProvider } from './oidc/providers.ts'
import { Credentials } from './proxy/credentials.ts'
import { forwardedFields } from './proxy/forwarded-fields.ts'
import { OpenStreams } from './proxy/open-streams.ts'
import { registerProxy } from './proxy/proxy.ts'
import { Route, RouteTable } from './proxy/route-table.ts'
import { registerSpa } from './proxy/spa.ts'
import { Upstreams } from './proxy/upstream.ts'
import { acceptUpgrades, isHandshake } from './proxy/websocket.ts'
import { EndpointTable } from './routes/endpoints.ts'
import { EventStreams } from './routes/events.ts'
import { ForwardAuth } from './routes/forward-auth.ts'
import { beginLogin, type LoginOptions, onlyProvider } from './routes/login.ts'
import { loginOptionsOf, registerOwnEndpoints } from './routes/own-endpoints.ts'
import { stepUpFor } from './routes/step-up.ts'
import type { KeyRing } from './session/key-ring.ts'
import type { SessionManager } from './session/manager.ts'
import type { Audit } from './telemetry/audit.ts'
import type { Metrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What the judge found; `null` until it has. */
    judged: Judged | null
  }
}

export interface GatewayOptions {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly audit: Audit
  readonly manager: SessionManager
  readonly keyRing: KeyRing
  readonly providers: ReadonlyMap<string, ConfiguredProvider>
  /** Outlives the gateway, whose limits may have changed. */
  readonly limiter: Limiter
  /** The process's, for all gateways that it has at a time. */
  readonly overload: Overload
  /** The browser client as an ES module. */
  readonly clientModule: string
  /** Where the variables of OpenTelemetry ask for traces. */
  readonly tracing?: Tracing | undefined
  readonly now: () => number
}

/** A gateway for one configuration, and what a shutdown has to do with it. */
export interface Gateway {
  readonly app: FastifyInstance
  /** For the listener of that name. */
  readonly forwardAuth: ForwardAuth
  /** From now on every answer asks its client to connect anew, so that load balancers move on. */
  drain(): void
  /** Ends event streams and closes WebSockets with 1001: they would keep a shutdown waiting for ever. */
  closeStreams(): void
}

/** Everything that is registered, in order: limits, judge, endpoints, proxy. */
export async function buildGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, log, metrics } = options
  const publicUrl = new URL(config.publicUrl)
  const cookies = new CookieJar(config)
  const addresses = new ClientAddresses(config.trustedProxies, log)
  const routes = new RouteTable(config)
  const pages = new Pages(config)
  const state = { isDraining: false }
  const traces = options.tracing && new RequestSpans(options.tracing)
  const account = new RequestAccount({ config, log, metrics, traces })
  const failures = { publicUrl, basePath: config.basePath, pages, security: new SecurityHeaders(config) }
  const door = new FrontDoor({
    overload: options.overload,
    failures,
    corsOrigins: config.cors.origins,
    isDraining: () => state.isDraining,
    onRefused: (raw, requestId, status) => account.refused(raw, requestId, status),
  })
  const app = createApp(options, { failures, door, account })

  const takesFormPost = [...options.providers.values()].some(({ config }) =>
    config.responseMode.startsWith('form_post'),
  )
  const endpoints = new EndpointTable({ basePath: config.basePath, takesFormPost })
  const bearers = new BearerTokens({
    rules: config.routes.flatMap(({ bearer }) => bearer ?? []),
    providers: [...options.providers.values()].map(({ client }) => client),
    log,
    metrics,
    tracing: options.tracing,
    now: options.now,
  })
  app.addHook('onClose', () => bearers.close())
  const judgeOptions: JudgeOptions<Place> = {
    publicUrl,
    match: (path, method) => (endpoints.covers(path.path) ? endpoints.match(path.path, method) : routes.match(path)),
    sessions: traces?.sessions(options.manager) ?? options.manager,
    cookies,
    bearers,
    csrf: {
      publicOrigin: publicUrl.origin,
      corsOrigins: config.cors.origins,
      requireHeader: config.csrf.requireHeader,
    },
    addresses,
    limiter: options.limiter,
    rateLimits: config.rateLimits,
    loginPath: `${config.basePath}/login`,
    onCsrfRejection: (reason, policy, raw) => {
      metrics.csrfRejections.inc({ reason })
      const cookie = cookies.sessionOf(raw)
      const sessionRef = cookie === undefined ? undefined : cookies.refOf(cookie)
      options.audit.record('csrf.rejected', { sessionRef, reason, route: policy.name })
    },
    now: options.now,
  }
  const judge = new Judge(judgeOptions)

  // It writes our cookies; reading is ours, since what is doubled or odd must count as none.
  await app.register(cookiePlugin, { hook: false })
  registerErrorHandler(app, failures)
  traces?.register(app, publicUrl)
  const loginOptions = loginOptionsOf(options, { cookies, pages, publicUrl })
  registerJudge(app, { judge, config, loginOptions, isDraining: () => state.isDraining })
  account.register(app, judgeOptions)

  const streams = new EventStreams()
  await app.register(
    async (scope) =>
      registerOwnEndpoints(scope, options, { login: loginOptions, streams, security: failures.security }),
    { prefix: config.basePath },
  )
  const proxyStreams = new OpenStreams({ manager: options.manager, metrics, now: options.now })
  const credentials = new Credentials({ manager: options.manager, now: options.now })
  const { loginPath } = judgeOptions
  const proxied = await registerProxy(app, {
    config,
    cookies,
    routes,
    addresses,
    upstreams: new Upstreams(options.now),
    traces,
    streams: proxyStreams,
    credentials,
    stepUp: ({ provider }, wanted) =>
      stepUpFor(wanted, { loginPath, provider, config: options.providers.get(provider)?.config }),
    loginPath,
    now: options.now,
    metrics,
  })
  await registerSpa(app, { routes, security: failures.security, log, now: options.now })
  await app.ready()
  return {
    app,
    forwardAuth: new ForwardAuth({
      overload: options.overload,
      // Our own endpoints are the public listener's: a proxy sends them there, and asks nobody.
      judge: new Judge({ ...judgeOptions, match: (path) => routes.match(path) }),
      addresses,
      failures,
      corsOrigins: config.cors.origins,
      fieldsFor: (judged, method) => forwardedFields(judged, method, proxied, credentials),
    }),
    drain: () => {
      state.isDraining = true
    },
    closeStreams: () => {
      streams.closeAll()
      proxyStreams.closeAll()
    },
  }
}

interface Surroundings {
  readonly failures: FailureOptions
  readonly door: FrontDoor
  readonly account: RequestAccount
}

function createApp({ log }: GatewayOptions, { failures, door, account }: Surroundings): FastifyInstance {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: () => randomUUID(),
    // Made in full when it is needed; what Fastify asks of a logger is there.
    childLoggerFactory: (logger, bindings) => new RequestLog(logger, bindings) as unknown as FastifyBaseLogger,
    requestIdHeader: false,
    // It listens nowhere: the public listener hands it what comes, so that a reload can put another in its place.
    serverFactory: (handler) =>
      createHttpServer((raw, response) => {
        if (door.lets(raw, response)) handler(raw, response)
      }),
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
  return app
}

interface JudgeHookOptions {
  readonly judge: Judge<Place>
  readonly config: Config
  readonly loginOptions: LoginOptions
  readonly isDraining: () => boolean
}

/** The one hook in which a request is judged; what it lets pass reaches a handler with `request.judged` set. */
function registerJudge(app: FastifyInstance, { judge, config, loginOptions, isDraining }: JudgeHookOptions): void {
  const { origins } = config.cors
  const waiting = new WeakSet<IncomingMessage>()
  // The client sends its body only after it has been told that it may: a refusal comes first (RFC 9110 §10.1.1).
  app.server.on('checkContinue', (raw: IncomingMessage, response: ServerResponse) => {
    waiting.add(raw)
    app.server.emit('request', raw, response)
  })

  // With a callback: a request whose session is at hand goes on at once, without a promise.
  app.addHook('onRequest', (request, reply, done) => {
    if (isDraining()) reply.raw.shouldKeepAlive = false
    if (origins.length > 0) {
      // On the raw answer, so that proxied answers carry them too.
      for (const [name, value] of Object.entries(corsHeaders(request.headers.origin, origins))) {
        reply.raw.setHeader(name, value)
      }
    }
    const goOn = (judged: Judged): void => {
      request.judged = judged
      // An absolute form (RFC 9112 §3.2.2) has been judged; what stands behind reads paths.
      if (!request.raw.url?.startsWith('/')) request.raw.url = judged.path.path + judged.path.query
      if (judged.verdict !== 'pass') {
        answerInPlace(judged, request, reply).then(undefined, done)
        return
      }
      if (waiting.has(request.raw)) reply.raw.writeContinue()
      done()
    }
    let judged
    try {
      judged = judge.judge(request.raw, isHandshake(request.raw) ? 'websocket' : 'request')
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

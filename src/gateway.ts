/** What stands behind the public listener, with everything registered in the order in which a request meets it. */
import type { Logger } from 'pino'
import cookiePlugin from '@fastify/cookie'
import type { FastifyInstance } from 'fastify'
import { createApplication, registerJudgment } from './application.ts'
import type { Config } from './config/schema.ts'
import { Entrance } from './entrance.ts'
import { ClientAddresses } from './http/client-address.ts'
import { CookieJar } from './http/cookies.ts'
import { registerErrorHandler } from './http/error-handler.ts'
import { FrontDoor } from './http/front-door.ts'
import { Judge, type JudgeOptions, type Place } from './http/judge.ts'
import type { Overload } from './http/overload.ts'
import { Pages } from './http/pages.ts'
import type { Limiter } from './http/rate-limit.ts'
import { RequestAccount } from './http/request-account.ts'
import { RequestSpans } from './http/request-spans.ts'
import { SecurityHeaders } from './http/security-headers.ts'
import { BearerTokens } from './oidc/bearer-tokens.ts'
import type { ConfiguredProvider } from './oidc/providers.ts'
import { Credentials } from './proxy/credentials.ts'
import { forwardedFields } from './proxy/forwarded-fields.ts'
import { OpenStreams } from './proxy/open-streams.ts'
import { proxiedRoutes, type ProxyOptions, registerProxy } from './proxy/proxy.ts'
import { RouteTable } from './proxy/route-table.ts'
import { registerSpa } from './proxy/spa.ts'
import { Upstreams } from './proxy/upstream.ts'
import { EndpointTable } from './routes/endpoints.ts'
import { EventStreams } from './routes/events.ts'
import { ForwardAuth } from './routes/forward-auth.ts'
import { loginOptionsOf, registerOwnEndpoints } from './routes/own-endpoints.ts'
import { stepUpFor } from './routes/step-up.ts'
import type { KeyRing } from './session/key-ring.ts'
import type { SessionManager } from './session/manager.ts'
import type { Audit } from './telemetry/audit.ts'
import type { Metrics } from './telemetry/metrics.ts'
import type { Tracing } from './telemetry/tracing.ts'

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
  const isDraining = (): boolean => state.isDraining
  const traces = options.tracing && new RequestSpans(options.tracing)
  const account = new RequestAccount({ config, log, metrics, traces })
  const failures = { publicUrl, basePath: config.basePath, pages, security: new SecurityHeaders(config) }

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

  const { loginPath } = judgeOptions
  const proxyStreams = new OpenStreams({ manager: options.manager, metrics, now: options.now })
  const credentials = new Credentials({ manager: options.manager, now: options.now })
  const proxy: ProxyOptions = {
    config,
    cookies,
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
  }
  const proxied = proxiedRoutes(routes, proxy)

  const entrance = new Entrance({
    door: new FrontDoor({
      overload: options.overload,
      failures,
      corsOrigins: config.cors.origins,
      isDraining,
      onRefused: (raw, requestId, status) => account.refused(raw, requestId, status),
    }),
    judge: new Judge(judgeOptions),
    corsOrigins: config.cors.origins,
    isDraining,
    // A trace begins with the framework's first hook.
    direct: traces ? undefined : { proxied, proxy, account, failures, log },
  })
  const app = createApplication({ log, failures, account, entrance })
  app.addHook('onClose', () => bearers.close())
  // It writes our cookies; reading is ours, since what is doubled or odd must count as none.
  await app.register(cookiePlugin, { hook: false })
  registerErrorHandler(app, failures)
  traces?.register(app, publicUrl)
  const loginOptions = loginOptionsOf(options, { cookies, pages, publicUrl })
  registerJudgment(app, { entrance, config, loginOptions })
  account.register(app, judgeOptions)

  const streams = new EventStreams()
  await app.register(
    async (scope) =>
      registerOwnEndpoints(scope, options, { login: loginOptions, streams, security: failures.security }),
    { prefix: config.basePath },
  )
  await registerProxy(app, proxied, proxy)
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

/** The proxy alone, on a real socket: routes and upstreams are real, who is signed in is said by the test. */
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fastify, type FastifyBaseLogger } from 'fastify'
import { onTestFinished } from 'vitest'
import type { FastifyInstance } from 'fastify'
import { Config } from '../../src/config/schema.ts'
import { Entrance } from '../../src/entrance.ts'
import { BffError, type FailureCode } from '../../src/errors.ts'
import { ClientAddresses } from '../../src/http/client-address.ts'
import { CookieJar } from '../../src/http/cookies.ts'
import { isNavigation } from '../../src/http/csrf.ts'
import { registerErrorHandler } from '../../src/http/error-handler.ts'
import type { Judged } from '../../src/http/judge.ts'
import { Pages } from '../../src/http/pages.ts'
import { parseRequestTarget } from '../../src/http/request-path.ts'
import { SecurityHeaders } from '../../src/http/security-headers.ts'
import { OpenStreams } from '../../src/proxy/open-streams.ts'
import { proxiedRoutes, registerProxy } from '../../src/proxy/proxy.ts'
import { Credentials } from '../../src/proxy/credentials.ts'
import type { ProxyOptions } from '../../src/proxy/proxy.ts'
import { RouteTable } from '../../src/proxy/route-table.ts'
import type { Route } from '../../src/proxy/route-table.ts'
import { registerSpa } from '../../src/proxy/spa.ts'
import { Upstreams } from '../../src/proxy/upstream.ts'
import { acceptUpgrades, takesUpgrade } from '../../src/proxy/websocket.ts'
import type { SessionEvent } from '../../src/session/events.ts'
import type { Session } from '../../src/session/session.ts'
import { silentLog } from '../../src/telemetry/log.ts'
import { RawUpstream } from './upstream.ts'
import type { RawResponder } from './upstream.ts'

/** No route of these tests has a token of its own, and no session another one than its first. */
const noTokens = {
  replaceToken: () => Promise.resolve(undefined),
  routeTokens: {
    heldBy: () => undefined,
    tokenFor: () => Promise.reject(new Error('no route here has a token of its own')),
    replace: () => Promise.reject(new Error('no route here has a token of its own')),
  },
}

export interface ProxyAppOptions {
  readonly routes: readonly object[]
  readonly config?: object
  /** Who is signed in; `null` for nobody. */
  readonly session?: Session | null
  readonly credentials?: ProxyOptions['credentials']
  /** What the judge finds instead, where it and the router are to disagree. */
  readonly misjudge?: (judged: Judged<Route>, routes: RouteTable) => Judged<Route>
  /** Requests go by the framework, as they do where there is tracing. */
  readonly byFramework?: boolean
  /** As on a Node that hands every upgrade over, whatever it is to (before 24.9). */
  readonly everyUpgrade?: boolean
  /** Thrown by the judge, for every request. */
  readonly refuse?: BffError
  readonly now?: () => number
}

export class ProxyApp implements AsyncDisposable {
  readonly app: FastifyInstance
  readonly streams: OpenStreams
  /** Failures that were answered, as the log has them. */
  readonly failures: { readonly code: FailureCode; readonly detail: string }[] = []
  readonly #listeners = new Set<(event: SessionEvent) => void>()
  #session: Session | null

  private constructor(options: ProxyAppOptions) {
    const provider = { issuer: 'https://id.example', clientId: 'shop', clientSecret: 'secret' }
    const config = Config.parse({
      publicUrl: 'https://app.example',
      provider,
      ...options.config,
      routes: options.routes,
    })
    const now = options.now ?? Date.now
    const routes = new RouteTable(config)
    const manager = {
      onSessionEvent: (_ref: string, listener: (event: SessionEvent) => void) => {
        this.#listeners.add(listener)
        return () => {
          this.#listeners.delete(listener)
        }
      },
      peek: async () => this.#session ?? undefined,
    }
    this.#session = options.session === undefined ? sessionOf({}) : options.session
    this.streams = new OpenStreams({ manager })
    const judge = (raw: IncomingMessage): Judged<Route> => {
      if (options.refuse) throw options.refuse
      const path = parseRequestTarget(raw.url ?? '', new URL(config.publicUrl))
      const place = routes.match(path)
      if (!place) throw new BffError('not_found')
      const session = place.policy.session === 'none' ? null : this.#session
      const judged = {
        verdict: 'pass',
        place,
        path,
        session,
        sessionCookie: session ? 'c'.repeat(43) : undefined,
        isNavigation: isNavigation(raw.headers),
        clientAddress: '127.0.0.1',
      } satisfies Judged<Route>
      return options.misjudge?.(judged, routes) ?? judged
    }
    const proxy: ProxyOptions = {
      config,
      cookies: new CookieJar(config),
      addresses: new ClientAddresses(config.trustedProxies, silentLog),
      upstreams: new Upstreams(now),
      streams: this.streams,
      credentials: options.credentials ?? new Credentials({ manager: noTokens, now }),
      stepUp: () => new BffError('step_up_required', 'an API asks for it'),
      loginPath: `${config.basePath}/login`,
      now,
    }
    const proxied = proxiedRoutes(routes, proxy)
    const security = new SecurityHeaders(config)
    const failures = {
      publicUrl: new URL(config.publicUrl),
      basePath: config.basePath,
      pages: new Pages(config),
      security,
    }
    const log = this.#recorder()
    const entrance = new Entrance({
      door: { lets: () => true },
      judge: { judge },
      corsOrigins: [],
      isDraining: () => false,
      ...(!options.byFramework && { direct: { proxied, proxy, account: { answered() {} }, failures, log } }),
    })
    this.app = fastify({
      loggerInstance: log,
      serverFactory: (handler) =>
        createServer(options.everyUpgrade ? {} : { shouldUpgradeCallback: takesUpgrade }, (raw, response) =>
          entrance.take(raw, response, handler),
        ),
    })
    acceptUpgrades(this.app)
    this.app.decorateRequest('judged', null)
    registerErrorHandler(this.app, failures)
    this.app.addHook('onRequest', async (request, reply) => {
      const judged = await entrance.judge(request.raw)
      request.judged = judged
      entrance.letPass(request.raw, reply.raw, judged)
    })
    const spa = registerSpa(this.app, { routes, security, log: silentLog, now })
    this.#ready = Promise.all([spa, registerProxy(this.app, proxied, proxy)])
  }

  readonly #ready: Promise<unknown>

  static async start(options: ProxyAppOptions): Promise<ProxyApp> {
    const proxy = new ProxyApp(options)
    await proxy.#ready
    await proxy.app.listen({ host: '127.0.0.1', port: 0 })
    return proxy
  }

  get port(): number {
    return (this.app.server.address() as AddressInfo).port // listens on TCP, see start
  }

  #recorder(): FastifyBaseLogger {
    const record = (fields: object | string): void => {
      if (typeof fields === 'object' && 'code' in fields)
        this.failures.push(fields as { code: FailureCode; detail: string }) // as `logFailure` writes it
    }
    const silent = (): void => {}
    const log = {
      level: 'info',
      info: record,
      warn: record,
      error: record,
      fatal: record,
      debug: silent,
      trace: silent,
    }
    return Object.assign(log, { silent, child: () => log }) as unknown as FastifyBaseLogger
  }

  /** The session ends on some instance. */
  endSession(): void {
    this.#session = null
    for (const listener of [...this.#listeners]) listener({ type: 'ended', reason: 'logout' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.streams.closeAll()
    this.app.server.closeAllConnections()
    await this.app.close()
  }
}

export function sessionOf(claims: Record<string, unknown>): Session {
  return {
    ref: 'r'.repeat(43),
    version: 1,
    provider: 'default',
    issuer: 'https://id.example',
    configuredIssuer: 'https://id.example',
    sub: 'alice',
    createdAt: 0,
    expiresAt: 8_640_000_000_000,
    claims,
    tokens: { accessToken: 'AT', tokenType: 'bearer', accessTokenExpiresAt: 8_640_000_000_000 },
  }
}

/** A proxy with one route, `/api` → `/v1` of one raw upstream; both go when the test is over. */
export async function proxyWorld(
  respond?: RawResponder,
  route: object = {},
  options: Partial<ProxyAppOptions> = {},
): Promise<{ upstream: RawUpstream; proxy: ProxyApp; port: number }> {
  const upstream = await RawUpstream.start(respond)
  const proxy = await ProxyApp.start({
    ...options,
    routes: [{ path: '/api', rewrite: '/v1', upstream: upstream.url, ...route }, ...(options.routes ?? [])],
  })
  onTestFinished(async () => {
    await proxy[Symbol.asyncDispose]()
    await upstream[Symbol.asyncDispose]()
  })
  return { upstream, proxy, port: proxy.port }
}

/** Lines of one answer, the same for every request. */
export function answerWith(...lines: string[]): RawResponder {
  return (socket) => void socket.write(Buffer.from(lines.join('\r\n'), 'latin1'))
}

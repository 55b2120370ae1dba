/** A whole Sidegate: built from a configuration, listening, drained and stopped. */
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { differences, takeOver } from './config/running.ts'
import type { Config, ProviderConfig } from './config/schema.ts'
import { buildGateway, type ConfiguredProvider, type Gateway } from './gateway.ts'
import { Overload } from './http/overload.ts'
import { type Limiter, RateLimiter } from './http/rate-limit.ts'
import { SharedRateLimiter } from './http/shared-rate-limit.ts'
import { buildAdmin } from './management/admin.ts'
import { buildManagement } from './management/management.ts'
import { Readiness } from './management/readiness.ts'
import { OidcProvider } from './oidc/provider.ts'
import { checkCertificate, PublicListener } from './public-listener.ts'
import { buildForwardAuth } from './routes/forward-auth.ts'
import { KeyRing } from './session/key-ring.ts'
import { SessionManager } from './session/manager.ts'
import { MemoryStore } from './session/memory-store.ts'
import { RedisStore } from './session/redis-store.ts'
import type { SessionStore } from './session/store.ts'
import { Audit } from './telemetry/audit.ts'
import type { Log } from './telemetry/log.ts'
import { Metrics } from './telemetry/metrics.ts'
import { TracedLog } from './telemetry/traced-log.ts'
import type { Tracing } from './telemetry/tracing.ts'

export interface ServiceOptions {
  readonly config: Config
  readonly log: Logger
  /** The browser client as an ES module. */
  readonly clientModule: string
  /** Where the variables of OpenTelemetry ask for traces; closed with the service. */
  readonly tracing?: Tracing | undefined
  /** Epoch ms; the system's clock unless a test has its own. */
  readonly now?: () => number
  /** Called when a record's key is not in the ring: the file of the keys may be newer. */
  readonly rereadKeys?: () => Promise<void>
}

/** Where a service listens; ports are the real ones where 0 was asked for. */
export interface ServiceAddresses {
  readonly public: string
  readonly management: string
  readonly admin: string | undefined
  readonly forwardAuth: string | undefined
}

export class Service {
  readonly #options: ServiceOptions
  readonly #log: Logger
  /** For what is done on behalf of requests: it names their traces. */
  readonly #tracedLog: Log
  readonly #now: () => number
  readonly #store: SessionStore
  readonly #keyRing: KeyRing
  /** One map for the manager through all changes; what is in it changes. */
  readonly #clients = new Map<string, OidcProvider>()
  readonly #manager: SessionManager
  readonly #limiter: Limiter
  readonly #overload: Overload
  readonly #readiness: Readiness
  readonly #metrics: Metrics
  readonly #audit: Audit
  #config: Config
  #listener: PublicListener | undefined
  #gateway: Gateway | undefined
  #forwardAuth: FastifyInstance | undefined
  #updating: Promise<unknown> = Promise.resolve()
  #management: FastifyInstance | undefined
  #admin: FastifyInstance | undefined
  #stopping: Promise<void> | undefined

  /** Builds everything and reaches for nothing yet: neither store nor provider has to be there. */
  constructor(options: ServiceOptions) {
    const { config, log } = options
    this.#options = options
    this.#config = config
    this.#log = log
    this.#now = options.now ?? Date.now
    this.#metrics = new Metrics()
    this.#tracedLog = options.tracing ? new TracedLog(log, options.tracing) : log
    this.#audit = new Audit(this.#tracedLog, { hashSubject: config.log.hashSubject })
    this.#keyRing = new KeyRing(config.session.keys ?? [KeyRing.generateKey()])
    this.#store = this.#createStore()
    for (const [name, client] of this.#clientsFor(config)) this.#clients.set(name, client)
    this.#manager = new SessionManager({
      store: this.#store,
      keyRing: this.#keyRing,
      providers: this.#clients,
      settings: config.session,
      log: this.#tracedLog,
      metrics: this.#metrics,
      audit: this.#audit,
      tracing: options.tracing,
      now: this.#now,
      ...(options.rereadKeys && { onUnknownKey: options.rereadKeys }),
    })
    this.#limiter = this.#createLimiter()
    this.#overload = new Overload({
      waiting: () => this.#listener?.waiting ?? 0,
      places: () => Math.max(0, ...this.#config.routes.map(({ maxInFlight }) => maxInFlight)),
      log,
    })
    this.#readiness = new Readiness({
      probeStore: () => this.#store.probe(),
      isProviderReady: () => [...this.#clients.values()].every((client) => !client.degraded),
      requireStore: config.readiness.requireStore,
    })
  }

  get manager(): SessionManager {
    return this.#manager
  }

  /** Listens on everything that is configured and begins to look for the providers. */
  async listen(): Promise<ServiceAddresses> {
    const { listen, management, admin, forwardAuth } = this.#config
    this.#listener = new PublicListener(listen, this.#log)
    for (const client of this.#clients.values()) client.start()
    const gateway = await this.#build(this.#config, this.#clients)
    this.#gateway = gateway
    await this.#listener.use(gateway)
    this.#management = buildManagement({ metrics: this.#metrics, readiness: this.#readiness })
    await this.#management.listen({ host: management.host, port: management.port })
    if (admin) {
      this.#admin = this.#createAdmin()
      await this.#admin.listen(admin.socket ? { path: admin.socket } : { host: admin.host, port: admin.port })
    }
    if (forwardAuth) {
      this.#forwardAuth = buildForwardAuth({
        current: () => (this.#gateway ?? gateway).forwardAuth,
        maxHeaderSize: listen.maxHeaderSize,
        log: this.#log,
        metrics: this.#metrics,
      })
      await this.#forwardAuth.listen(forwardAuth)
    }
    this.#overload.start()
    await this.#listener.listen(listen)
    return {
      public: this.#listener.address,
      management: addressOf(this.#management),
      admin: this.#admin && addressOf(this.#admin),
      forwardAuth: this.#forwardAuth && addressOf(this.#forwardAuth),
    }
  }

  /**
   * Takes over a changed configuration without losing a request: what has begun ends under the old one. What cannot
   * be used is logged, and the old one stays, but for its session keys. Changes take effect in the order of the calls.
   */
  update(config: Config): Promise<void> {
    // At once, for a session may be waiting for its key; a key more can do no harm.
    if (config.session.keys && this.#config.session.keys) this.#keyRing.update(config.session.keys)
    const updated = this.#updating.then(() => this.#update(config))
    this.#updating = updated
    return updated
  }

  async #update(changed: Config): Promise<void> {
    if (this.#stopping || !this.#listener) return
    const { config, kept } = takeOver(this.#config, changed)
    const changes = differences(this.#config, config)
    if (kept.length > 0) {
      this.#log.warn({ settings: kept }, 'these settings take effect at the next start only; their old values stay')
    }
    if (changes.length === 0) return
    try {
      await this.#exchange(this.#listener, config)
    } catch (error) {
      this.#log.error({ err: error }, 'the changed configuration cannot be used; the old one stays in force')
      return
    }
    this.#log.info({ settings: changes }, 'the changed configuration is in force')
  }

  /** Everything that can fail comes first; then all changes at once. */
  async #exchange(listener: PublicListener, config: Config): Promise<void> {
    const tls = certificateOf(config)
    if (tls) checkCertificate(tls)
    const clients = this.#clientsFor(config)
    const gateway = await this.#build(config, clients)

    this.#config = config
    this.#log.level = config.log.level
    this.#manager.update(config.session)
    if (tls) listener.useCertificate(tls)
    if (config.store.redis && this.#store instanceof RedisStore) this.#store.useCredentials(config.store.redis)
    const dismissed = [...this.#clients].filter(([name, client]) => clients.get(name) !== client)
    for (const [name] of dismissed) this.#clients.delete(name)
    for (const [name, providerConfig] of providersOf(config)) {
      const client = clients.get(name)
      if (!client) continue
      if (this.#clients.get(name) === client) client.update(providerConfig)
      else client.start()
      this.#clients.set(name, client)
    }
    this.#gateway = gateway
    const replaced = listener.use(gateway)
    void replaced.then(() => {
      for (const [, client] of dismissed) client.close()
    })
  }

  #build(config: Config, clients: ReadonlyMap<string, OidcProvider>): Promise<Gateway> {
    return buildGateway({
      config,
      log: this.#log,
      metrics: this.#metrics,
      audit: this.#audit,
      manager: this.#manager,
      keyRing: this.#keyRing,
      providers: new Map(
        providersOf(config).flatMap(([name, providerConfig]): [string, ConfiguredProvider][] => {
          const client = clients.get(name)
          return client ? [[name, { client, config: providerConfig }]] : []
        }),
      ),
      limiter: this.#limiter,
      overload: this.#overload,
      clientModule: this.#options.clientModule,
      tracing: this.#options.tracing,
      now: this.#now,
    })
  }

  /**
   * The way out of service: unready at once, everything served for `shutdown.delay`, then no new connections, what is
   * under way ends within `shutdown.grace`, streams are closed, and what is left is cut.
   */
  async drain(): Promise<void> {
    this.#readiness.drain()
    this.#listener?.drain()
    this.#log.info({ delayMs: this.#config.shutdown.delay }, 'draining: still serving')
    await delay(this.#config.shutdown.delay)
    await this.stop()
  }

  /** Ends everything within `shutdown.grace`; called again, waits for the same end. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    await this.#updating
    await this.#listener?.close(this.#config.shutdown.grace)
    this.#overload.stop()
    await this.#forwardAuth?.close()
    await this.#management?.close()
    await this.#admin?.close()
    for (const client of this.#clients.values()) client.close()
    // Last: a refresh that is under way is stored first.
    await this.#manager.close()
    await this.#store.close()
    await this.#options.tracing?.close()
    this.#log.info({}, 'stopped')
  }

  #createStore(): SessionStore {
    const { redis } = this.#config.store
    if (!redis) {
      this.#log.warn(
        { store: 'memory' },
        'sessions are kept in this process: they end with it, and a second instance does not know them (store.redis keeps them)',
      )
      return new MemoryStore({ now: this.#now })
    }
    return new RedisStore({
      config: redis,
      name: this.#config.name,
      log: this.#log,
      metrics: this.#metrics,
      now: this.#now,
    })
  }

  #createLimiter(): Limiter {
    const own = new RateLimiter({ now: this.#now })
    if (!(this.#store instanceof RedisStore)) return own
    return new SharedRateLimiter({ counter: this.#store, keyRing: this.#keyRing, own, log: this.#log })
  }

  /** The clients of the configured providers: those that there are, and new ones, which have not been started. */
  #clientsFor(config: Config): Map<string, OidcProvider> {
    const { origin } = new URL(config.publicUrl)
    return new Map(
      providersOf(config).map(([name, providerConfig]) => {
        const known = this.#clients.get(name)
        if (known) return [name, known]
        const client = new OidcProvider({
          name,
          config: providerConfig,
          redirectUri: `${origin}${config.basePath}/callback`,
          postLogoutRedirectUri: `${origin}${config.basePath}/logout/callback`,
          log: this.#tracedLog,
          metrics: this.#metrics,
          tracing: this.#options.tracing,
          now: this.#now,
        })
        return [name, client]
      }),
    )
  }

  #createAdmin(): FastifyInstance {
    const clients = this.#clients
    return buildAdmin({
      manager: this.#manager,
      // Read at each request, as the token is.
      get issuers() {
        return [...clients.values()].map(({ issuer }) => issuer)
      },
      token: () => this.#config.admin?.token ?? '',
      log: this.#log,
    })
  }
}

/** One provider is called `default`. */
function providersOf(config: Config): [name: string, config: ProviderConfig][] {
  return config.provider ? [['default', config.provider]] : Object.entries(config.providers ?? {})
}

function certificateOf({ listen: { tls } }: Config): { cert: string; key: string } | undefined {
  return tls?.cert !== undefined && tls.key !== undefined ? { cert: tls.cert, key: tls.key } : undefined
}

function addressOf(app: FastifyInstance): string {
  const address = app.server.address()
  if (typeof address === 'string' || address === null) return address ?? ''
  const scheme = 'setSecureContext' in app.server ? 'https' : 'http'
  const host = address.address === '0.0.0.0' || address.address === '::' ? 'localhost' : address.address
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${address.port}`
}

/** A whole Sidegate: built from a configuration, listening, drained and stopped. */
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { certificateExpiries } from './config/certificates.ts'
import { differences, takeOver } from './config/running.ts'
import type { Config } from './config/schema.ts'
import { buildGateway, type Gateway } from './gateway.ts'
import { listeningAddress } from './http/listening-address.ts'
import { Overload } from './http/overload.ts'
import { IdleMemory } from './idle-memory.ts'
import { type Limiter, RateLimiter } from './http/rate-limit.ts'
import { SharedRateLimiter } from './http/shared-rate-limit.ts'
import { clearStaleSocket } from './http/unix-socket.ts'
import { buildAdmin } from './management/admin.ts'
import { buildManagement } from './management/management.ts'
import { Readiness } from './management/readiness.ts'
import { type ConfiguredProvider, Providers } from './oidc/providers.ts'
import { checkCertificate, PublicListener } from './public-listener.ts'
import { buildForwardAuth } from './routes/forward-auth.ts'
import { KeyRing } from './session/key-ring.ts'
import { SessionManager } from './session/manager.ts'
import { loadStore, type OpenStore } from './session/open-store.ts'
import { isShared, type SessionStore } from './session/store.ts'
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
  readonly #providers: Providers
  readonly #manager: SessionManager
  readonly #limiter: Limiter
  readonly #overload: Overload
  readonly #idleMemory: IdleMemory
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
  static async create(options: ServiceOptions): Promise<Service> {
    return new Service(options, await loadStore(options.config))
  }

  private constructor(options: ServiceOptions, openStore: OpenStore) {
    const { config, log } = options
    this.#options = options
    this.#config = config
    this.#log = log
    this.#now = options.now ?? Date.now
    this.#metrics = new Metrics({ look: ({ providerUp }) => this.#providers.look(providerUp) })
    this.#tracedLog = options.tracing ? new TracedLog(log, options.tracing) : log
    this.#audit = new Audit(this.#tracedLog, { hashSubject: config.log.hashSubject })
    this.#keyRing = new KeyRing(config.session.keys ?? [KeyRing.generateKey()])
    const common = { log: this.#tracedLog, metrics: this.#metrics, tracing: options.tracing, now: this.#now }
    this.#store = openStore({ ...common, log })
    this.#providers = new Providers(config, common)
    this.#manager = new SessionManager({
      ...common,
      store: this.#store,
      keyRing: this.#keyRing,
      providers: this.#providers.clients,
      settings: config.session,
      audit: this.#audit,
      ...(options.rereadKeys && { onUnknownKey: options.rereadKeys }),
    })
    this.#limiter = this.#createLimiter()
    this.#idleMemory = new IdleMemory({ log, requests: () => this.#listener?.requests ?? 0 })
    this.#overload = new Overload({
      waiting: () => this.#listener?.waiting ?? 0,
      places: () => Math.max(0, ...this.#config.routes.map(({ maxInFlight }) => maxInFlight)),
      log,
    })
    this.#readiness = new Readiness({
      probeStore: () => this.#store.probe(),
      isProviderReady: () => !this.#providers.degraded,
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
    this.#providers.start()
    const gateway = await this.#build(this.#config, this.#providers.for(this.#config))
    this.#gateway = gateway
    await this.#listener.use(gateway)
    this.#measure(this.#config)
    this.#management = buildManagement({ metrics: this.#metrics, readiness: this.#readiness, log: this.#log })
    await this.#management.listen({ host: management.host, port: management.port })
    if (admin) {
      this.#admin = this.#createAdmin()
      if (admin.socket) await clearStaleSocket(admin.socket)
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
    this.#idleMemory.start()
    this.#readiness.watch().catch((error: unknown) => {
      this.#log.error({ err: error }, 'the store is not looked at any more before somebody asks whether it is there')
    })
    await this.#listener.listen(listen)
    return {
      public: this.#listener.address,
      management: listeningAddress(this.#management.server),
      admin: this.#admin && listeningAddress(this.#admin.server),
      forwardAuth: this.#forwardAuth && listeningAddress(this.#forwardAuth.server),
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

  /** A changed configuration could not even be read. */
  noteRefusedUpdate(): void {
    this.#metrics.configReloads.inc({ outcome: 'refused' })
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
      this.noteRefusedUpdate()
      return
    }
    this.#metrics.configReloads.inc({ outcome: 'taken' })
    this.#log.info({ settings: changes }, 'the changed configuration is in force')
  }

  /** Everything that can fail comes first; then all changes at once. */
  async #exchange(listener: PublicListener, config: Config): Promise<void> {
    const tls = certificateOf(config)
    if (tls) checkCertificate(tls)
    const providers = this.#providers.for(config)
    const gateway = await this.#build(config, providers)

    this.#config = config
    this.#log.level = config.log.level
    this.#manager.update(config.session)
    if (tls) listener.useCertificate(tls)
    if (config.store.redis && isShared(this.#store)) this.#store.useCredentials(config.store.redis)
    const dismissed = this.#providers.use(providers)
    this.#measure(config)
    this.#gateway = gateway
    const replaced = listener.use(gateway)
    void replaced.then(() => {
      for (const client of dismissed) client.close()
    })
  }

  /** What the metrics tell of a configuration. */
  #measure(config: Config): void {
    const { certificateExpiry } = this.#metrics
    certificateExpiry.reset()
    for (const [setting, at] of certificateExpiries(config)) certificateExpiry.set({ setting }, at)
  }

  #build(config: Config, providers: ReadonlyMap<string, ConfiguredProvider>): Promise<Gateway> {
    return buildGateway({
      config,
      log: this.#log,
      metrics: this.#metrics,
      audit: this.#audit,
      manager: this.#manager,
      keyRing: this.#keyRing,
      providers,
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
    this.#readiness.drain()
    await this.#updating
    await this.#listener?.close(this.#config.shutdown.grace)
    this.#overload.stop()
    this.#idleMemory.stop()
    await this.#forwardAuth?.close()
    await this.#management?.close()
    await this.#admin?.close()
    this.#providers.close()
    // Last: a refresh that is under way is stored first.
    await this.#manager.close()
    await this.#store.close()
    await this.#options.tracing?.close()
    this.#log.info({}, 'stopped')
  }

  #createLimiter(): Limiter {
    const own = new RateLimiter({ now: this.#now })
    if (!isShared(this.#store)) return own
    return new SharedRateLimiter({ counter: this.#store, keyRing: this.#keyRing, own, log: this.#log })
  }

  #createAdmin(): FastifyInstance {
    const { clients } = this.#providers
    return buildAdmin({
      manager: this.#manager,
      // Read at each request, as the token is.
      get issuers() {
        return [...clients.values()].map(({ issuer }) => issuer)
      },
      token: () => this.#config.admin?.token ?? '',
      audit: this.#audit,
      log: this.#log,
    })
  }
}

function certificateOf({ listen: { tls } }: Config): { cert: string; key: string } | undefined {
  return tls?.cert !== undefined && tls.key !== undefined ? { cert: tls.cert, key: tls.key } : undefined
}

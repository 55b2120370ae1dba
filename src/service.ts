/** A whole Sidegate: built from a configuration, listening, drained and stopped. */
import { once } from 'node:events'
import type { Server } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { Config, ProviderConfig } from './config/schema.ts'
import { buildGateway, type ConfiguredProvider, type Gateway } from './gateway.ts'
import { buildAdmin } from './management/admin.ts'
import { buildManagement } from './management/management.ts'
import { Readiness } from './management/readiness.ts'
import { OidcProvider } from './oidc/provider.ts'
import { KeyRing } from './session/key-ring.ts'
import { SessionManager } from './session/manager.ts'
import { MemoryStore } from './session/memory-store.ts'
import { RedisStore } from './session/redis-store.ts'
import type { SessionStore } from './session/store.ts'
import { Audit } from './telemetry/audit.ts'
import { Metrics } from './telemetry/metrics.ts'

export interface ServiceOptions {
  readonly config: Config
  readonly log: FastifyBaseLogger
  /** The browser client as an ES module. */
  readonly clientModule: string
  /** Epoch ms; the system's clock unless a test has its own. */
  readonly now?: () => number
  /** Called when a record's key is not in the ring: the file of the keys may be newer (contract of the store). */
  readonly rereadKeys?: () => Promise<void>
}

/** Where a service listens; ports are the real ones where 0 was asked for. */
export interface ServiceAddresses {
  readonly public: string
  readonly management: string
  readonly admin: string | undefined
}

export class Service {
  readonly #options: ServiceOptions
  readonly #log: FastifyBaseLogger
  readonly #now: () => number
  readonly #store: SessionStore
  readonly #keyRing: KeyRing
  readonly #providers: Map<string, ConfiguredProvider>
  readonly #manager: SessionManager
  readonly #readiness: Readiness
  readonly #metrics: Metrics
  readonly #audit: Audit
  #config: Config
  #gateway: Gateway | undefined
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
    this.#audit = new Audit(log, { hashSubject: config.log.hashSubject })
    this.#keyRing = new KeyRing(config.session.keys ?? [KeyRing.generateKey()])
    this.#store = this.#createStore()
    this.#providers = this.#createProviders()
    this.#manager = new SessionManager({
      store: this.#store,
      keyRing: this.#keyRing,
      providers: new Map([...this.#providers].map(([name, { client }]) => [name, client])),
      settings: config.session,
      log,
      metrics: this.#metrics,
      audit: this.#audit,
      now: this.#now,
      ...(options.rereadKeys && { onUnknownKey: options.rereadKeys }),
    })
    this.#readiness = new Readiness({
      probeStore: () => this.#store.probe(),
      isProviderReady: () => [...this.#providers.values()].every(({ client }) => !client.degraded),
      requireStore: config.readiness.requireStore,
    })
  }

  get manager(): SessionManager {
    return this.#manager
  }

  /** Listens on everything that is configured and begins to look for the providers. */
  async listen(): Promise<ServiceAddresses> {
    const { listen, management, admin } = this.#config
    for (const { client } of this.#providers.values()) client.start()
    this.#gateway = await buildGateway({
      config: this.#config,
      log: this.#log,
      metrics: this.#metrics,
      audit: this.#audit,
      manager: this.#manager,
      keyRing: this.#keyRing,
      providers: this.#providers,
      clientModule: this.#options.clientModule,
      now: this.#now,
    })
    this.#management = buildManagement({ metrics: this.#metrics, readiness: this.#readiness })
    await this.#management.listen({ host: management.host, port: management.port })
    if (admin) {
      this.#admin = this.#createAdmin()
      await this.#admin.listen(admin.socket ? { path: admin.socket } : { host: admin.host, port: admin.port })
    }
    await this.#gateway.app.listen(listen.socket ? { path: listen.socket } : { host: listen.host, port: listen.port })
    return {
      public: addressOf(this.#gateway.app),
      management: addressOf(this.#management),
      admin: this.#admin && addressOf(this.#admin),
    }
  }

  /** Takes over what may change while running: session keys, the providers' secrets, certificates. */
  update(config: Config): void {
    if (config.session.keys) this.#keyRing.update(config.session.keys)
    for (const [name, providerConfig] of providersOf(config)) this.#providers.get(name)?.client.update(providerConfig)
    const { tls } = config.listen
    const server = this.#gateway?.app.server
    if (
      tls?.cert &&
      tls.key &&
      server &&
      'setSecureContext' in server &&
      typeof server.setSecureContext === 'function'
    ) {
      server.setSecureContext({ cert: tls.cert, key: tls.key })
    }
    this.#config = config
  }

  /**
   * The way out of service: unready at once, everything served for `shutdown.delay`, then no new connections, what is
   * under way ends within `shutdown.grace`, streams are closed, and what is left is cut.
   */
  async drain(): Promise<void> {
    this.#readiness.drain()
    this.#gateway?.drain()
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
    const gateway = this.#gateway
    if (gateway) {
      gateway.drain()
      const closed = closeServer(gateway.app.server)
      gateway.closeStreams()
      await closeWithin(closed, gateway.app.server, this.#config.shutdown.grace)
      await gateway.app.close()
    }
    await this.#management?.close()
    await this.#admin?.close()
    for (const { client } of this.#providers.values()) client.close()
    // Last: a refresh that is under way is stored first.
    await this.#manager.close()
    await this.#store.close()
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

  #createProviders(): Map<string, ConfiguredProvider> {
    const { basePath } = this.#config
    const { origin } = new URL(this.#config.publicUrl)
    return new Map(
      providersOf(this.#config).map(([name, config]) => {
        const client = new OidcProvider({
          name,
          config,
          redirectUri: `${origin}${basePath}/callback`,
          postLogoutRedirectUri: `${origin}${basePath}/logout/callback`,
          log: this.#log,
          metrics: this.#metrics,
          now: this.#now,
        })
        return [name, { client, config }]
      }),
    )
  }

  #createAdmin(): FastifyInstance {
    return buildAdmin({
      manager: this.#manager,
      issuers: [...this.#providers.values()].map(({ config }) => config.issuer),
      token: () => this.#config.admin?.token ?? '',
      log: this.#log,
    })
  }
}

/** One provider is called `default`. */
function providersOf(config: Config): [name: string, config: ProviderConfig][] {
  return config.provider ? [['default', config.provider]] : Object.entries(config.providers ?? {})
}

function addressOf(app: FastifyInstance): string {
  const address = app.server.address()
  if (typeof address === 'string' || address === null) return address ?? ''
  const scheme = 'setSecureContext' in app.server ? 'https' : 'http'
  const host = address.address === '0.0.0.0' || address.address === '::' ? 'localhost' : address.address
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${address.port}`
}

/** Stops accepting; resolves when the last connection has ended. */
async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  await closed
}

/** Waits for an end that depends on clients, but not for ever: what is left then is cut. */
async function closeWithin(closed: Promise<void>, server: Server, graceMs: number): Promise<void> {
  const patience = new AbortController()
  const cut = delay(graceMs, undefined, { signal: patience.signal, ref: false }).then(
    () => server.closeAllConnections(),
    () => {}, // everything had ended before
  )
  await closed
  patience.abort()
  await cut
}

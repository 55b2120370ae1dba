/** The clients of all configured providers: kept, added and dismissed as the configuration changes. */
import type { Config, ProviderConfig } from '../config/schema.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { OidcProvider, type OidcProviderOptions } from './provider.ts'

/** A provider with its configuration as it stands. */
export interface ConfiguredProvider {
  readonly client: OidcProvider
  readonly config: ProviderConfig
}

export type ProvidersOptions = Pick<OidcProviderOptions, 'log' | 'metrics' | 'tracing' | 'now'>

export class Providers {
  readonly #options: ProvidersOptions
  readonly #clients = new Map<string, OidcProvider>()

  /** Reaches for none of them yet. */
  constructor(config: Config, options: ProvidersOptions) {
    this.#options = options
    for (const [name, { client }] of this.for(config)) this.#clients.set(name, client)
  }

  /** By name: one map through all changes; what is in it changes. */
  get clients(): ReadonlyMap<string, OidcProvider> {
    return this.#clients
  }

  /** Whether one of them was out of reach or out of order when it was last spoken to. */
  get degraded(): boolean {
    return [...this.#clients.values()].some((client) => client.degraded)
  }

  /** The same of each, as a metric. */
  look(gauge: Metrics['providerUp']): void {
    gauge.reset()
    for (const [provider, client] of this.#clients) gauge.set({ provider }, client.degraded ? 0 : 1)
  }

  /** Begins to look for their metadata. */
  start(): void {
    for (const client of this.#clients.values()) client.start()
  }

  close(): void {
    for (const client of this.#clients.values()) client.close()
  }

  /** What a configuration asks for: the clients that there are, and new ones, which have not been started. */
  for(config: Config): ReadonlyMap<string, ConfiguredProvider> {
    const { origin } = new URL(config.publicUrl)
    return new Map(
      providersOf(config).map(([name, providerConfig]) => {
        const known = this.#clients.get(name)
        if (known) return [name, { client: known, config: providerConfig }]
        const client = new OidcProvider({
          ...this.#options,
          name,
          config: providerConfig,
          redirectUri: `${origin}${config.basePath}/callback`,
          postLogoutRedirectUri: `${origin}${config.basePath}/logout/callback`,
        })
        return [name, { client, config: providerConfig }]
      }),
    )
  }

  /** Takes over what `for` has answered. Returns those that are to be closed once nobody uses them any more. */
  use(providers: ReadonlyMap<string, ConfiguredProvider>): readonly OidcProvider[] {
    const dismissed = [...this.#clients].filter(([name, client]) => providers.get(name)?.client !== client)
    for (const [name] of dismissed) this.#clients.delete(name)
    for (const [name, { client, config }] of providers) {
      if (this.#clients.get(name) === client) client.update(config)
      else client.start()
      this.#clients.set(name, client)
    }
    return dismissed.map(([, client]) => client)
  }
}

/** One provider is called `default`. */
function providersOf(config: Config): [name: string, config: ProviderConfig][] {
  return config.provider ? [['default', config.provider]] : Object.entries(config.providers ?? {})
}

/** The whole thing in one process over real sockets: authorization server, API, gateway, and browsers to use them. */
import { Writable } from 'node:stream'
import { loadClientModule } from '../../src/commands/client-module.ts'
import { Config } from '../../src/config/schema.ts'
import { Service } from '../../src/service.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import type { Tracing } from '../../src/telemetry/tracing.ts'
import { Browser } from './browser.ts'
import type { Answer, Tab } from './browser.ts'
import { freePort } from './free-port.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider } from './provider.ts'
import type { TestProvider, TestProviderOptions } from './provider.ts'
import { RecordingUpstream } from './recording-upstream.ts'

/** A configuration as it stands in YAML, or parts of one. */
export type ConfigInput = Record<string, unknown>

export interface WorldOptions {
  /** Laid over the world's configuration, objects member by member; may depend on where things listen. */
  readonly config?:
    ConfigInput | ((places: { url: string; issuer: string; upstream: string }) => ConfigInput | Promise<ConfigInput>)
  readonly provider?: TestProviderOptions
  /** Further gateways beside the first, on the same public address; they need a common store. */
  readonly peers?: number
  /** For the first gateway, which closes it. */
  readonly tracing?: Tracing | undefined
}

/** One running gateway. */
export interface Instance {
  readonly service: Service
  /** Where it listens itself; browsers use the world's `url`. */
  readonly address: string
  readonly managementUrl: string
  readonly adminUrl: string | undefined
  readonly forwardAuthUrl: string | undefined
}

export class World implements AsyncDisposable {
  readonly config: Config
  readonly provider: TestProvider
  readonly upstream: RecordingUpstream
  /** Lines of all instances, at level `trace`. */
  readonly log: LogRecorder
  readonly clock: Clock
  readonly instances: Instance[] = []
  readonly #browsers: Browser[] = []

  constructor(parts: Pick<World, 'config' | 'provider' | 'upstream' | 'log' | 'clock'>) {
    this.config = parts.config
    this.provider = parts.provider
    this.upstream = parts.upstream
    this.log = parts.log
    this.clock = parts.clock
  }

  /** The origin that browsers see. */
  get url(): string {
    return this.config.publicUrl
  }

  get gateway(): Instance {
    const [first] = this.instances
    if (!first) throw new Error('the world has no gateway yet')
    return first
  }

  /** A new browser profile without cookies; closed with the world. Where there are peers, they take turns. */
  browser(): Browser {
    const browser = new Browser({ now: () => this.clock.now() })
    let turn = 0
    browser.connectTo = (origin) => {
      if (origin !== this.url) return origin
      turn += 1
      return this.instances[turn % this.instances.length]?.address ?? origin
    }
    this.#browsers.push(browser)
    return browser
  }

  /** A tab of a new browser in which the user has signed in; it shows `returnTo`. */
  async signedIn(options: { user?: string; returnTo?: string } = {}): Promise<{ browser: Browser; tab: Tab }> {
    const browser = this.browser()
    const tab = browser.newTab()
    await tab.navigate(`${this.url}/`)
    await this.signIn(tab, options)
    return { browser, tab }
  }

  /** Follows the link to `login` in this tab and signs in at the authorization server, which may do so silently. */
  async signIn(
    tab: Tab,
    { user = 'alice', returnTo = '/' }: { user?: string; returnTo?: string } = {},
  ): Promise<Answer> {
    const page = await tab.navigate(`${this.url}/bff/login?returnTo=${encodeURIComponent(returnTo)}`)
    return page.url.startsWith(`${this.provider.issuer}/interaction/`) ? tab.submit(user) : page
  }

  /** The present value of a metric; label values in the order of the metric's text. */
  async metric(sample: string, instance: Instance = this.gateway): Promise<number> {
    const text = await (await fetch(`${instance.managementUrl}/metrics`)).text()
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `))
    return line === undefined ? 0 : Number(line.slice(sample.length + 1))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const browser of this.#browsers) browser[Symbol.dispose]()
    await Promise.all(this.instances.map(({ service }) => service.stop()))
    await Promise.all([this.provider.close(), this.upstream.close()])
  }
}

/** Time that a test can move; it runs on with the system's. */
export class Clock {
  #offsetMs = 0

  now(): number {
    return Date.now() + this.#offsetMs
  }

  advance(ms: number): void {
    this.#offsetMs += ms
  }
}

/** Keeps what is logged: whole, for searches, and line by line. */
export class LogRecorder extends Writable {
  text = ''
  readonly #waiting: { matches: (line: Record<string, unknown>) => boolean; resolve: () => void }[] = []

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString()
    done()
    for (const { matches, resolve } of this.#waiting) if (this.lines().some(matches)) resolve()
  }

  /** Every line as an object; each must be JSON. */
  lines(): Record<string, unknown>[] {
    const lines = this.text.split('\n').slice(0, -1)
    // A log line is a JSON object: that is what `createLogger` promises.
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  /** Resolves once such a line has been written. */
  async until(matches: (line: Record<string, unknown>) => boolean): Promise<void> {
    if (this.lines().some(matches)) return
    await new Promise<void>((resolve) => this.#waiting.push({ matches, resolve }))
  }
}

/** Starts everything and waits until the gateway has found the authorization server. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const url = `http://localhost:${await freePort()}`
  const upstream = await RecordingUpstream.start()
  const provider = await startProvider({
    redirectUris: [`${url}/bff/callback`],
    postLogoutRedirectUris: [`${url}/bff/logout/callback`],
    backchannelLogoutUri: `${url}/bff/backchannel-logout`,
    ...options.provider,
  })
  const places = { url, issuer: provider.issuer, upstream: upstream.url }
  const overrides = typeof options.config === 'function' ? await options.config(places) : (options.config ?? {})
  const world = new World({
    config: Config.parse(merge(baseConfig(places), overrides)),
    provider,
    upstream,
    log: new LogRecorder(),
    clock: new Clock(),
  })
  try {
    for (let index = 0; index <= (options.peers ?? 0); index += 1) {
      await addInstance(world, index, index === 0 ? options.tracing : undefined)
    }
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
  return world
}

async function addInstance(world: World, index: number, tracing?: Tracing): Promise<void> {
  const { config, log, clock } = world
  const service = await Service.create({
    config: index === 0 ? config : { ...config, listen: { ...config.listen, port: 0 } },
    log: createLogger({ level: config.log.level }, log),
    clientModule: await loadClientModule(),
    tracing,
    now: () => clock.now(),
  })
  const addresses = await service.listen()
  world.instances.push({
    service,
    address: addresses.public,
    managementUrl: addresses.management,
    adminUrl: addresses.admin,
    forwardAuthUrl: addresses.forwardAuth,
  })
  await untilReady({ managementUrl: addresses.management })
}

/** Until a gateway has read the metadata of the providers that it is configured with now. */
export async function untilReady({ managementUrl }: Pick<Instance, 'managementUrl'>): Promise<void> {
  await until(async () => !(await (await fetch(`${managementUrl}/readyz`)).text()).includes('provider'))
}

function baseConfig({ url, issuer, upstream }: { url: string; issuer: string; upstream: string }): ConfigInput {
  return {
    publicUrl: url,
    listen: { host: '127.0.0.1', port: Number(new URL(url).port) },
    management: { host: '127.0.0.1', port: 0 },
    provider: { issuer, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, scopes: ['openid', 'profile', 'email'] },
    shutdown: { delay: '0s', grace: '1s' },
    log: { level: 'trace' },
    // All browsers of a test share one address.
    rateLimits: { login: 'off' },
    routes: [
      { path: '/api', upstream, session: 'required' },
      { path: '/', spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname }, session: 'none' },
    ],
  }
}

function merge(base: ConfigInput, over: ConfigInput): ConfigInput {
  const merged = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const old = merged[key]
    merged[key] = isObject(old) && isObject(value) ? merge(old, value) : value
  }
  return merged
}

function isObject(value: unknown): value is ConfigInput {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Asks again, a little later each time, until it is so. For what can only be asked. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let waitMs = 5; !(await isSo()); waitMs = Math.min(100, waitMs * 2)) {
    await new Promise((resolve) => setTimeout(resolve, waitMs))
  }
}

/** A whole gateway before an authorization server that misbehaves on command. */
import type { Tab } from './browser.ts'
import type { Answer } from './browser.ts'
import { startScriptedProvider } from './scripted-provider.ts'
import type { ScriptedProvider } from './scripted-provider.ts'
import { startWorld } from './world.ts'
import type { ConfigInput, World, WorldOptions } from './world.ts'

export interface ScriptedWorldOptions {
  /** Said to the server before the gateway reads its metadata. */
  readonly script?: (server: ScriptedProvider) => void
  /** Laid over the provider's part of the configuration. */
  readonly provider?: ConfigInput
  readonly config?: ConfigInput
  readonly tracing?: WorldOptions['tracing']
}

/** What the server is asked to do for one sign-in. */
export type Authorization = Parameters<ScriptedProvider['authorize']>[1]

export class ScriptedWorld implements AsyncDisposable {
  readonly world: World
  readonly server: ScriptedProvider

  constructor(world: World, server: ScriptedProvider) {
    this.world = world
    this.server = server
  }

  get url(): string {
    return this.world.url
  }

  /** A new browser with a tab that shows the app. */
  async visitor(): Promise<Tab> {
    const tab = this.world.browser().newTab()
    await tab.navigate(`${this.url}/`)
    return tab
  }

  /** Follows the link to the login; the address of the server that the browser is sent to. */
  async begin(tab: Tab, query = ''): Promise<URL> {
    const answer = await tab.navigate(`${this.url}/bff/login${query}`, { from: this.url, follow: false })
    return new URL(answer.headers.location ?? '')
  }

  /** Comes back from the server, which has its own idea of the sign-in. */
  async comeBack(tab: Tab, authorizationUrl: URL, authorization?: Authorization): Promise<Answer> {
    const callback = this.server.authorize(authorizationUrl, authorization)
    return await tab.navigate(callback, { from: this.server.origin })
  }

  /** A whole sign-in; what the tab shows afterwards. */
  async signIn(tab: Tab, authorization?: Authorization): Promise<Answer> {
    return await this.comeBack(tab, await this.begin(tab), authorization)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]()
    await this.server.close()
  }
}

/** Starts the server, tells it what to do, and starts the gateway before it. */
export async function startScriptedWorld(options: ScriptedWorldOptions = {}): Promise<ScriptedWorld> {
  const server = await startScriptedProvider()
  options.script?.(server)
  try {
    const provider = { issuer: server.issuer, scopes: ['openid', 'offline_access'], ...options.provider }
    return new ScriptedWorld(
      await startWorld({ config: { provider, ...options.config }, tracing: options.tracing }),
      server,
    )
  } catch (error) {
    await server.close()
    throw error
  }
}

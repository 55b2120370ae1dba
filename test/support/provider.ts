/** A real oidc-provider on loopback that tests can count, hold, hurry and walk through without a browser. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AdapterPayload, Configuration, ProviderContext } from 'oidc-provider'
import { startAuthorizationServer } from '../../src/demo/authorization-server.ts'
import type { AuthorizationServer, RegisteredClient } from '../../src/demo/authorization-server.ts'
import { memoryAdapter } from '../../src/demo/memory-adapter.ts'

export const CLIENT_ID = 'shop'
export const CLIENT_SECRET = 'shop-secret-with-at-least-32-characters'

/** One call of the token endpoint that was answered. */
export interface TokenRequest {
  readonly grantType: string
  readonly status: number
  readonly params: Readonly<Record<string, string | undefined>>
}

export interface TestProviderOptions {
  /** Where the one default client may be sent back to; `clients` replaces that client. */
  readonly redirectUris?: readonly string[]
  readonly postLogoutRedirectUris?: readonly string[]
  readonly backchannelLogoutUri?: string
  /** Laid over the default client's metadata. */
  readonly client?: Record<string, unknown>
  readonly clients?: readonly RegisteredClient[]
  /** Registered beside the one or those. */
  readonly otherClients?: readonly RegisteredClient[]
  /** The one API known (RFC 8707): access tokens are then JWTs for it. Its scope is `api`. */
  readonly api?: string
  /** Further resources that may be asked for, with their scopes. */
  readonly resources?: Readonly<Record<string, string>>
  readonly accessTokenSeconds?: number
  readonly rotateRefreshTokens?: boolean
  /** Laid over the configuration of oidc-provider, `features` member by member. */
  readonly configuration?: Configuration
}

/** The default client's metadata, for tests that register several. */
export function clientMetadata(options: Omit<TestProviderOptions, 'clients'> = {}): RegisteredClient {
  return {
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    redirect_uris: options.redirectUris ?? ['http://localhost:8080/bff/callback'],
    post_logout_redirect_uris: options.postLogoutRedirectUris ?? ['http://localhost:8080/bff/logout/callback'],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
    ...(options.backchannelLogoutUri && {
      backchannel_logout_uri: options.backchannelLogoutUri,
      backchannel_logout_session_required: true,
    }),
    ...options.client,
  }
}

/** Starts the provider on a free port of 127.0.0.1. */
export async function startProvider(options: TestProviderOptions = {}): Promise<TestProvider> {
  const provider = new TestProvider(options)
  await provider.start()
  return provider
}

export class TestProvider implements AsyncDisposable {
  /** Every answered call of the token endpoint, in order. */
  readonly tokenRequests: TokenRequest[] = []
  /** Every access, refresh and ID token that left the token endpoint. */
  readonly issued: string[] = []
  /** For tokens issued from now on. */
  accessTokenSeconds: number
  readonly #options: TestProviderOptions
  readonly #payloads = new Map<string, AdapterPayload>()
  readonly #gates = new Map<string, Promise<void>>()
  readonly #broken = new Map<string, number>()
  readonly #arrivals = new Map<string, number>()
  readonly #waiters: { path: string; count: number; resolve: () => void }[] = []
  #server: AuthorizationServer | undefined

  constructor(options: TestProviderOptions) {
    this.#options = options
    this.accessTokenSeconds = options.accessTokenSeconds ?? 300
  }

  async start(): Promise<void> {
    const options = this.#options
    this.#server = await startAuthorizationServer({
      clients: [...(options.clients ?? [clientMetadata(options)]), ...(options.otherClients ?? [])],
      ...(options.api && { api: options.api }),
      ...(options.rotateRefreshTokens !== undefined && { rotateRefreshTokens: options.rotateRefreshTokens }),
      configuration: this.#configuration(),
      intercept: (request, response) => this.#intercept(request, response),
      observe: (ctx) => this.#observe(ctx),
    })
  }

  get server(): AuthorizationServer {
    if (!this.#server) throw new Error('the provider has not been started')
    return this.#server
  }

  get issuer(): string {
    return this.server.issuer
  }

  /** How many calls of the token endpoint were answered, of one grant type or in all. */
  count(grantType?: string): number {
    return this.tokenRequests.filter((request) => grantType === undefined || request.grantType === grantType).length
  }

  /**
   * Goes where a browser would go from an authorization URL, signs `user` in and gives consent.
   * Resolves the URL that the browser would be sent back to; with the same `browser` a second login is silent.
   */
  async login(
    authorizationUrl: URL | string,
    { user = 'alice', browser = new ProviderBrowser() }: { user?: string; browser?: ProviderBrowser } = {},
  ): Promise<URL> {
    let url = new URL(authorizationUrl)
    for (let step = 0; step < 12; step += 1) {
      if (url.origin !== this.issuer) return url
      const isInteraction = url.pathname.startsWith('/interaction/')
      const response = await browser.request(url, isInteraction ? new URLSearchParams({ user }) : undefined)
      const location = response.headers.get('location')
      if (location === null) throw new Error(`${url.pathname} answered ${response.status}: ${await response.text()}`)
      url = new URL(location, url)
    }
    throw new Error('the login does not come to an end')
  }

  /** Confirms a logout at the provider as a browser does, and resolves where it is sent, if anywhere. */
  async logout(endSessionUrl: URL | string, browser: ProviderBrowser): Promise<URL | undefined> {
    const page = await (await browser.request(new URL(endSessionUrl))).text()
    const action = /action="([^"]+)"/.exec(page)?.[1]
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page)?.[1]
    if (!action || !xsrf) throw new Error(`no logout form: ${page}`)
    const response = await browser.request(new URL(action), new URLSearchParams({ xsrf, logout: 'yes' }))
    const location = response.headers.get('location')
    return location === null ? undefined : new URL(location, action)
  }

  /** Keeps requests to a path unanswered until the returned function is called. */
  hold(path: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gates.set(path, promise)
    return () => {
      this.#gates.delete(path)
      resolve()
    }
  }

  /** Answers requests to a path with this status, or as ever again. */
  breakDown(path: string, status: number | undefined): void {
    if (status === undefined) this.#broken.delete(path)
    else this.#broken.set(path, status)
  }

  /** How many requests to a path have arrived since the start. */
  arrivals(path: string): number {
    return this.#arrivals.get(path) ?? 0
  }

  /** Resolves once `count` requests to a path have arrived since the start, answered or held. */
  async arrived(path: string, count = 1): Promise<void> {
    if (this.arrivals(path) >= count) return
    await new Promise<void>((resolve) => this.#waiters.push({ path, count, resolve }))
  }

  /** All tokens of a user are gone: the next refresh is `invalid_grant`. */
  revokeTokens(user: string): void {
    for (const [key, payload] of this.#payloads) {
      const isToken = key.startsWith('RefreshToken:') || key.startsWith('AccessToken:')
      if (isToken && payload['accountId'] === user) this.#payloads.delete(key)
    }
  }

  /** Whether a token is known here and has not been revoked. Opaque tokens and refresh tokens only. */
  isActive(token: string): boolean {
    return this.#payloads.has(`RefreshToken:${token}`) || this.#payloads.has(`AccessToken:${token}`)
  }

  close(): Promise<void> {
    return this.server.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #intercept(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const path = new URL(request.url ?? '/', this.issuer).pathname
    const arrivals = this.arrivals(path) + 1
    this.#arrivals.set(path, arrivals)
    for (const waiter of this.#waiters) {
      if (waiter.path === path && waiter.count <= arrivals) waiter.resolve()
    }
    await this.#gates.get(path)
    const status = this.#broken.get(path)
    if (status !== undefined) response.writeHead(status).end()
    return status !== undefined
  }

  #observe(ctx: ProviderContext): void {
    if (ctx.oidc?.route !== 'token') return
    const params = { ...ctx.oidc.params }
    this.tokenRequests.push({ grantType: params['grant_type'] ?? '', status: ctx.status, params })
    // The body of a token response, RFC 6749 §5.1, or of an error.
    const body = ctx.body as Record<string, unknown> | undefined
    for (const name of ['access_token', 'refresh_token', 'id_token']) {
      const token = body?.[name]
      if (typeof token === 'string') this.issued.push(token)
    }
  }

  #configuration(): Configuration {
    const { api, resources, configuration } = this.#options
    const known: Record<string, string> = { ...(api && { [api]: 'api' }), ...resources }
    const adapter = memoryAdapter()
    return {
      // Watches what the adapter keeps, so that tests can revoke behind the client's back.
      adapter: (model: string) => this.#watched(model, adapter(model)),
      ttl: {
        AccessToken: () => this.accessTokenSeconds,
        ClientCredentials: () => this.accessTokenSeconds,
        AuthorizationCode: 60,
        IdToken: 600,
        RefreshToken: 28_800,
        Interaction: 600,
        Session: 28_800,
        Grant: 28_800,
      },
      ...(resources && {
        scopes: ['openid', 'offline_access', ...Object.values(known).flatMap((scopes) => scopes.split(' '))],
        // Everyone consents to everything.
        loadExistingGrant: async (ctx: ProviderContext) => {
          const { client, session, provider, params } = ctx.oidc
          if (!client || !session?.accountId) return undefined
          const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId })
          grant.addOIDCScope(params?.['scope'] ?? 'openid')
          for (const [resource, scopes] of Object.entries(known)) grant.addResourceScope(resource, scopes)
          await grant.save()
          return grant
        },
      }),
      ...configuration,
      features: {
        clientCredentials: { enabled: true },
        ...(Object.keys(known).length > 0 && {
          resourceIndicators: {
            enabled: true,
            defaultResource: () => api,
            useGrantedResource: () => true,
            getResourceServerInfo: (_ctx: unknown, resource: string) => {
              const scope = known[resource]
              if (scope === undefined) throw new Error(`no such resource: ${resource}`)
              return {
                scope,
                audience: resource,
                accessTokenFormat: 'jwt',
                accessTokenTTL: this.accessTokenSeconds,
                jwt: { sign: { alg: 'RS256' } },
              }
            },
          },
        }),
        // The configuration of oidc-provider is made of plain objects.
        ...(configuration?.['features'] as object | undefined),
      },
    }
  }

  #watched(model: string, adapter: object): object {
    const payloads = this.#payloads
    // The adapter's contract: https://github.com/panva/node-oidc-provider/blob/main/example/my_adapter.js
    const inner = adapter as {
      upsert(id: string, payload: AdapterPayload, expiresIn?: number): Promise<void>
      find(id: string): Promise<AdapterPayload | undefined>
      destroy(id: string): Promise<void>
      revokeByGrantId(grantId: string): Promise<void>
    }
    if (model !== 'RefreshToken' && model !== 'AccessToken') return adapter
    return {
      ...adapter,
      async upsert(id: string, payload: AdapterPayload, expiresIn?: number) {
        payloads.set(`${model}:${id}`, payload)
        await inner.upsert(id, payload, expiresIn)
      },
      async find(id: string) {
        return payloads.has(`${model}:${id}`) ? inner.find(id) : undefined
      },
      async destroy(id: string) {
        payloads.delete(`${model}:${id}`)
        await inner.destroy(id)
      },
      async revokeByGrantId(grantId: string) {
        for (const [key, payload] of payloads) if (payload.grantId === grantId) payloads.delete(key)
        await inner.revokeByGrantId(grantId)
      },
    }
  }
}

/** The provider's side of a browser: it keeps cookies and follows nothing by itself. */
export class ProviderBrowser {
  readonly #cookies = new Map<string, string>()

  async request(url: URL, form?: URLSearchParams): Promise<Response> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(url, {
      method: form ? 'POST' : 'GET',
      redirect: 'manual',
      headers: cookie ? { cookie } : {},
      ...(form && { body: form }),
    })
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';')
      const name = pair.slice(0, pair.indexOf('='))
      const value = pair.slice(pair.indexOf('=') + 1)
      if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) this.#cookies.delete(name)
      else this.#cookies.set(name, value)
    }
    return response
  }
}

/** The authorization server of `sidegate demo`, a real oidc-provider; the tests start it too, with other settings. */
import { generateKeyPair, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import type { Configuration, InteractionPolicy, Provider, ProviderContext } from 'oidc-provider'
import { handleInteraction } from './interaction.ts'
import { memoryAdapter } from './memory-adapter.ts'
import { errorPage, signedOutPage, signOutPage } from './sign-in-page.ts'
import type { Page } from './sign-in-page.ts'
import { ACR, DEMO_USERS } from './users.ts'
import type { DemoUser } from './users.ts'

/** Client metadata in the words of OpenID Connect Dynamic Client Registration. */
export interface RegisteredClient extends Record<string, unknown> {
  readonly client_id: string
  readonly redirect_uris: readonly string[]
}

export interface AuthorizationServerOptions {
  /** Not the gateway's host name: cookies ignore ports, so two servers on one name would share theirs. */
  readonly host?: string
  /** 0 takes a free one. */
  readonly port?: number
  readonly clients: readonly RegisteredClient[]
  readonly users?: readonly DemoUser[]
  /** The API for which access tokens are made (RFC 8707), as JWTs; without it they are opaque and open UserInfo. */
  readonly api?: string
  readonly accessTokenSeconds?: number
  /** Whether each refresh answers with a new refresh token and the old one is dead (RFC 9700 §4.14.2). */
  readonly rotateRefreshTokens?: boolean
  /** Laid over the configuration of oidc-provider, `features` member by member. */
  readonly configuration?: Configuration
  /** Sees each request first; resolves `true` when it has answered it. For servers that misbehave. */
  readonly intercept?: (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>
  /** Called after each request that oidc-provider has answered, before the answer leaves. */
  readonly observe?: (ctx: ProviderContext) => void
}

export interface AuthorizationServer extends AsyncDisposable {
  readonly issuer: string
  readonly port: number
  readonly provider: Provider
  /** The next access token lives so long, and no later one. */
  shortenNextToken(seconds: number): void
  close(): Promise<void>
}

/**
 * Listens on loopback and serves until closed.
 *
 * @throws with code ERR_MODULE_NOT_FOUND when oidc-provider, a development dependency, is not installed,
 * and EADDRINUSE when the port is taken
 */
export async function startAuthorizationServer(options: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const { Provider: OidcProvider, interactionPolicy } = await import('oidc-provider')
  const host = options.host ?? '127.0.0.1'
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, host, resolve)
  })
  // A TCP server that listens on a port has an AddressInfo.
  const { port } = server.address() as AddressInfo
  const issuer = `http://${host}:${port}`

  const users = options.users ?? DEMO_USERS
  const lifetime = new TokenLifetime(options.accessTokenSeconds ?? 60)
  const base = await configuration(options, users, stepUpPolicy(interactionPolicy), lifetime)
  const given = options.configuration ?? {}
  const provider = new OidcProvider(issuer, {
    ...base,
    ...given,
    features: { ...(base['features'] as object), ...(given['features'] as object | undefined) },
  })
  const { observe, intercept } = options
  if (observe) {
    provider.use(async (ctx, next) => {
      await next()
      observe(ctx)
    })
  }

  const answer = provider.callback()
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const handled = async (): Promise<void> => {
      if (intercept && (await intercept(request, response))) return
      if (await handleInteraction(provider, { users, appUrl: appUrlOf(options) }, request, response)) return
      await answer(request, response)
    }
    handled().catch(() => response.destroy())
  })

  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }
  return {
    issuer,
    port,
    provider,
    shortenNextToken: (seconds) => lifetime.shortenNext(seconds),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** How long access tokens live: always the same, unless the next one was asked to be short. */
class TokenLifetime {
  readonly #seconds: number
  #next: number | undefined

  constructor(seconds: number) {
    this.#seconds = seconds
  }

  shortenNext(seconds: number): void {
    this.#next = seconds
  }

  take(): number {
    const seconds = this.#next ?? this.#seconds
    this.#next = undefined
    return seconds
  }
}

/** The start page of the first client: where a visitor goes from a page that leads nowhere. */
function appUrlOf({ clients }: AuthorizationServerOptions): string | undefined {
  const redirectUri = clients[0]?.redirect_uris[0]
  return redirectUri === undefined ? undefined : `${new URL(redirectUri).origin}/`
}

async function configuration(
  options: AuthorizationServerOptions,
  users: readonly DemoUser[],
  policy: unknown,
  lifetime: TokenLifetime,
): Promise<Record<string, unknown>> {
  const { api } = options
  return {
    adapter: memoryAdapter(),
    clients: options.clients,
    jwks: { keys: [await signingKey()] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    claims: { openid: ['sub'], profile: ['name', 'groups'], email: ['email', 'email_verified'] },
    // The gateway shows the claims of the ID token; by the letter they would be at UserInfo alone.
    conformIdTokenClaims: false,
    scopes: ['openid', 'offline_access', ...(api ? ['api'] : [])],
    acrValues: Object.values(ACR),
    responseTypes: ['code'],
    pkce: { required: () => true },
    ttl: {
      AccessToken: () => lifetime.take(),
      AuthorizationCode: 60,
      IdToken: 600,
      RefreshToken: 8 * 3_600,
      Interaction: 600,
      Session: 8 * 3_600,
      Grant: 8 * 3_600,
    },
    issueRefreshToken: (_ctx: unknown, client: { grantTypeAllowed(type: string): boolean }) =>
      client.grantTypeAllowed('refresh_token'),
    // Tabs that sign in at the same moment overtake each other in the one session here; the tokens of all are good.
    // A sign-out here still reaches the gateway, by the back channel.
    expiresWithSession: () => false,
    rotateRefreshToken: options.rotateRefreshTokens ?? true,
    extraTokenClaims: (ctx: ProviderContext) => {
      const source = ctx.oidc.entities['RefreshToken'] ?? ctx.oidc.entities['AuthorizationCode']
      return source?.acr ? { acr: source.acr, auth_time: source.authTime } : undefined
    },
    findAccount: (_ctx: unknown, sub: string) => {
      const user = users.find((candidate) => candidate.sub === sub)
      return user && { accountId: sub, claims: () => ({ sub, ...user.claims }) }
    },
    interactions: { policy, url: (_ctx: unknown, interaction: { uid: string }) => `/interaction/${interaction.uid}` },
    // Everyone consents: the app and the sign-in service belong to the same owner.
    loadExistingGrant: async (ctx: ProviderContext) => {
      const { client, session, provider, params } = ctx.oidc
      if (!client || !session?.accountId) return undefined
      const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId })
      grant.addOIDCScope(params?.['scope'] ?? 'openid')
      if (api) grant.addResourceScope(api, 'api')
      await grant.save()
      return grant
    },
    renderError: (ctx: ProviderContext, out: { error: string; error_description?: string }) => {
      show(ctx, errorPage(out.error, out.error_description ?? '', appUrlOf(options)))
    },
    // Its own guard against addresses inside the network would refuse the loopback addresses of the demo.
    fetch: (url: string, init: RequestInit & { dispatcher?: unknown }) => {
      const { dispatcher: _guarded, ...rest } = init
      return fetch(url, rest)
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true, allowedPolicy: () => true },
      introspection: { enabled: true, allowedPolicy: () => true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx: ProviderContext, form: string) => {
          const target = ctx.oidc.session?.state?.['postLogoutRedirectUri']
          const clientOrigin = typeof target === 'string' ? URL.parse(target)?.origin : undefined
          show(ctx, signOutPage(form, { clientOrigin, isAsked: ctx.oidc.client !== undefined }))
        },
        postLogoutSuccessSource: (ctx: ProviderContext) => show(ctx, signedOutPage()),
      },
      resourceIndicators: {
        enabled: api !== undefined,
        defaultResource: () => api,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'api',
          audience: api,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  }
}

/** Asks again where `acr_values` names a context that the present sign-in does not have (RFC 9470 §4). */
function stepUpPolicy({ base, Check }: InteractionPolicy): unknown {
  const policy = base()
  const check = new Check('acr_values', 'a stronger sign-in is needed', 'login_required', ({ oidc }) => {
    const wanted = oidc.params?.['acr_values'] ?? ''
    const enough = wanted === '' || oidc.result?.login || wanted.split(' ').includes(oidc.session?.acr ?? '')
    return enough ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT
  })
  policy.get('login')?.checks.add(check)
  return policy
}

function show(ctx: ProviderContext, { html, csp }: Page): void {
  ctx.type = 'html'
  ctx.set('content-security-policy', csp)
  ctx.body = html
}

let cachedKey: Promise<object> | undefined

/** One RSA key for the process: making it is the slowest part of the start. */
function signingKey(): Promise<object> {
  cachedKey ??= promisify(generateKeyPair)('rsa', { modulusLength: 2_048 }).then(({ privateKey }) => ({
    ...privateKey.export({ format: 'jwk' }),
    alg: 'RS256',
    use: 'sig',
  }))
  return cachedKey
}

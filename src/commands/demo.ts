import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import type { Api } from '../demo/api.ts'
import { startApi } from '../demo/api.ts'
import { startAuthorizationServer } from '../demo/authorization-server.ts'
import type { AuthorizationServer } from '../demo/authorization-server.ts'
import { Journal } from '../demo/journal.ts'
import { TokenBook } from '../demo/tokens.ts'
import { DEMO_USERS } from '../demo/users.ts'
import { startGateway } from './serve.ts'
import { configHelp, configOption, readArguments } from './usage.ts'

const DEFAULT_CONFIG = new URL('../../config/demo.yaml', import.meta.url)
/** The API as the authorization server knows it (RFC 8707). */
const API = 'urn:sidegate:demo:api'
/** How long the token lives that a visitor lets expire. */
const SHORT_TOKEN_SECONDS = 4

const help = `
Usage: sidegate demo [--config FILE] [--json]

Runs the whole thing on loopback: an authorization server with two users, a sample API, a single-page app, and
the gateway in front of them, configured by config/demo.yaml. Nothing leaves this machine, and nothing is kept.

Options:
${configHelp.replace(/\(.*\)/, '(default: config/demo.yaml)')}
      --json              JSON lines only, also on a terminal

Where a port is taken, choose another: SIDEGATE_DEMO_PORT=8888 sidegate demo
(likewise SIDEGATE_DEMO_MANAGEMENT_PORT, SIDEGATE_DEMO_PROVIDER_PORT, SIDEGATE_DEMO_API_PORT).
`

/** `sidegate demo`: authorization server and API first, then the gateway as `serve` starts it; until a signal. */
export async function demo(args: readonly string[]): Promise<number> {
  const parsed = readArguments(args, help, { ...configOption, json: { type: 'boolean' } })
  if (!parsed) return 0
  const json = parsed.options['json'] === true
  const { config: named } = parsed.options
  const configFile = typeof named === 'string' ? named : fileURLToPath(DEFAULT_CONFIG)
  // The package on the registry is the gateway alone.
  if (typeof named !== 'string' && !existsSync(configFile)) {
    throw new Error('the demo runs in a checkout: clone the repository, then `npm ci && npm run demo`')
  }
  process.env['SIDEGATE_DEMO_CLIENT_SECRET'] ||= randomBytes(32).toString('base64url')
  const { config } = loadConfig(configFile)

  const stopped = signalled()
  const running: { stop: () => Promise<void> }[] = []
  try {
    await startAll({ configFile, config, json }, running)
    process.stdout.write(
      json ? `${JSON.stringify({ level: 'info', msg: 'demo', open: config.publicUrl })}\n` : welcome(config),
    )
    await stopped
    if (!json) process.stdout.write('\nStopping the demo.\n')
  } finally {
    for (const { stop } of running.toReversed()) await stop()
  }
  return 0
}

/** Puts what has started on the list of what is to be stopped. */
async function startAll(
  { configFile, config, json }: { configFile: string; config: Config; json: boolean },
  running: { stop: () => Promise<void> }[],
): Promise<void> {
  const { provider, upstream } = placesOf(config)
  const journal = new Journal({
    gateway: new URL(config.publicUrl),
    provider,
    api: upstream,
    basePath: config.basePath,
  })
  journal.start()
  running.push({ stop: async () => journal.close() })
  const tokens = new TokenBook()
  const authorizationServer = await started(startProvider(config, provider, { journal, tokens }))
  running.push({ stop: () => authorizationServer.close() })
  const api = await started(startSampleApi(config, authorizationServer, upstream, { journal, tokens }))
  running.push({ stop: () => api.close() })
  running.push(await started(startGateway(configFile, { json })))
}

/** Those who see what goes by, for the page to show. */
interface Watchers {
  readonly journal: Journal
  readonly tokens: TokenBook
}

interface Places {
  readonly provider: URL
  readonly upstream: URL
}

/** Where the configuration expects what the demo has to bring. */
function placesOf(config: Config): Places {
  const issuer = config.provider?.issuer
  const upstream = config.routes.find((route) => route.upstream !== undefined)?.upstream
  if (issuer === undefined || upstream === undefined) {
    throw new Error('the demo needs a configuration with one provider and a route to an API')
  }
  const places = { provider: new URL(issuer), upstream: new URL(upstream) }
  for (const { hostname, href } of Object.values(places)) {
    if (!/^(127(\.\d+){3}|localhost)$/.test(hostname)) throw new Error(`the demo runs on loopback only, not at ${href}`)
  }
  return places
}

/** The client is registered as the configuration describes it: there is nothing to copy from one to the other. */
function startProvider(
  { publicUrl, basePath, provider }: Config,
  { hostname, port }: URL,
  { journal, tokens }: Watchers,
): Promise<AuthorizationServer> {
  const base = `${new URL(publicUrl).origin}${basePath}`
  return startAuthorizationServer({
    host: hostname,
    port: Number(port),
    api: API,
    observe: ({ oidc, req, body }) => {
      if (oidc?.route !== 'token') return
      journal.noteGrant(req, oidc.params?.['grant_type'] ?? '', oidc.params?.['code'])
      // The answer of a token endpoint is an object (RFC 6749 §5.1).
      tokens.note(body as Record<string, unknown>, oidc.params?.['refresh_token'])
    },
    clients: [
      {
        client_id: provider?.clientId ?? '',
        client_secret: provider?.clientSecret,
        redirect_uris: [`${base}/callback`],
        post_logout_redirect_uris: [`${base}/logout/callback`],
        backchannel_logout_uri: `${base}/backchannel-logout`,
        backchannel_logout_session_required: true,
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
      },
    ],
  })
}

function startSampleApi(
  { name, publicUrl, management }: Config,
  authorizationServer: AuthorizationServer,
  { hostname, port }: URL,
  { journal, tokens }: Watchers,
): Promise<Api> {
  const { issuer } = authorizationServer
  const metricsUrl = `http://${management.host}:${management.port}/metrics`
  return startApi({
    host: hostname,
    port: Number(port),
    issuer,
    audience: API,
    metricsUrl,
    backstage: {
      journal,
      gateway: new URL(publicUrl),
      sessionCookieName: `__Host-Http-${name}`,
      signOutUrl: `${issuer}/session/end`,
    },
    heldWith: (accessToken) => tokens.heldWith(accessToken),
    shortenNextToken: () => {
      authorizationServer.shortenNextToken(SHORT_TOKEN_SECONDS)
      return SHORT_TOKEN_SECONDS
    },
  })
}

/** Says in one line what to do about the two things that usually go wrong. */
async function started<Started>(start: Promise<Started>): Promise<Started> {
  try {
    return await start
  } catch (error) {
    const { code, port } = error as { code?: unknown; port?: unknown } // of Node's system errors
    if (code === 'ERR_MODULE_NOT_FOUND') {
      throw new Error('the demo needs the development dependencies: run `npm ci` in a checkout first', { cause: error })
    }
    if (code === 'EADDRINUSE') {
      throw new Error(`port ${String(port)} is taken; \`sidegate demo --help\` tells how to choose another`, {
        cause: error,
      })
    }
    throw error
  }
}

function welcome(config: Config): string {
  const users = DEMO_USERS.map(({ claims }) => claims.name).join(' or ')
  return `
  Sidegate demo

    Open      ${config.publicUrl}
    Sign in   as ${users}: one click, no password

  Then try: call the API, let its token expire, forge a request from another origin,
  sign in from twenty tabs, sign out elsewhere. Ctrl+C stops everything; nothing is kept.

`
}

/** Resolves at the first SIGINT or SIGTERM. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}

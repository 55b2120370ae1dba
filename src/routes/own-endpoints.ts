/** Everything under `basePath`: all endpoints, registered with what they share. */
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.ts'
import { takeFormsAndJson } from '../http/form.ts'
import type { SecurityHeaders } from '../http/security-headers.ts'
import type { ConfiguredProvider } from '../oidc/providers.ts'
import type { KeyRing } from '../session/key-ring.ts'
import { LoginLedger } from '../session/login-ledger.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Audit } from '../telemetry/audit.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { registerCallback } from './callback.ts'
import { type EventStreams, registerEvents } from './events.ts'
import { type LoginOptions, registerLogin } from './login.ts'
import { registerLogout } from './logout.ts'
import { registerProviderLogout } from './provider-logout.ts'
import { registerPublicFiles } from './public-files.ts'
import { registerSession } from './session.ts'
import { registerSessions } from './sessions.ts'
import { registerYourSessions } from './your-sessions.ts'

export interface OwnEndpointsOptions {
  readonly config: Config
  readonly manager: SessionManager
  readonly keyRing: KeyRing
  readonly metrics: Metrics
  readonly audit: Audit
  readonly providers: ReadonlyMap<string, ConfiguredProvider>
  /** The browser client as an ES module. */
  readonly clientModule: string
  readonly now: () => number
}

/** What a login needs of all that; routes that begin one in place need it too. */
export function loginOptionsOf(
  { config, keyRing, manager, providers, now }: OwnEndpointsOptions,
  parts: Pick<LoginOptions, 'cookies' | 'pages' | 'publicUrl'>,
): LoginOptions {
  return {
    ...parts,
    providers,
    basePath: config.basePath,
    returnOrigins: config.login.returnOrigins,
    allowCrossSite: config.login.allowCrossSite,
    keyRing,
    ledger: new LoginLedger({ store: manager.store, keyRing }),
    now,
  }
}

export interface OwnEndpointsParts {
  readonly login: LoginOptions
  readonly streams: EventStreams
  readonly security: SecurityHeaders
}

/** @param scope an encapsulated part of the application with `basePath` as its prefix */
export function registerOwnEndpoints(
  scope: FastifyInstance,
  options: OwnEndpointsOptions,
  { login, streams, security }: OwnEndpointsParts,
): void {
  const { config, manager, keyRing, metrics, audit, now } = options
  const { basePath } = config
  const clients = new Map([...options.providers].map(([name, { client }]) => [name, client]))
  const sessionOptions = { manager, claims: config.session.claims, basePath, now }

  takeFormsAndJson(scope)
  const defaults = Object.entries({ ...security.answer, 'cache-control': 'no-store' })
  scope.addHook('onSend', (_request, reply, _payload, done) => {
    for (const [name, value] of defaults) if (!reply.hasHeader(name)) reply.header(name, value)
    done()
  })
  registerLogin(scope, login)
  registerCallback(scope, { ...login, manager, audit, metrics })
  registerSession(scope, sessionOptions)
  registerSessions(scope, { manager })
  registerYourSessions(scope, { manager, pages: login.pages, basePath, now })
  registerEvents(scope, streams, { ...sessionOptions, metrics })
  registerLogout(scope, {
    manager,
    providers: clients,
    revokes: (name) => options.providers.get(name)?.config.logout.revoke ?? false,
    cookies: login.cookies,
    keyRing,
    pages: login.pages,
    basePath,
  })
  registerProviderLogout(scope, { manager, providers: clients, keyRing, audit, now })
  registerPublicFiles(scope, {
    clientModule: options.clientModule,
    publicJwks: () => ({ keys: [...clients.values()].flatMap((client) => client.publicJwks().keys) }),
  })
}

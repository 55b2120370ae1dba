/** The provider as the gateway speaks with it; each aspect of the protocol is in a file of its own beside this one. */
import type { JWK } from 'jose'
import type { ProviderConfig } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { checkIntrospection, isSignedJwt, verifyAccessToken } from './access-token.ts'
import type { BearerRule, BearerToken } from './access-token.ts'
import { authorizationUrl } from './authorization-request.ts'
import type { AuthorizationRequest } from './authorization-request.ts'
import { exchangeCode } from './code-grant.ts'
import type { LoginExpectations, LoginResult } from './code-grant.ts'
import { Connection } from './connection.ts'
import { endSessionUrl } from './end-session.ts'
import { introspect } from './introspection.ts'
import type { VerifiedJwt } from './issuer-keys.ts'
import { checkLogoutToken } from './logout-token.ts'
import type { LogoutToken } from './logout-token.ts'
import { refresh } from './refresh.ts'
import type { RefreshableSession, RefreshOutcome } from './refresh.ts'
import { routeToken } from './route-token.ts'
import type { RouteTokenOutcome, RouteTokenRule } from './route-token.ts'

export type {
  AuthorizationRequest,
  LoginExpectations,
  LoginResult,
  LogoutToken,
  RefreshableSession,
  RefreshOutcome,
  RouteTokenOutcome,
  RouteTokenRule,
}

/** A logout token has a kilobyte; the endpoint that takes it is open to the internet. */
const MAX_LOGOUT_TOKEN_LENGTH = 16_384

export interface OidcProviderOptions {
  /** The name under `providers`, or `default`. */
  readonly name: string
  readonly config: ProviderConfig
  /** The one callback address, exactly as registered (RFC 9700 §2.1). */
  readonly redirectUri: string
  readonly postLogoutRedirectUri: string
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'providerDuration'>
  readonly tracing?: Tracing | undefined
  readonly now: () => number
}

/** @throws Error from the constructor when a key of the configuration cannot be used */
export class OidcProvider {
  readonly name: string
  readonly #options: OidcProviderOptions
  #connection: Connection
  #isStarted = false

  constructor(options: OidcProviderOptions) {
    this.name = options.name
    this.#options = options
    this.#connection = this.#connect(options.config)
  }

  /** As configured; sessions and logout tokens are told apart by it. */
  get issuer(): string {
    return this.#connection.config.issuer
  }

  /** Whether a login could begin: the metadata has been good once. */
  get ready(): boolean {
    return this.#connection.metadata.current !== undefined
  }

  /** Whether the provider was out of reach or out of order when it was last spoken to, or has not been good yet. */
  get degraded(): boolean {
    const { metadata, backChannel } = this.#connection
    return !this.ready || metadata.isFailing || backChannel.isFailing
  }

  /** Reads the metadata with back-off until it has it, then again from time to time. Never throws. */
  start(): void {
    this.#isStarted = true
    this.#connection.metadata.start()
  }

  /** @throws BffError `provider_unavailable`; `login_failed` when a pushed request is refused for what it asks */
  authorizationUrl(request: AuthorizationRequest): Promise<URL> {
    return authorizationUrl(this.#connection, request)
  }

  /** @throws BffError `login_failed` with the failed check as detail, `provider_unavailable` */
  exchangeCode(response: URLSearchParams, expected: LoginExpectations): Promise<LoginResult> {
    return exchangeCode(this.#connection, response, expected)
  }

  /** One grant, bounded by 30 s. Never throws for anything that a provider can do. */
  refresh(session: RefreshableSession, signal?: AbortSignal): Promise<RefreshOutcome> {
    return refresh(this.#connection, session, { signal })
  }

  /** A token for one route, which is never the session's own: a failure brings none. Same bound as a refresh. */
  routeToken(rule: RouteTokenRule, session: RefreshableSession, signal?: AbortSignal): Promise<RouteTokenOutcome> {
    return routeToken(this.#connection, rule, session, signal)
  }

  /** RFC 7009. A token that the provider does not know is revoked too; failures are logged and nothing waits for them. */
  revoke(token: string, hint: 'access_token' | 'refresh_token'): Promise<void> {
    return this.#connection.revoke(token, hint)
  }

  /** `undefined` where the provider has no such address: the logout is then a local one. */
  endSessionUrl(options: { idToken?: string; state: string }): URL | undefined {
    const { config, metadata } = this.#connection
    const { postLogoutRedirectUri } = this.#options
    return endSessionUrl(config, metadata.current, { ...options, postLogoutRedirectUri })
  }

  /** @throws BffError `invalid_request` with the failed check as detail; `provider_unavailable` without its keys */
  async verifyLogoutToken(jwt: string): Promise<LogoutToken> {
    if (jwt.length > MAX_LOGOUT_TOKEN_LENGTH) throw new BffError('invalid_request', 'logout token: it is too long')
    const connection = this.#connection
    const metadata = await connection.metadata.get()
    const rules = connection.idTokenRules(metadata)
    let token: VerifiedJwt
    try {
      // With the algorithm of ID tokens and no other that the key set would allow (LO-07).
      token = await connection.issuerKeys(metadata).verify(jwt, rules.algorithm, 'internet')
    } catch (error) {
      if (error instanceof BffError) throw error
      throw new BffError('invalid_request', 'logout token: it is not signed by the provider as ID tokens are')
    }
    return checkLogoutToken(token, rules)
  }

  /**
   * A token that an app brought along: a JWT is verified with the provider's keys, an opaque one is introspected.
   *
   * @throws BffError `login_required` with the failed check as detail; `provider_unavailable` where it cannot be told
   */
  async verifyAccessToken(token: string, rule: BearerRule): Promise<BearerToken> {
    const connection = this.#connection
    const { clientId, clockTolerance } = connection.config
    const rules = { ...rule, clientIds: [clientId], clockToleranceMs: clockTolerance, now: connection.now }
    const metadata = await connection.metadata.get()
    if (isSignedJwt(token)) return await verifyAccessToken(token, rules, connection.issuerKeys(metadata))
    return checkIntrospection(token, await introspect(connection, metadata, token), rules)
  }

  /** The public half of this client's keys, for `jwks.json`. */
  publicJwks(): { keys: JWK[] } {
    return { keys: this.#connection.keys.map(({ publicJwk }) => publicJwk) }
  }

  /** Takes a changed configuration while running. What cannot be used is logged and the old one stays. */
  update(config: ProviderConfig): void {
    const { log } = this.#options
    try {
      const changed = changedKeys(this.#connection.config, config)
      if (changed.length === 0) return
      if (changed.every((key) => key === 'clientSecret' || key === 'clientSecrets')) {
        this.#connection.useSecretsOf(config)
      } else {
        const before = this.#connection
        this.#connection = this.#connect(config, before)
        before.retire()
        if (this.#isStarted) this.#connection.metadata.start()
      }
      log.info({ provider: this.name, changed }, 'the provider’s configuration has been read again')
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'unknown'
      log.error(
        { provider: this.name, reason },
        'the changed configuration of the provider cannot be used, the old one stays',
      )
    }
  }

  close(): void {
    this.#connection.close()
  }

  #connect(config: ProviderConfig, before?: Connection): Connection {
    const { name, redirectUri, log, metrics, tracing, now } = this.#options
    const connection = new Connection({ name, config, redirectUri, log, tracing, now, ...(metrics && { metrics }) })
    // The same server: what was known of it serves until it has been read again.
    if (before?.metadata.current && before.config.issuer === config.issuer)
      connection.metadata.seed(before.metadata.current)
    return connection
  }
}

function changedKeys(before: ProviderConfig, after: ProviderConfig): string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  const text = (config: ProviderConfig, key: string): string =>
    JSON.stringify(new Map(Object.entries(config)).get(key)) ?? ''
  return [...keys].filter((key) => text(before, key) !== text(after, key))
}

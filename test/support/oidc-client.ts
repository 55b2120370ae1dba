/** An `OidcProvider` of ours against a server of the tests, and logins without a gateway around it. */
import { randomBytes } from 'node:crypto'
import type { ProviderConfig } from '../../src/config/schema.ts'
import { OidcProvider } from '../../src/oidc/provider.ts'
import type { LoginExpectations, LoginResult } from '../../src/oidc/provider.ts'
import { silentLog } from '../../src/telemetry/log.ts'
import type { Log } from '../../src/telemetry/log.ts'
import { CLIENT_ID, CLIENT_SECRET } from './provider.ts'
import type { ScriptedProvider } from './scripted-provider.ts'

export const REDIRECT_URI = 'http://localhost:8080/bff/callback'
export const POST_LOGOUT_REDIRECT_URI = 'http://localhost:8080/bff/logout/callback'

/** A provider's configuration with the schema's defaults. */
export function providerConfig(issuer: string, overrides: Partial<ProviderConfig> = {}): ProviderConfig {
  return {
    issuer,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    clientAuthentication: 'client_secret_basic',
    basicEncoding: 'rfc6749',
    loginParams: ['prompt', 'login_hint', 'acr_values', 'max_age', 'ui_locales'],
    pushedAuthorization: 'auto',
    requestObject: false,
    responseMode: 'query',
    dpop: false,
    userinfo: false,
    idTokenSignedResponseAlg: 'RS256',
    clockTolerance: 30_000,
    timeout: 5_000,
    logout: { style: 'oidc', revoke: true },
    ...overrides,
  }
}

export interface OidcClientOptions {
  readonly config?: Partial<ProviderConfig>
  readonly log?: Log
  readonly now?: () => number
  readonly redirectUri?: string
}

/** Closed by `await using`. */
export class OidcClient extends OidcProvider implements AsyncDisposable {
  constructor(
    issuer: string,
    { config, log = silentLog, now = Date.now, redirectUri = REDIRECT_URI }: OidcClientOptions = {},
  ) {
    super({
      name: 'default',
      config: providerConfig(issuer, config),
      redirectUri,
      postLogoutRedirectUri: POST_LOGOUT_REDIRECT_URI,
      log,
      now,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }
}

/** What a login transaction would hold. */
export function expectations(overrides: Partial<LoginExpectations> = {}): LoginExpectations {
  const random = (): string => randomBytes(32).toString('base64url')
  return { state: random(), nonce: random(), codeVerifier: random(), ...overrides }
}

export interface ScriptedLogin {
  readonly sub?: string
  readonly claims?: Record<string, unknown>
  /** Parameters of the authorization response; `null` leaves one out. */
  readonly response?: Record<string, string | null>
  readonly params?: Record<string, string>
  readonly expected?: Partial<LoginExpectations>
}

/** A whole login at the scripted provider. */
export async function scriptedLogin(
  client: OidcProvider,
  provider: ScriptedProvider,
  options: ScriptedLogin = {},
): Promise<LoginResult> {
  const { params = {}, expected: overrides = {}, ...authorization } = options
  const expected = expectations(overrides)
  const url = await client.authorizationUrl({ ...expected, params })
  return await client.exchangeCode(provider.authorize(url, authorization).searchParams, expected)
}

/** Keeps what was logged, so that tests can look for alarms and for secrets. */
export class RecordedLog implements Log {
  readonly lines: { level: string; fields: object; message: string }[] = []
  debug(fields: object, message: string): void {
    this.lines.push({ level: 'debug', fields, message })
  }
  info(fields: object, message: string): void {
    this.lines.push({ level: 'info', fields, message })
  }
  warn(fields: object, message: string): void {
    this.lines.push({ level: 'warn', fields, message })
  }
  error(fields: object, message: string): void {
    this.lines.push({ level: 'error', fields, message })
  }
}

/** `doctor --login`: one real login in the operator's browser, judged and thrown away. */
import { randomBytes } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { Config, ProviderConfig } from '../../config/schema.ts'
import { BffError } from '../../errors.ts'
import type { LoginExpectations, LoginResult } from '../../oidc/code-grant.ts'
import { OidcProvider } from '../../oidc/provider.ts'
import type { RefreshableSession, RefreshOutcome, RouteTokenOutcome } from '../../oidc/provider.ts'
import { silentLog } from '../../telemetry/log.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'
import { openLanding } from './landing.ts'
import { reportLogin } from './login-report.ts'
import type { LoginReport } from './login-report.ts'

/** How long somebody may take to sign in. */
const PATIENCE_MS = 300_000

export interface LoginOptions {
  readonly name: string
  readonly config: Config
  readonly provider: ProviderConfig
  /** Left out: the gateway's own. */
  readonly redirectUri: string | undefined
  readonly input: Readable
  readonly say: (line: string) => void
}

/** What was found, and what came back without a value of it. */
export interface LoginFindings {
  readonly findings: readonly Finding[]
  readonly report: LoginReport | undefined
}

/** Signs in, tries the refresh token and the routes' tokens, reports, and revokes what it got. */
export async function examineLogin(options: LoginOptions): Promise<LoginFindings> {
  const { name, config, provider } = options
  const findings = new Findings(name === 'default' ? 'login' : `login at ${name}`)
  const base = `${config.publicUrl}${config.basePath}`
  const redirectUri = options.redirectUri ?? `${base}/callback`
  const landing = await openLanding({ redirectUri, config, input: options.input, say: options.say })
  const client = new OidcProvider({
    name,
    config: landing.isPasted ? { ...provider, responseMode: asQuery(provider.responseMode) } : provider,
    redirectUri,
    postLogoutRedirectUri: `${base}/logout/callback`,
    log: silentLog,
    now: Date.now,
  })
  const timer = Promise.withResolvers<never>()
  const timeout = setTimeout(() => timer.reject(new Error('nobody signed in within five minutes')), PATIENCE_MS)
  try {
    const expected = expectations(config, provider)
    const url = await client.authorizationUrl({ ...expected, params: {} })
    options.say(`${landing.instruction}\n\n  ${url.href}\n`)
    const response = await Promise.race([landing.answer(expected.state), timer.promise])
    const result = await client.exchangeCode(response, expected)
    const report = await examineTokens(client, options, result, findings)
    return { findings: findings.list, report }
  } catch (error) {
    findings.fail(`the login failed: ${messageOf(error)}`, remedyFor(error, redirectUri))
    return { findings: findings.list, report: undefined }
  } finally {
    clearTimeout(timeout)
    landing.close()
    client.close()
  }
}

function expectations(config: Config, { authorizationParams = {} }: ProviderConfig): LoginExpectations {
  const { max_age: maxAge, acr_values: acrValues } = authorizationParams
  return {
    state: random(),
    nonce: random(),
    codeVerifier: random(),
    requiresIss: Object.keys(config.providers ?? {}).length > 1,
    ...(typeof maxAge === 'string' && { maxAgeSeconds: Number(maxAge) }),
    ...(typeof acrValues === 'string' && { acrValues: acrValues.split(' ') }),
  }
}

async function examineTokens(
  client: OidcProvider,
  { config, provider }: LoginOptions,
  result: LoginResult,
  findings: Findings,
): Promise<LoginReport> {
  let session: RefreshableSession = {
    tokens: result.tokens,
    claims: result.claims,
    sub: String(result.claims['sub']),
    ...(result.dpopKey && { dpopKey: result.dpopKey }),
  }
  let refreshed: RefreshOutcome | undefined
  if (result.tokens.refreshToken !== undefined) {
    refreshed = await client.refresh(session)
    if (refreshed.kind === 'refreshed') {
      // A server that sends none with a refresh means that the old one stays.
      const refreshToken = refreshed.tokens.refreshToken ?? result.tokens.refreshToken
      session = { ...session, tokens: { ...refreshed.tokens, refreshToken } }
    }
  }
  const routeTokens: { path: string; outcome: RouteTokenOutcome }[] = []
  for (const { path, token } of config.routes) {
    if (typeof token !== 'object') continue
    const outcome = await client.routeToken(token, session)
    routeTokens.push({ path, outcome })
    if (outcome.kind === 'issued' && outcome.refreshToken !== undefined)
      session = { ...session, tokens: { ...session.tokens, refreshToken: outcome.refreshToken } }
  }
  // Nothing that was got here stays alive, where the server lets us say so.
  const { refreshToken, accessToken } = session.tokens
  await client.revoke(refreshToken ?? accessToken, refreshToken === undefined ? 'access_token' : 'refresh_token')
  return reportLogin({ config, provider, result, refreshed, routeTokens }, findings)
}

function remedyFor(error: unknown, redirectUri: string): string {
  const detail = messageOf(error)
  if (detail.includes('invalid_client') || detail.includes('unauthorized_client'))
    return 'check clientId and secret or key: the server does not take them'
  if (detail.includes('invalid_grant'))
    return 'sign in again and come back sooner: a code is good for a minute or less, once'
  if (/nonce|ID token|exp|iat/.test(detail))
    return 'check clocks and idTokenSignedResponseAlg; `sidegate doctor` tells more'
  if (detail.includes('access_denied')) return 'sign in as a user who may use this client, and consent'
  if (!(error instanceof BffError)) return `try again; the redirect URI is ${redirectUri}`
  return `see docs/errors.md, ${error.code}; the redirect URI was ${redirectUri}`
}

function asQuery(mode: ProviderConfig['responseMode']): ProviderConfig['responseMode'] {
  return mode.endsWith('jwt') ? 'query.jwt' : 'query'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason'
}

function random(): string {
  return randomBytes(32).toString('base64url')
}

/** What came back from a login, in words: kinds, names and lifetimes, and never a value. */
import { decodeJwt, decodeProtectedHeader } from 'jose'
import type { Config, ProviderConfig } from '../../config/schema.ts'
import type { LoginResult } from '../../oidc/code-grant.ts'
import type { RefreshOutcome, RouteTokenOutcome } from '../../oidc/provider.ts'
import type { TokenSet } from '../../oidc/token-set.ts'
import { claimOf } from '../../session/claims.ts'
import type { Findings } from './finding.ts'
import { recognise } from './quirks.ts'

/** Of a token: what can be said of it without showing it. */
export interface TokenFacts {
  readonly kind: 'jwt' | 'opaque'
  readonly type?: string
  readonly algorithm?: string
  readonly audience?: readonly string[]
  readonly claims?: readonly string[]
  readonly lifetimeSeconds: number
}

export interface LoginReport {
  readonly scopes: { readonly asked: readonly string[]; readonly granted: readonly string[] }
  readonly idToken: { readonly algorithm: string; readonly lifetimeSeconds: number; readonly claims: readonly string[] }
  readonly userinfo?: { readonly claims: readonly string[] }
  readonly accessToken: TokenFacts
  readonly refreshToken: 'none' | 'replaced at each use' | 'stays the same' | 'does not work'
  readonly routes: readonly { readonly path: string; readonly token: TokenFacts | 'refused' }[]
}

export interface LoginFacts {
  readonly config: Config
  readonly provider: ProviderConfig
  readonly result: LoginResult
  /** Left out where there was nothing to refresh with. */
  readonly refreshed: RefreshOutcome | undefined
  readonly routeTokens: readonly { readonly path: string; readonly outcome: RouteTokenOutcome }[]
}

/** Audiences that are no API of the operator's: Keycloak's account service, Microsoft Graph. */
const NO_API = new Set(['account', '00000003-0000-0000-c000-000000000000', 'https://graph.microsoft.com'])

export function reportLogin(facts: LoginFacts, findings: Findings): LoginReport {
  const { result, routeTokens } = facts
  const idToken = reportIdToken(result, findings)
  const scopes = reportScopes(facts, findings)
  const accessToken = reportAccessToken(facts, findings)
  const refreshToken = reportRefreshToken(facts, findings)
  const routes = routeTokens.map(({ path, outcome }) => ({ path, token: reportRouteToken(path, outcome, findings) }))
  reportClaims(facts, findings)
  return {
    scopes,
    idToken,
    ...(result.userinfo && { userinfo: { claims: Object.keys(result.userinfo).toSorted() } }),
    accessToken,
    refreshToken,
    routes,
  }
}

function reportIdToken({ claims, tokens }: LoginResult, findings: Findings): LoginReport['idToken'] {
  const algorithm = String(decodeProtectedHeader(tokens.idToken ?? '').alg)
  const lifetimeSeconds = Number(claims['exp']) - Number(claims['iat'])
  const names = Object.keys(claims).toSorted()
  findings.ok(
    `signed in as ${masked(String(claims['sub']))}; the ID token is good for ${lifetimeSeconds} s (${algorithm})`,
  )
  findings.ok(`claims in the ID token: ${names.join(', ')}`)
  return { algorithm, lifetimeSeconds, claims: names }
}

function reportScopes({ provider, result }: LoginFacts, findings: Findings): LoginReport['scopes'] {
  const asked = provider.scopes
  const granted = (result.tokens.scope ?? '').split(' ').filter((scope) => scope !== '')
  // Some servers do not name these two again.
  const missing = asked.filter(
    (scope) =>
      !granted.includes(scope) &&
      scope !== 'openid' &&
      !(scope === 'offline_access' && result.tokens.refreshToken !== undefined),
  )
  if (missing.length > 0) {
    findings.warn(
      `these scopes were asked for and not granted: ${missing.join(', ')}`,
      'allow them for this client at the server, or remove them from scopes',
    )
  } else findings.ok(`scopes granted: ${granted.join(', ')}`)
  return { asked, granted }
}

function reportAccessToken({ config, provider, result }: LoginFacts, findings: Findings): TokenFacts {
  const facts = factsOf(result.tokens)
  const goesUp = config.routes.filter(
    ({ upstream, session, token }) => upstream !== undefined && session !== 'none' && (token ?? 'user') === 'user',
  )
  const paths = goesUp.map(({ path }) => path).join(', ')
  const apis = (facts.audience ?? []).filter((audience) => !isNoApi(audience, provider))
  if (goesUp.length === 0) findings.ok(`the access token is ${described(facts)}; it goes to no upstream`)
  else if (facts.kind === 'opaque') {
    findings.warn(
      `the access token is ${described(facts)}: the APIs of ${paths} cannot verify it by themselves`,
      `${audienceRemedy(provider)}; or let the APIs ask the server's introspection endpoint`,
    )
  } else if (apis.length === 0) {
    findings.warn(
      `the access token is ${described(facts)}, which names no API: those of ${paths} should refuse it`,
      audienceRemedy(provider),
    )
  } else findings.ok(`the access token is ${described(facts)}; it goes to ${paths}`)
  if (facts.lifetimeSeconds * 1_000 <= config.session.refreshMargin) {
    findings.warn(
      `the access token lives ${facts.lifetimeSeconds} s, no longer than session.refreshMargin: each request would refresh it`,
      'let it live for some minutes at the server, or lower session.refreshMargin',
    )
  }
  return facts
}

/** The client itself, the server and its UserInfo endpoint are audiences too, and no API. */
function isNoApi(audience: string, { clientId, issuer }: ProviderConfig): boolean {
  const server = issuer.replace(/\/$/, '')
  return (
    NO_API.has(audience) ||
    audience === clientId ||
    audience.replace(/\/$/, '') === server ||
    (audience.startsWith(server) && audience.endsWith('/userinfo'))
  )
}

function audienceRemedy(provider: ProviderConfig): string {
  switch (recognise(provider.issuer)) {
    case 'Keycloak':
      return 'add a mapper of type Audience with the API to a client scope of this client (Client scopes > … > Add mapper)'
    case 'Auth0':
      return 'write authorizationParams: { audience: … } with the identifier of the API'
    case 'Entra ID':
      return 'add a scope of the API, such as api://ID-OF-THE-API/access, to scopes'
    case 'Okta':
      return 'use a custom authorization server, such as /oauth2/default, with the audience of the API'
    case 'Zitadel':
      return 'set Auth Token Type to JWT for the application, and add urn:zitadel:iam:org:project:id:PROJECT-ID:aud to scopes'
    case 'Cognito':
      return 'let the API compare client_id, or write resource: with the identifier of its resource server'
    case 'Google':
      return 'write token: none for routes to APIs of your own, and identityHeaders: { X-User: sub }'
    default:
      return "name the API: write resource: with its identifier (RFC 8707), or the server's own parameter into authorizationParams"
  }
}

function reportRefreshToken(facts: LoginFacts, findings: Findings): LoginReport['refreshToken'] {
  const { provider, result, refreshed } = facts
  const lifetime = factsOf(result.tokens).lifetimeSeconds
  if (!refreshed) {
    findings.warn(
      `no refresh token came back: a session ends with its access token, after ${lifetime} s`,
      provider.scopes.includes('offline_access')
        ? 'allow refresh tokens for this client at the server: the grant type, and the scope offline_access'
        : 'add offline_access to scopes, or allow refresh tokens for this client at the server',
    )
    return 'none'
  }
  if (refreshed.kind !== 'refreshed') {
    findings.fail(
      `a refresh token came back, and does not work: ${refreshed.reason}`,
      'allow the grant type refresh_token for this client at the server',
    )
    return 'does not work'
  }
  const isReplaced = (refreshed.tokens.refreshToken ?? result.tokens.refreshToken) !== result.tokens.refreshToken
  const how = isReplaced ? 'replaced at each use' : 'stays the same'
  findings.ok(`a refresh token came back and works; it ${isReplaced ? 'is ' : ''}${how}`)
  return how
}

function reportRouteToken(path: string, outcome: RouteTokenOutcome, findings: Findings): TokenFacts | 'refused' {
  if (outcome.kind !== 'issued') {
    findings.fail(
      `route ${path}: the server gives no token for it: ${outcome.reason}`,
      'allow it for this client at the server, or correct token of the route',
    )
    return 'refused'
  }
  const facts = factsOf(outcome.token)
  findings.ok(`route ${path}: its own token is ${described(facts)}`)
  return facts
}

/** Whether the claims are there that rules and headers read. */
function reportClaims({ config, result }: LoginFacts, findings: Findings): void {
  for (const { path, allow, identityHeaders } of config.routes) {
    const wanted = [
      ...Object.keys(allow ?? {}).map((claim) => ({ claim, use: 'allow refuses everybody' })),
      ...Object.entries(identityHeaders ?? {}).map(([header, claim]) => ({ claim, use: `${header} is not sent` })),
    ]
    for (const { claim, use } of wanted) {
      if (claimOf(result, claim) !== undefined) {
        findings.ok(`route ${path}: the claim ${claim} is there`)
        continue
      }
      const bare = claim.replace(/^(access_token|userinfo):/, '')
      const elsewhere = ['', 'access_token:', 'userinfo:'].find(
        (place) => claimOf(result, `${place}${bare}`) !== undefined,
      )
      findings.warn(
        `route ${path}: the claim ${claim} did not come: ${use}`,
        elsewhere === undefined
          ? 'let the server put it into the ID token (a scope, a claim mapping), or correct its name'
          : `write ${elsewhere}${bare} in place of ${claim}`,
      )
    }
  }
}

function factsOf(token: TokenSet): TokenFacts {
  const lifetimeSeconds = Math.round((token.accessTokenExpiresAt - Date.now()) / 1_000)
  try {
    const { typ, alg } = decodeProtectedHeader(token.accessToken)
    const claims = decodeJwt(token.accessToken)
    return {
      kind: 'jwt',
      ...(typ !== undefined && { type: typ }),
      ...(alg !== undefined && { algorithm: alg }),
      audience: [claims.aud ?? []].flat(),
      claims: Object.keys(claims).toSorted(),
      lifetimeSeconds,
    }
  } catch {
    return { kind: 'opaque', lifetimeSeconds } // no JWT
  }
}

function described({ kind, type, algorithm, audience = [], lifetimeSeconds }: TokenFacts): string {
  if (kind === 'opaque') return `opaque, good for ${lifetimeSeconds} s`
  const target = audience.length > 0 ? `for ${audience.join(' and ')}` : 'without an audience'
  return `a JWT (${[type, algorithm].filter((part) => part !== undefined).join(', ')}) ${target}, good for ${lifetimeSeconds} s`
}

/** Enough to recognise one's own, too little to be somebody's. */
function masked(sub: string): string {
  return `${sub.slice(0, Math.min(3, Math.floor(sub.length / 2)))}***`
}

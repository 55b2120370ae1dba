/** What is peculiar about authorization servers that can be recognised, held against the configuration. */
import type { Config, ProviderConfig } from '../../config/schema.ts'
import type { Findings } from './finding.ts'

export type KnownServer = 'Keycloak' | 'Entra ID' | 'Auth0' | 'Okta' | 'Cognito' | 'Google' | 'Zitadel' | 'authentik'

/** By the host of the issuer, or by its path where people run the server themselves. */
export function recognise(issuer: string): KnownServer | undefined {
  const { hostname, pathname } = new URL(issuer)
  if (hostname === 'accounts.google.com') return 'Google'
  if (/(^|\.)(microsoftonline\.(com|us)|partner\.microsoftonline\.cn|ciamlogin\.com|sts\.windows\.net)$/.test(hostname))
    return 'Entra ID'
  if (hostname.endsWith('.auth0.com')) return 'Auth0'
  if (/\.okta(preview|-emea)?\.com$/.test(hostname)) return 'Okta'
  if (/^cognito-idp\..*amazonaws\.com$/.test(hostname)) return 'Cognito'
  if (/\.zitadel\.(cloud|app)$/.test(hostname)) return 'Zitadel'
  if (pathname.includes('/realms/')) return 'Keycloak'
  if (pathname.includes('/application/o/')) return 'authentik'
  return undefined
}

interface Facts {
  readonly provider: ProviderConfig
  readonly findings: Findings
  /** The user's own access token goes to an upstream: it has to be one that the API can use. */
  readonly sendsToken: boolean
}

/** Nothing is asked of the network. */
export function examineQuirks(config: Config, provider: ProviderConfig, findings: Findings): void {
  const server = recognise(provider.issuer)
  if (!server) return
  const before = findings.list.length
  const sendsToken = config.routes.some(
    ({ upstream, session, token }) => upstream !== undefined && session !== 'none' && (token ?? 'user') === 'user',
  )
  examiners[server]({ provider, findings, sendsToken })
  if (findings.list.length === before) findings.ok(`${server} is recognised, and its peculiarities are heeded`)
}

const examiners: Readonly<Record<KnownServer, (facts: Facts) => void>> = {
  Keycloak({ provider, findings }) {
    if (provider.scopes.includes('offline_access')) {
      findings.warn(
        'with offline_access Keycloak makes an offline session, which outlives a logout there; refresh tokens come without it',
        'remove offline_access from scopes',
      )
    }
  },

  'Entra ID'({ provider, findings, sendsToken }) {
    const { hostname } = new URL(provider.issuer)
    if (hostname === 'sts.windows.net') {
      findings.fail(
        'this is the issuer of Entra ID version 1',
        'write issuer: https://login.microsoftonline.com/TENANT-ID/v2.0',
      )
    } else if (!/\/v2\.0\/?$/.test(new URL(provider.issuer).pathname)) {
      findings.fail(
        'the issuer of Entra ID ends with /v2.0',
        `write issuer: ${provider.issuer.replace(/\/$/, '')}/v2.0`,
      )
    }
    const apis = provider.scopes.filter((scope) => scope.includes('/') || scope.startsWith('api:'))
    if (sendsToken && apis.length === 0) {
      findings.warn(
        'without a scope of your API the access token is for Microsoft Graph, and APIs cannot verify it',
        'add a scope such as api://ID-OF-THE-API/access to scopes, or to token.scopes of the route',
      )
    }
    if (!provider.scopes.includes('offline_access'))
      findings.warn('Entra ID gives a refresh token only for offline_access', 'add offline_access to scopes')
  },

  Auth0({ provider, findings, sendsToken }) {
    if (!provider.issuer.endsWith('/'))
      findings.fail('the issuer of Auth0 ends with a slash', `write issuer: ${provider.issuer}/`)
    if (sendsToken && provider.authorizationParams?.['audience'] === undefined && provider.resource === undefined) {
      findings.warn(
        'Auth0 without audience: the access token is opaque and for /userinfo only',
        'write authorizationParams: { audience: … } with the identifier of the API',
      )
    }
  },

  Okta({ provider, findings, sendsToken }) {
    if (sendsToken && !new URL(provider.issuer).pathname.startsWith('/oauth2/')) {
      findings.warn(
        'this is the org authorization server of Okta: its access tokens are for Okta itself',
        `for APIs of your own use a custom one: write issuer: ${provider.issuer.replace(/\/$/, '')}/oauth2/default`,
      )
    }
  },

  Cognito({ provider, findings }) {
    if (provider.logout.style !== 'cognito')
      findings.warn('the logout of Cognito takes parameters of its own', 'write logout: { style: cognito }')
    if (provider.scopes.includes('offline_access'))
      findings.fail(
        'Cognito refuses the scope offline_access, and gives refresh tokens without it',
        'remove offline_access from scopes',
      )
  },

  Google({ provider, findings, sendsToken }) {
    if (provider.scopes.includes('offline_access')) {
      findings.fail(
        'Google refuses the scope offline_access',
        'remove offline_access from scopes, and write authorizationParams: { access_type: offline, prompt: consent }',
      )
    } else if (provider.authorizationParams?.['access_type'] !== 'offline') {
      findings.warn(
        'Google gives a refresh token only for access_type: offline',
        'write authorizationParams: { access_type: offline, prompt: consent }',
      )
    }
    if (provider.logout.style !== 'none')
      findings.warn('Google has no logout for others', 'write logout: { style: none }')
    if (sendsToken)
      findings.warn(
        "Google's access tokens are opaque and for Google's APIs only",
        'write token: none for routes to APIs of your own, and identityHeaders: { X-User: sub }',
      )
  },

  Zitadel({ provider, findings, sendsToken }) {
    if (sendsToken && !provider.scopes.some((scope) => /^urn:zitadel:iam:org:project:id:[^:]+:aud$/.test(scope))) {
      findings.warn(
        "without the scope of your API's project Zitadel's access token is not for it, and it is opaque unless the application's Auth Token Type is JWT",
        'add urn:zitadel:iam:org:project:id:PROJECT-ID:aud to scopes',
      )
    }
    if (!provider.scopes.includes('offline_access'))
      findings.warn('Zitadel gives a refresh token only for offline_access', 'add offline_access to scopes')
  },

  authentik({ provider, findings }) {
    if (!provider.issuer.endsWith('/'))
      findings.fail('the issuer of authentik ends with a slash', `write issuer: ${provider.issuer}/`)
    if (!provider.scopes.includes('offline_access'))
      findings.warn(
        'authentik gives a refresh token only for offline_access, since 2024.2',
        'add offline_access to scopes, and its scope mapping to the provider there',
      )
  },
}

/** What can be told from the configuration alone: parts that do not fit each other, and known quirks of servers. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { LoadedConfig } from '../../config/load.ts'
import { isLoopback } from '../../config/network.ts'
import { formatPath } from '../../config/problem.ts'
import type { Config, ProviderConfig } from '../../config/schema.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'

/** The configuration by itself. */
export function examineSetup({ config, file, warnings }: LoadedConfig): Finding[] {
  const findings = new Findings('configuration')
  findings.ok(`${file} can be used`)
  for (const { path, message, line } of warnings) findings.warn(`${formatPath(path)}: ${message}`, `${file}:${line}`)
  examineFront(config, findings)
  if (!config.store.redis) {
    findings.warn(
      'sessions are in memory: they end with the process, and a second replica would not know them',
      'write store.redis before there are two replicas',
    )
  }
  for (const { path, upstream, spa } of config.routes) {
    if (upstream !== undefined && URL.parse(upstream)?.origin === config.publicUrl) {
      findings.fail(
        `route ${path} leads to publicUrl, the gateway itself: requests go round in a circle`,
        'write the address of the application behind the gateway',
      )
    }
    if (spa?.directory === undefined) continue
    if (existsSync(join(spa.directory, spa.fallback))) findings.ok(`route ${path} has its ${spa.fallback}`)
    else
      findings.fail(
        `route ${path}: there is no ${spa.fallback} in ${spa.directory}`,
        'build the app, or correct spa.directory',
      )
  }
  return findings.list
}

function examineFront(config: Config, findings: Findings): void {
  const url = new URL(config.publicUrl)
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  if (isLoopback(url.hostname) && config.listen.socket === undefined && port !== config.listen.port) {
    findings.warn(
      `publicUrl names port ${port}, but the gateway listens on ${config.listen.port}`,
      `write listen: { port: ${port} }, unless something stands in front`,
    )
  }
  if (url.protocol === 'https:' && !config.listen.tls && config.trustedProxies.length === 0) {
    findings.warn(
      'publicUrl is https and the gateway speaks http: a proxy in front ends TLS, but none is trusted, so every client has the address of the proxy',
      'write trustedProxies with the address or network of the proxy',
    )
  }
}

/** Quirks of servers that are known by their issuer. */
export function examineQuirks(name: string, provider: ProviderConfig): Finding[] {
  const findings = new Findings(name === 'default' ? 'provider' : `provider ${name}`)
  const { hostname, pathname } = new URL(provider.issuer)
  if (hostname === 'accounts.google.com') examineGoogle(provider, findings)
  if (hostname.endsWith('.auth0.com')) {
    if (provider.authorizationParams?.['audience'] === undefined)
      findings.warn(
        'Auth0 without audience: the access token is opaque and for /userinfo only',
        'write authorizationParams: { audience: … } with the identifier of the API',
      )
    if (!provider.issuer.endsWith('/'))
      findings.fail('the issuer of Auth0 ends with a slash', `write issuer: ${provider.issuer}/`)
  }
  if (/\.okta(preview)?\.com$/.test(hostname) && !pathname.startsWith('/oauth2/')) {
    findings.warn(
      'this is the org authorization server of Okta: its access tokens are for Okta itself',
      'for APIs of your own use a custom one, such as /oauth2/default',
    )
  }
  if (/^cognito-idp\..*amazonaws\.com$/.test(hostname) && provider.logout.style !== 'cognito') {
    findings.warn('the logout of Cognito takes parameters of its own', 'write logout: { style: cognito }')
  }
  if (hostname === 'sts.windows.net') {
    findings.fail(
      'this is the issuer of Entra ID version 1',
      'write issuer: https://login.microsoftonline.com/TENANT-ID/v2.0',
    )
  }
  return findings.list
}

function examineGoogle(provider: ProviderConfig, findings: Findings): void {
  if (provider.scopes.includes('offline_access')) {
    findings.fail(
      'Google refuses the scope offline_access',
      'remove it, and write authorizationParams: { access_type: offline, prompt: consent }',
    )
  } else if (provider.authorizationParams?.['access_type'] !== 'offline') {
    findings.warn(
      'Google gives a refresh token only for access_type: offline',
      'write authorizationParams: { access_type: offline, prompt: consent }',
    )
  }
  if (provider.logout.style === 'oidc')
    findings.warn('Google has no logout for others', 'write logout: { style: none }')
}

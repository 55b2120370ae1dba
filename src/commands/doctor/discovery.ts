/** The discovery document: found, of the issuer that is configured, and on a clock like ours. */
import { isLoopback } from '../../config/network.ts'
import type { ProviderConfig } from '../../config/schema.ts'
import { BffError } from '../../errors.ts'
import type { Connection } from '../../oidc/connection.ts'
import type { Exchange } from '../../oidc/exchange.ts'
import { checkMetadata, metadataUrls } from '../../oidc/metadata.ts'
import type { Findings } from './finding.ts'

export type Document = Readonly<Record<string, unknown>>

const LARGE_SKEW_MS = 5_000
const LONGEST_ISSUER = 256

/** The document with the configured overrides, once it is one that the gateway would take; else what to do is told. */
export async function readDocument(
  connection: Connection,
  provider: ProviderConfig,
  findings: Findings,
): Promise<Document | undefined> {
  let tried = ''
  for (const url of metadataUrls(provider)) {
    const exchange = await fetched(connection, url)
    const { status, json } = exchange
    if (status === 200 && json) {
      const document = { ...json, ...provider.metadata }
      return isUsable(document, provider, findings) ? document : undefined
    }
    tried ||= `${url}: ${status === 200 ? 'no JSON object' : exchange.describe()}`
  }
  const meant = await guessIssuer(connection, provider)
  findings.fail(
    `no discovery document (${tried})`,
    meant === undefined
      ? 'open that address in a browser: the issuer is the part before /.well-known, with its whole path (Keycloak: /realms/NAME)'
      : didYouMean(meant),
  )
  return undefined
}

/** By the Date of an answer of the server, which is good to a second. */
export async function checkClock(connection: Connection, provider: ProviderConfig, findings: Findings): Promise<void> {
  const [url = ''] = metadataUrls(provider)
  const askedAt = Date.now()
  const { headers } = await fetched(connection, url)
  const skewMs = Date.parse(headers?.get('date') ?? '') - (askedAt + Date.now()) / 2
  if (Number.isNaN(skewMs)) return
  const seconds = Math.round(Math.abs(skewMs) / 1_000)
  const way = skewMs > 0 ? 'behind' : 'ahead of'
  const remedy = 'synchronise the clocks (NTP); ID tokens are judged by them'
  if (Math.abs(skewMs) > provider.clockTolerance + 1_000) {
    findings.fail(
      `this clock is ${seconds} s ${way} the server's, more than clockTolerance allows: logins fail`,
      remedy,
    )
  } else if (Math.abs(skewMs) > LARGE_SKEW_MS) findings.warn(`this clock is ${seconds} s ${way} the server's`, remedy)
  else findings.ok('the clocks agree')
}

/** A GET on the back channel; the facts are in the exchange, whatever became of it. */
export async function fetched(
  connection: Connection,
  url: string,
  endpoint: 'metadata' | 'jwks' = 'metadata',
): Promise<Exchange> {
  const exchange = connection.backChannel.exchange(endpoint)
  await exchange.fetch(url, { method: 'GET', headers: { accept: 'application/json' } }).catch(() => {
    // Said by the exchange.
  })
  return exchange
}

/** The texts of a list in the document; none where it is not there. */
export function listed(document: Document, member: string): string[] {
  const value = document[member]
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []
}

function isUsable(document: Document, provider: ProviderConfig, findings: Findings): boolean {
  try {
    checkMetadata(document, provider)
  } catch (error) {
    if (!(error instanceof BffError)) throw error
    findings.fail(error.message, remedyFor(error.message, document, provider))
    return false
  }
  findings.ok(`the discovery document is good, and its issuer is ${provider.issuer}`)
  return true
}

function remedyFor(message: string, document: Document, provider: ProviderConfig): string {
  const { issuer } = document
  const behindTls =
    'tell the server that browsers reach it by https: it stands behind a proxy that ends TLS, and believes to be asked by http (Keycloak: KC_PROXY_HEADERS=xforwarded, or KC_HOSTNAME with the whole address)'
  if (message.includes('issuer is') && typeof issuer === 'string') {
    if (/\{tenantid\}/i.test(issuer)) return 'write allowedTenants with the ids of the tenants whose users may sign in'
    if (issuer.startsWith('https://sts.windows.net/')) return didYouMean(`${provider.issuer.replace(/\/$/, '')}/v2.0`)
    const url = URL.parse(issuer)
    if (url?.protocol === 'http:' && !isLoopback(url.hostname)) return behindTls
    if (provider.issuer.startsWith('https:') && issuer === provider.issuer.replace(/^https:/, 'http:')) return behindTls
    return didYouMean(issuer)
  }
  if (message.endsWith('is not https')) return behindTls
  if (message.includes('token_endpoint_auth_methods_supported')) {
    return `write clientAuthentication: one of ${listed(document, 'token_endpoint_auth_methods_supported').join(', ')}; not ${provider.clientAuthentication}`
  }
  if (message.includes('FAPI')) return 'use a server with that ability, or remove profile: fapi2'
  return 'correct the server, or write the right value into metadata'
}

function didYouMean(issuer: string): string {
  return `did you mean issuer: ${issuer.slice(0, LONGEST_ISSUER)} ?`
}

/** Looks where issuers often are: Keycloak's /auth of old, Entra's /v2.0, a path that goes too far. */
async function guessIssuer(connection: Connection, provider: ProviderConfig): Promise<string | undefined> {
  const { origin, pathname } = new URL(provider.issuer)
  const path = pathname.replace(/\/$/, '')
  const segments = path.split('/').slice(1)
  const parents = segments.map((_, index) => segments.slice(0, segments.length - 1 - index))
  const candidates = [
    ...(path.startsWith('/auth/') ? [path.slice(5)] : []),
    ...(path.startsWith('/realms/') ? [`/auth${path}`] : []),
    `${path}/v2.0`,
    ...parents.map((parts) => parts.map((part) => `/${part}`).join('')),
  ]
  for (const candidate of candidates) {
    const { status, json } = await fetched(connection, `${origin}${candidate}/.well-known/openid-configuration`)
    const issuer = json?.['issuer']
    if (status === 200 && typeof issuer === 'string' && URL.parse(issuer)) return issuer
    // Nobody is there to be asked.
    if (status === undefined) return undefined
  }
  return undefined
}

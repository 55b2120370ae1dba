/** The authorization server as the gateway meets it: found, named right, able to do what is configured, and willing. */
import { randomBytes } from 'node:crypto'
import type { Config, ProviderConfig } from '../../config/schema.ts'
import { BffError } from '../../errors.ts'
import { Connection } from '../../oidc/connection.ts'
import { checkMetadata, metadataUrls } from '../../oidc/metadata.ts'
import { OidcProvider } from '../../oidc/provider.ts'
import { silentLog } from '../../telemetry/log.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'
import { reach } from './reach.ts'

type Document = Record<string, unknown>

const LARGE_SKEW_MS = 5_000
const PAGE_LIMIT = 200_000

/** Goes the way of a login as far as it can be gone without a user. */
export async function examineProvider(name: string, config: Config, provider: ProviderConfig): Promise<Finding[]> {
  const findings = new Findings(name === 'default' ? 'provider' : `provider ${name}`)
  const base = `${config.publicUrl}${config.basePath}`
  const options = {
    name,
    config: provider,
    redirectUri: `${base}/callback`,
    postLogoutRedirectUri: `${base}/logout/callback`,
    log: silentLog,
    now: Date.now,
  }
  const url = new URL(provider.backchannelBaseUrl ?? provider.issuer)
  const ca = 'start the gateway with NODE_EXTRA_CA_CERTS=FILE, a file with the certificate of its authority'
  if (!(await reach(url, findings, ca))) return findings.list

  const connection = new Connection(options)
  try {
    const document = await readDocument(connection, provider, findings)
    if (!document || !checkDocument(document, provider, findings)) return findings.list
    checkAbilities(document, provider, findings)
    await checkKeys(connection, document, provider, findings)
  } finally {
    connection.close()
  }
  const client = new OidcProvider(options)
  const plain = new OidcProvider({ ...options, config: { ...provider, pushedAuthorization: 'never' } })
  try {
    await checkRedirectUri(client, plain, options.redirectUri, provider, findings)
    await checkCredentials(client, provider, findings)
    await checkLogout(client, options.postLogoutRedirectUri, findings)
  } finally {
    client.close()
    plain.close()
  }
  return findings.list
}

async function readDocument(
  connection: Connection,
  provider: ProviderConfig,
  findings: Findings,
): Promise<Document | undefined> {
  let tried = ''
  for (const url of metadataUrls(provider)) {
    const exchange = connection.backChannel.exchange('metadata')
    const askedAt = Date.now()
    await exchange.fetch(url, { method: 'GET', headers: { accept: 'application/json' } }).catch(() => {
      // The facts are in the exchange.
    })
    if (exchange.status === 200 && exchange.json) {
      checkClock(exchange.headers?.get('date'), (askedAt + Date.now()) / 2, provider, findings)
      return { ...exchange.json, ...provider.metadata }
    }
    tried ||= `${url}: ${exchange.status === 200 ? 'no JSON object' : exchange.describe()}`
  }
  findings.fail(
    `no discovery document (${tried})`,
    'open that address in a browser: the issuer is the part before /.well-known, with its whole path (Keycloak: /realms/NAME)',
  )
  return undefined
}

function checkClock(date: string | null | undefined, now: number, provider: ProviderConfig, findings: Findings): void {
  const skewMs = Date.parse(date ?? '') - now
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

function checkDocument(document: Document, provider: ProviderConfig, findings: Findings): boolean {
  try {
    checkMetadata(document, provider)
  } catch (error) {
    if (!(error instanceof BffError)) throw error
    findings.fail(error.message, documentRemedy(error.message, document, provider))
    return false
  }
  findings.ok(`the discovery document is good, and its issuer is ${provider.issuer}`)
  return true
}

function documentRemedy(message: string, document: Document, provider: ProviderConfig): string {
  const { issuer } = document
  if (message.includes('issuer is') && typeof issuer === 'string') {
    return /\{tenantid\}/i.test(issuer)
      ? 'write allowedTenants with the ids of the tenants whose users may sign in'
      : `did you mean issuer: ${issuer} ?`
  }
  if (message.includes('token_endpoint_auth_methods_supported')) {
    return `write clientAuthentication: one of ${listed(document, 'token_endpoint_auth_methods_supported').join(', ')}; not ${provider.clientAuthentication}`
  }
  return 'correct the server, or the member in provider.metadata'
}

function checkAbilities(document: Document, provider: ProviderConfig, findings: Findings): void {
  const lacks = (member: string, value: string) =>
    listed(document, member).length > 0 && !listed(document, member).includes(value)
  if (lacks('response_types_supported', 'code'))
    findings.fail('the server has no authorization code grant', 'switch it on for this client')
  if (lacks('id_token_signing_alg_values_supported', provider.idTokenSignedResponseAlg)) {
    findings.fail(
      `the server does not sign ID tokens with ${provider.idTokenSignedResponseAlg}`,
      `write idTokenSignedResponseAlg: one of ${listed(document, 'id_token_signing_alg_values_supported').join(', ')}`,
    )
  }
  const unknown = provider.scopes.filter((scope) => lacks('scopes_supported', scope))
  if (unknown.length > 0)
    findings.warn(
      `the server does not list these scopes: ${unknown.join(', ')}`,
      'check their spelling; some servers do not list every scope',
    )
  if (listed(document, 'scopes_supported').includes('offline_access') && !provider.scopes.includes('offline_access')) {
    findings.warn(
      'offline_access is not asked for: there may be no refresh token, and then a session ends with its access token',
      'add offline_access to scopes, unless a refresh token comes without it (Keycloak)',
    )
  }
  if (!listed(document, 'code_challenge_methods_supported').includes('S256')) {
    findings.warn(
      'the server does not say that it does PKCE',
      'nothing to do here: S256 is sent all the same, and state and nonce protect the login',
    )
  }
  if (document['require_pushed_authorization_requests'] === true && provider.pushedAuthorization === 'never') {
    findings.fail('the server demands pushed authorization requests', 'write pushedAuthorization: auto')
  }
  if (provider.pushedAuthorization === 'required' && document['pushed_authorization_request_endpoint'] === undefined) {
    findings.fail('the server has no endpoint for pushed authorization requests', 'write pushedAuthorization: auto')
  }
  if (provider.logout.style === 'oidc' && document['end_session_endpoint'] === undefined) {
    findings.warn(
      'the server has no end_session_endpoint: a logout ends the session here only',
      'write logout: { style: auth0 }, cognito or none, whichever fits',
    )
  }
  if (provider.userinfo && document['userinfo_endpoint'] === undefined)
    findings.fail('the server has no UserInfo endpoint', 'write userinfo: false')
}

async function checkKeys(
  connection: Connection,
  document: Document,
  provider: ProviderConfig,
  findings: Findings,
): Promise<void> {
  const exchange = connection.backChannel.exchange('jwks')
  await exchange
    .fetch(String(document['jwks_uri']), { method: 'GET', headers: { accept: 'application/json' } })
    .catch(() => {
      // The facts are in the exchange.
    })
  const keys: unknown = exchange.json?.['keys']
  if (!Array.isArray(keys)) {
    findings.fail(
      `the keys of the server cannot be read: ${exchange.describe()}`,
      'check jwks_uri in the discovery document',
    )
    return
  }
  const algorithm = provider.idTokenSignedResponseAlg
  const kind = /^[RP]S/.test(algorithm) ? 'RSA' : algorithm.startsWith('ES') ? 'EC' : 'OKP'
  const fitting = keys.some(
    (key: unknown) => typeof key === 'object' && key !== null && 'kty' in key && key.kty === kind,
  )
  if (fitting) findings.ok(`the server has a key for ${algorithm}`)
  else
    findings.fail(
      `the server has no key for ${algorithm}`,
      'write idTokenSignedResponseAlg as it is set for this client at the server',
    )
}

/** Asks for the sign-in page as a browser would, and follows nothing. */
async function checkRedirectUri(
  client: OidcProvider,
  plain: OidcProvider,
  redirectUri: string,
  provider: ProviderConfig,
  findings: Findings,
): Promise<void> {
  const request = { state: random(), nonce: random(), codeVerifier: random(), params: {} }
  let url: URL
  try {
    url = await client.authorizationUrl(request)
  } catch (error) {
    // What a pushed request is refused for is best told by the page that a plain one gets.
    const told =
      provider.pushedAuthorization !== 'required' &&
      (await checkPage(await plain.authorizationUrl(request), redirectUri, provider, findings))
    if (!told)
      findings.fail(
        `no login can be started: ${messageOf(error)}`,
        `check the client's registration; its redirect URI is ${redirectUri}`,
      )
    return
  }
  if (await checkPage(url, redirectUri, provider, findings)) return
  findings.ok('the redirect URI is registered: the server offers to sign in')
}

/** Whether something is wrong with the page, and has been told. */
async function checkPage(
  url: URL,
  redirectUri: string,
  provider: ProviderConfig,
  findings: Findings,
): Promise<boolean> {
  const before = findings.list.length
  const answer = await page(url)
  if (!answer) {
    findings.warn('the sign-in page cannot be reached from here', 'nothing to do if browsers reach it: open it in one')
    return true
  }
  const { status, location, text } = answer
  const register = `register this redirect URI at the server, character for character: ${redirectUri}`
  const error = location?.startsWith(redirectUri) ? new URL(location).searchParams.get('error') : null
  // AADSTS50011 is Entra's code for it, on a page with status 200.
  if (/AADSTS50011/.test(text) || (status >= 400 && /redirect.?ur[il]/i.test(text)))
    findings.fail('the redirect URI is not registered', register)
  else if (status >= 400 && /client/i.test(text))
    findings.fail('the server does not know the client', `check clientId: ${provider.clientId}`)
  else if (status >= 400) findings.fail(`the server answers ${status} instead of a sign-in page`, register)
  else if (error)
    findings.fail(
      `the server refuses the request: ${error.slice(0, 64)}`,
      error === 'invalid_scope'
        ? 'correct scopes, or allow them for this client'
        : "check the client's registration: authorization code grant, scopes",
    )
  return findings.list.length > before
}

/** A code that nobody issued: a server that complains about the code has taken the credentials. */
async function checkCredentials(client: OidcProvider, provider: ProviderConfig, findings: Findings): Promise<void> {
  if (provider.responseMode.endsWith('jwt')) return
  const state = random()
  const response = new URLSearchParams({ code: `doctor-${random()}`, state, iss: provider.issuer })
  const outcome = await client
    .exchangeCode(response, { state, nonce: random(), codeVerifier: random() })
    .then(() => '', messageOf)
  if (outcome.includes('invalid_grant')) findings.ok(`the credentials are right (${provider.clientAuthentication})`)
  else if (/invalid_client|unauthorized_client|answered 401/.test(outcome)) {
    findings.fail(
      `the server refuses the credentials of the client: ${outcome}`,
      `check clientId and secret or key, and that the client is registered for ${provider.clientAuthentication}`,
    )
  } else findings.warn(`whether the credentials are right cannot be told: ${outcome}`, 'sign in once and see')
}

async function checkLogout(client: OidcProvider, uri: string, findings: Findings): Promise<void> {
  const url = client.endSessionUrl({ state: random() })
  const answer = url && (await page(url))
  if (!answer) return
  if (answer.status >= 400 && /redirect.?ur[il]/i.test(answer.text)) {
    findings.warn(
      'the post-logout redirect URI is not registered: after a logout the user stays at the server',
      `register it: ${uri}`,
    )
  } else if (answer.status < 400) findings.ok('the post-logout redirect URI is taken')
}

async function page(url: URL): Promise<{ status: number; location: string | null; text: string } | undefined> {
  try {
    const response = await fetch(url, {
      redirect: 'manual',
      signal: AbortSignal.timeout(10_000),
      headers: { accept: 'text/html' },
    })
    const text = (await response.text()).slice(0, PAGE_LIMIT)
    return { status: response.status, location: response.headers.get('location'), text }
  } catch {
    // What matters is that a browser reaches it; that the server can be reached at all is told above.
    return undefined
  }
}

function listed(document: Document, member: string): string[] {
  const value = document[member]
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason'
}

function random(): string {
  return randomBytes(32).toString('base64url')
}

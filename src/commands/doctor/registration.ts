/** What is registered for this client: its redirect URIs, and the credentials that the server takes from it. */
import { randomBytes } from 'node:crypto'
import { genericGrantRequest } from 'openid-client'
import type { ProviderConfig } from '../../config/schema.ts'
import { Connection } from '../../oidc/connection.ts'
import type { ConnectionOptions } from '../../oidc/connection.ts'
import { generateDpopKey } from '../../oidc/dpop.ts'
import type { Exchange } from '../../oidc/exchange.ts'
import type { OidcProvider } from '../../oidc/provider.ts'
import type { Findings } from './finding.ts'

const PAGE_LIMIT = 200_000

/** What servers write on the page that they show for a redirect URI that nobody registered. */
const NOT_REGISTERED =
  /AADSTS50011|redirect_mismatch|redirect_uri_mismatch|redirect.?ur[il]|callback url mismatch|invalid redirect/i
const UNKNOWN_CLIENT = /AADSTS700016|invalid_client|deleted_client|client/i

/** What Entra's numbers mean, where it answers with one. */
const ENTRA: Readonly<Record<string, string>> = {
  AADSTS7000215: 'write the value of the secret, which Entra shows once, and not its id',
  AADSTS7000222: 'make a new secret in Entra: this one has expired',
  AADSTS700016: 'correct clientId, or the tenant in the issuer',
  AADSTS90002: 'correct the tenant in the issuer',
}

/** Asks for the sign-in page as a browser would, and follows nothing. */
export async function checkRedirectUri(
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
    const page =
      provider.pushedAuthorization === 'auto' ? await plain.authorizationUrl(request).catch(() => undefined) : undefined
    const told = page && (await checkPage(page, redirectUri, provider, findings))
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
  // Cognito and Google send the browser to a page of their own that names the mistake.
  const ownPage = location === null || location.startsWith(redirectUri) ? '' : errorPageOf(location)
  const words = status >= 400 ? text : ownPage
  if (/AADSTS50011/.test(text) || NOT_REGISTERED.test(words))
    findings.fail('the redirect URI is not registered', register)
  else if (/AADSTS700016/.test(text) || UNKNOWN_CLIENT.test(words))
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

/** The words of a redirect to an error page; Google's are in base64. */
function errorPageOf(location: string): string {
  const url = URL.parse(location, 'https://relative.invalid')
  if (!url || !/\/error\b/.test(url.pathname)) return ''
  return `${url.search} ${Buffer.from(url.searchParams.get('authError') ?? '', 'base64').toString('latin1')}`
}

/**
 * A code that nobody issued: a server that complains about the code has taken the credentials. Where it has not, the
 * other ways to send the same secret are tried, since which one is registered is what people most often get wrong.
 */
export async function checkCredentials(options: ConnectionOptions, findings: Findings): Promise<void> {
  const { config } = options
  const exchange = await bogusCode(options)
  if (isAboutTheCode(exchange)) {
    findings.ok(`the credentials are right (${config.clientAuthentication})`)
    return
  }
  if (!isRefusal(exchange)) {
    findings.warn(
      `whether the credentials are right cannot be told: ${exchange.describe()}`,
      'sign in once and see: sidegate doctor --login',
    )
    return
  }
  const [entra = ''] = /AADSTS\d+/.exec(exchange.body ?? '') ?? []
  const said = `the server refuses the credentials of the client: ${exchange.describe()}${entra && ` (${entra})`}`
  for (const { changes, remedy } of alternatives(config)) {
    if (!isAboutTheCode(await bogusCode({ ...options, config: { ...config, ...changes } }))) continue
    findings.fail(said, remedy)
    return
  }
  findings.fail(said, ENTRA[entra] ?? credentialsRemedy(config, options.redirectUri))
}

/** RFC 6749 §5.2; glewlwyd has an error of its own for it. */
function isAboutTheCode({ oauthError }: Exchange): boolean {
  return oauthError === 'invalid_grant' || oauthError === 'invalid_code'
}

function credentialsRemedy({ clientAuthentication: method }: ProviderConfig, redirectUri: string): string {
  const jwks = redirectUri.replace(/\/callback$/, '/jwks.json')
  if (method === 'private_key_jwt')
    return `check clientId, and register the public key there: ${jwks}, or what \`sidegate keygen --client-jwk\` printed`
  if (method.endsWith('tls_client_auth'))
    return `check clientId, and that the certificate is registered there for ${method}`
  return `check clientId and secret, and that the client is registered for ${method}`
}

function alternatives(config: ProviderConfig): { changes: Partial<ProviderConfig>; remedy: string }[] {
  const { clientAuthentication: method, basicEncoding } = config
  const secrets = [config.clientSecret ?? [], config.clientSecrets ?? []].flat()
  const isSpecial = [config.clientId, ...secrets].some((text) => encodeURIComponent(text) !== text)
  if (method === 'client_secret_basic')
    return [
      ...(isSpecial && basicEncoding === 'rfc6749'
        ? [{ changes: { basicEncoding: 'raw' as const }, remedy: 'did you mean basicEncoding: raw ?' }]
        : []),
      {
        changes: { clientAuthentication: 'client_secret_post' },
        remedy: 'did you mean clientAuthentication: client_secret_post ?',
      },
    ]
  if (method === 'client_secret_post')
    return [
      {
        changes: { clientAuthentication: 'client_secret_basic' },
        remedy: 'did you mean clientAuthentication: client_secret_basic ?',
      },
    ]
  return []
}

async function bogusCode(options: ConnectionOptions): Promise<Exchange> {
  const connection = new Connection(options)
  try {
    const metadata = await connection.metadata.get()
    const parameters = { code: `doctor-${random()}`, redirect_uri: options.redirectUri, code_verifier: random() }
    const dpopKey = options.config.dpop ? await generateDpopKey() : undefined
    const { exchange } = await connection.request(
      metadata,
      'token',
      ({ configuration, dpop }) => genericGrantRequest(configuration, 'authorization_code', parameters, dpop),
      { dpopKey },
    )
    return exchange
  } finally {
    connection.close()
  }
}

function isRefusal({ oauthError, status }: Exchange): boolean {
  return oauthError === 'invalid_client' || oauthError === 'unauthorized_client' || status === 401
}

/** Whether the browser comes back from a logout there. */
export async function checkLogoutUri(client: OidcProvider, uri: string, findings: Findings): Promise<void> {
  const url = client.endSessionUrl({ state: random() })
  const answer = url && (await page(url))
  if (!answer) return
  if (answer.status >= 400 && /redirect.?ur[il]|logout_uri|returnTo/i.test(answer.text)) {
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown reason'
}

function random(): string {
  return randomBytes(32).toString('base64url')
}

/** glewlwyd, Debian's package of it, as an administrator sets it up by its API and a user signs in by its pages. */
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Answer, Tab } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { programPath, serverDirectory, type ServerProcess, startServer } from './server-process.ts'

/** The empty database that the package ships for dbconfig-common. */
const SCHEMA = '/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3'
const LIBRARIES = '/usr/lib/glewlwyd'
const PACKAGE = 'glewlwyd'
const ADMINISTRATOR = { username: 'admin', password: 'password' }

/** Its one user. */
export const USER = { username: 'alice', password: 'down the rabbit hole', name: 'Alice', email: 'alice@example.com' }

type Body = Readonly<Record<string, unknown>>

export class Glewlwyd implements AsyncDisposable {
  readonly url: string
  readonly #server: ServerProcess
  #cookie = ''

  private constructor(url: string, server: ServerProcess) {
    this.url = url
    this.#server = server
  }

  /** Starts it with one provider of OpenID Connect, `oidc`, and one user. */
  static async start(): Promise<Glewlwyd> {
    const directory = await serverDirectory('glewlwyd')
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const database = join(directory, 'glewlwyd.db')
    const sqlite = spawnSync(programPath('sqlite3', 'sqlite3'), [database], { input: readFileSync(SCHEMA) })
    if (sqlite.status !== 0) throw new Error(`the database cannot be made: ${sqlite.stderr.toString()}`)
    const file = join(directory, 'glewlwyd.conf')
    writeFileSync(file, configuration(port, url, database))
    const server = await startServer(directory, {
      program: 'glewlwyd',
      package: PACKAGE,
      args: [`--config-file=${file}`],
      probe: `${url}/config`,
    })
    const glewlwyd = new Glewlwyd(url, server)
    await glewlwyd.#setUp()
    return glewlwyd
  }

  get issuer(): string {
    return `${this.url}/api/oidc`
  }

  /** Registers a client. */
  async register(client: Body): Promise<void> {
    await this.#administer('POST', '/client/', {
      confidential: true,
      enabled: true,
      authorization_type: ['code', 'refresh_token'],
      scope: [],
      ...client,
    })
  }

  /** Does what the script of its sign-in page does: password, consent, and on. Resolves where that ends. */
  async signIn(tab: Tab): Promise<Answer> {
    const page = new URL(tab.page.url)
    if (page.origin !== this.url || page.pathname !== '/login.html')
      throw new Error(`this is no page to sign in at glewlwyd: ${page.href}`)
    const { username, password } = USER
    await post(tab, `${this.url}/api/auth/`, 'POST', { username, password })
    const client = page.searchParams.get('client_id') ?? ''
    await post(tab, `${this.url}/api/auth/grant/${client}`, 'PUT', { scope: page.searchParams.get('scope') })
    const next = page.searchParams.get('callback_url') ?? ''
    return tab.navigate(`${next}${next.includes('?') ? '&' : '?'}g_continue`)
  }

  /** Does what the script of its sign-out page does, and goes on to where that leads. */
  async signOut(tab: Tab): Promise<Answer> {
    const page = new URL(tab.page.url).searchParams
    if (page.get('prompt') !== 'end_session')
      throw new Error(`this is no page to sign out at glewlwyd: ${tab.page.url}`)
    await this.endSession(tab, page.get('sid') ?? '', page.get('client_id') ?? '')
    return tab.navigate(page.get('callback_url') ?? '')
  }

  /** Ends the session that this client has begun: a frame for each client of it, then all at once. */
  async endSession(tab: Tab, sid: string, clientId: string): Promise<void> {
    const list = (await tab.fetch(`${this.url}/api/oidc/session/${sid}/${clientId}`)).json() as {
      iss: string
      client: { frontchannel_logout_uri: string }[] // as its page reads it
    }
    for (const { frontchannel_logout_uri: uri } of list.client)
      await tab.navigate(`${uri}?${new URLSearchParams({ iss: list.iss, sid })}`, { frame: true })
    await post(tab, `${this.url}/api/oidc/session/${sid}`, 'DELETE')
    await post(tab, `${this.url}/api/auth/`, 'DELETE')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]()
  }

  async #setUp(): Promise<void> {
    const response = await fetch(`${this.url}/api/auth/`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(ADMINISTRATOR),
    })
    this.#cookie = response.headers
      .getSetCookie()
      .map((field) => field.split(';', 1)[0])
      .join('; ')
    // As delivered, its client table has post_logout_redirect_uri, and its end_session reads …_uris.
    const clients = (await this.#administer('GET', '/mod/client/database')) as {
      parameters: { 'data-format': Record<string, unknown> } // as it delivers it
    }
    clients.parameters['data-format']['post_logout_redirect_uris'] = { multiple: true, read: true, write: true }
    await this.#administer('PUT', '/mod/client/database', clients)
    await this.#administer('PUT', '/mod/client/database/reset')
    await this.#administer('POST', '/mod/plugin/', {
      module: 'oidc',
      name: 'oidc',
      display_name: 'OpenID Connect',
      parameters: parameters(this.issuer),
    })
    await this.#administer('POST', '/user/', { ...USER, enabled: true, scope: ['openid', 'g_profile'] })
  }

  async #administer(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${this.url}/api${path}`, {
      method,
      headers: { 'content-type': 'application/json', cookie: this.#cookie },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`glewlwyd: ${method} ${path} is ${response.status}: ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
}

async function post(tab: Tab, url: string, method: string, body?: Body): Promise<void> {
  const answer = await tab.fetch(url, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  if (answer.status !== 200) throw new Error(`glewlwyd: ${method} ${url} is ${answer.status}: ${answer.text}`)
}

function configuration(port: number, url: string, database: string): string {
  return `
port=${port}
bind_address="127.0.0.1"
external_url="${url}"
login_url="login.html"
api_prefix="api"
static_files_path="/usr/share/glewlwyd/webapp/"
log_mode="console"
log_level="INFO"
cookie_secure=0
session_key="GLEWLWYD2_SESSION_ID"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="${LIBRARIES}/user"
client_module_path="${LIBRARIES}/client"
user_auth_scheme_module_path="${LIBRARIES}/scheme"
plugin_module_path="${LIBRARIES}/plugin"
hash_algorithm="SHA512"
database = { type = "sqlite3" path = "${database}" }
static_files_mime_types = ( { extension = ".html" mime_type = "text/html" } )
`
}

/** Of its module `oidc`: all that a strict client wants, and the rest off. */
function parameters(issuer: string): Body {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export({ format: 'jwk' })
  return {
    iss: issuer,
    'jwks-private': JSON.stringify({ keys: [{ ...rsa, alg: 'RS256', kid: 'rsa' }] }),
    'jwks-show': true,
    'access-token-duration': 3_600,
    'refresh-token-duration': 86_400,
    'code-duration': 60,
    'refresh-token-rolling': true,
    'refresh-token-one-use': 'always',
    'allow-non-oidc': true,
    'auth-type-code-enabled': true,
    'auth-type-code-revoke-replayed': true,
    'auth-type-refresh-enabled': true,
    'pkce-allowed': true,
    'pkce-required': true,
    'introspection-revocation-allowed': true,
    'introspection-revocation-allow-target-client': true,
    'session-management-allowed': true,
    'session-cookie-name': 'GLEWLWYD2_OIDC_SID',
    'session-cookie-expiration': 86_400,
    'back-channel-logout-allowed': true,
    'front-channel-logout-allowed': true,
    'request-parameter-allow': true,
    'request-maximum-exp': 3_600,
    'oauth-par-allowed': true,
    'oauth-par-request_uri-prefix': 'urn:ietf:params:oauth:request_uri:',
    'oauth-par-duration': 90,
    'oauth-as-iss-id': true,
    'oauth-dpop-allowed': true,
    'oauth-dpop-iat-duration': 60,
    'oauth-dpop-iat-gap-duration': 10,
    'oauth-dpop-nonce-mandatory': true,
    'oauth-dpop-nonce-counter': 5,
    'name-claim': 'mandatory',
    'email-claim': 'mandatory',
    'scope-claim': 'no',
  }
}

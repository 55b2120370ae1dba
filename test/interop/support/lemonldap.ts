/** LemonLDAP::NG's portal, Debian's package of it, run by plackup, and a user who signs in by its forms. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Answer, Tab } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { readForms } from '../../support/page-forms.ts'
import { serverDirectory, type ServerProcess, startServer } from './server-process.ts'

/** One of the users of its demonstration, whose password is the name. */
export const USER = { username: 'dwho', name: 'Doctor Who', email: 'dwho@badwolf.org' }

/** A client: `oidcRPMetaDataOptions` without that prefix. */
export type LemonClient = Readonly<Record<string, string | number>>

const RUN = 'use Lemonldap::NG::Portal::Main; Lemonldap::NG::Portal::Main->run({})'

export class LemonLdap implements AsyncDisposable {
  /** With the slash at its end that this server has. */
  readonly issuer: string
  readonly #server: ServerProcess

  private constructor(issuer: string, server: ServerProcess) {
    this.issuer = issuer
    this.#server = server
  }

  static async start(clients: Readonly<Record<string, LemonClient>>): Promise<LemonLdap> {
    const directory = await serverDirectory('lemonldap')
    const port = await freePort()
    const issuer = `http://127.0.0.1:${port}/`
    for (const part of ['conf', 'cache', 'sessions/lock', 'persistent/lock'])
      mkdirSync(join(directory, part), { recursive: true })
    const initial = join(directory, 'lemonldap-ng.ini')
    writeFileSync(initial, initialisation(directory))
    writeFileSync(join(directory, 'conf/lmConf-1.json'), JSON.stringify(configuration(directory, issuer, clients)))
    const server = await startServer(directory, {
      program: 'plackup',
      package: 'libplack-perl liblemonldap-ng-portal-perl',
      args: ['-E', 'deployment', '--host', '127.0.0.1', '--port', String(port), '-e', RUN],
      env: { LLNG_DEFAULTCONFFILE: initial },
      probe: `${issuer}.well-known/openid-configuration`,
    })
    return new LemonLdap(issuer, server)
  }

  /** Fills in the form of its sign-in page. Resolves where that ends. */
  async signIn(tab: Tab): Promise<Answer> {
    const form = readForms(tab.page.text).find(({ fields }) => fields.some(([name]) => name === 'password'))
    if (!form || !tab.page.url.startsWith(this.issuer))
      throw new Error(`this is no page to sign in at LemonLDAP::NG: ${tab.page.url}`)
    const filled = new URLSearchParams(form.fields.map(([name, value]): [string, string] => [name, value]))
    filled.set('user', USER.username)
    filled.set('password', USER.username)
    // Its action is `#`: where it stands.
    return tab.navigate(tab.page.url, { method: 'POST', form: filled })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]()
  }
}

function initialisation(directory: string): string {
  const cache = `{ 'namespace' => 'config', 'default_expires_in' => 600, 'cache_root' => '${directory}/cache' }`
  return `
[all]
logLevel = warn
[configuration]
type = File
dirName = ${directory}/conf
localStorage = Cache::FileCache
localStorageOptions = ${cache}
[portal]
templateDir = /usr/share/lemonldap-ng/portal/templates
languages = en
`
}

function configuration(
  directory: string,
  portal: string,
  clients: Readonly<Record<string, LemonClient>>,
): Record<string, unknown> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2_048,
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const files = (name: string) => ({ Directory: join(directory, name), LockDirectory: join(directory, name, 'lock') })
  const each = <T>(make: (client: LemonClient) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(clients).map(([id, client]) => [id, make(client)]))
  return {
    cfgNum: 1,
    cfgDate: 1,
    cfgVersion: '2.16.1',
    portal,
    domain: new URL(portal).hostname,
    cookieName: 'lemonldap',
    authentication: 'Demo',
    userDB: 'Same',
    demoExportedVars: { cn: 'cn', mail: 'mail', uid: 'uid' },
    whatToTrace: 'uid',
    locationRules: { [new URL(portal).hostname]: { default: 'accept' } },
    globalStorage: 'Apache::Session::File',
    globalStorageOptions: files('sessions'),
    persistentStorage: 'Apache::Session::File',
    persistentStorageOptions: files('persistent'),
    localSessionStorage: 'Cache::FileCache',
    localSessionStorageOptions: {
      namespace: 'sessions',
      default_expires_in: 600,
      cache_root: join(directory, 'cache'),
    },
    // Loaded whether it is used or not; the default wants ImageMagick. The base of all its plugins does nothing.
    captcha: '::Main::Plugin',
    issuerDBOpenIDConnectActivation: 1,
    oidcServiceAllowAuthorizationCodeFlow: 1,
    oidcServicePrivateKeySig: privateKey,
    oidcServicePublicKeySig: publicKey,
    oidcServiceKeyIdSig: 'lemon',
    oidcRPMetaDataExportedVars: each(() => ({ name: 'cn', email: 'mail', preferred_username: 'uid' })),
    oidcRPMetaDataOptions: each((client) =>
      Object.fromEntries(Object.entries(client).map(([name, value]) => [`oidcRPMetaDataOptions${name}`, value])),
    ),
  }
}

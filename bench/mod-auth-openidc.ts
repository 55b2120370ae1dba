/** Apache with mod_auth_openidc in front of the same API, with sessions from real logins. */
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Browser } from '../test/support/browser.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider } from '../test/support/provider.ts'
import { freePort } from '../test/support/free-port.ts'
import { MEASURED_CORE, Part, programPath } from './part.ts'

const MODULES = '/usr/lib/apache2/modules'

export interface ModAuthOpenidcOptions {
  readonly name: string
  readonly directory: string
  readonly upstreamPort: number
  /** Where its sessions are: in shared memory, or in this Redis (`host:port`). */
  readonly cache: 'shm' | { readonly redis: string }
  /** How many browsers sign in. */
  readonly sessions: number
}

/** A peer, up and answering. */
export interface Peer extends AsyncDisposable {
  readonly part: Part
  readonly url: string
  /** The `Cookie` fields of its sessions. */
  readonly cookies: readonly string[]
}

/** `undefined` where Apache or the module is not installed (Debian: apache2, libapache2-mod-auth-openidc). */
export async function startModAuthOpenidc(options: ModAuthOpenidcOptions): Promise<Peer | undefined> {
  const apache = programPath('apache2')
  if (!apache || !existsSync(`${MODULES}/mod_auth_openidc.so`)) return undefined
  const port = await freePort()
  const url = `http://localhost:${port}`
  const provider = await startProvider({
    redirectUris: [`${url}/oidc/callback`],
    api: 'https://api.example.com',
    accessTokenSeconds: 7_200,
  })
  const root = join(options.directory, options.name)
  await mkdir(root)
  const file = join(root, 'apache.conf')
  await writeFile(file, configuration({ ...options, root, port, issuer: provider.issuer }).join('\n'))
  const part = new Part({
    name: options.name,
    command: [apache, '-D', 'FOREGROUND', '-f', file],
    core: MEASURED_CORE,
    outputFile: join(root, 'log'),
  })
  await part.answering(`http://127.0.0.1:${port}/open`)
  const cookies: string[] = []
  for (let left = options.sessions; left > 0; left -= 1) cookies.push(await signIn(url))
  return {
    part,
    url,
    cookies,
    [Symbol.asyncDispose]: async () => {
      await part[Symbol.asyncDispose]()
      await provider.close()
    },
  }
}

async function signIn(url: string): Promise<string> {
  using browser = new Browser()
  const tab = browser.newTab()
  await tab.navigate(`${url}/api/items`, { from: 'none' })
  await tab.submit('alice')
  await tab.settle()
  const cookie = browser.jar.header(new URL(`${url}/api/items`), 'strict')
  if (!cookie?.includes('mod_auth_openidc_session'))
    throw new Error(`the login at Apache brought no session: ${tab.page.status} ${tab.page.url}`)
  return `theme=dark; ${cookie}; experiment=b-7f3a9c`
}

interface Place extends ModAuthOpenidcOptions {
  readonly root: string
  readonly port: number
  readonly issuer: string
}

function configuration({ root, port, issuer, upstreamPort, cache }: Place): string[] {
  const modules = [
    'mpm_event',
    'authn_core',
    'authz_core',
    'authz_user',
    'headers',
    'proxy',
    'proxy_http',
    'auth_openidc',
  ]
  return [
    `ServerRoot ${root}`,
    `ServerName localhost:${port}`,
    `Listen 127.0.0.1:${port}`,
    `PidFile ${join(root, 'pid')}`,
    `DefaultRuntimeDir ${root}`,
    `ErrorLog ${join(root, 'error.log')}`,
    'LogLevel error',
    'User www-data',
    'Group www-data',
    ...modules.map((name) => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`),
    // One process, as many threads as connections and more.
    'ServerLimit 1',
    'StartServers 1',
    'ThreadLimit 128',
    'ThreadsPerChild 128',
    'MaxRequestWorkers 128',
    'KeepAlive On',
    'MaxKeepAliveRequests 0',
    'KeepAliveTimeout 3600',
    `OIDCProviderMetadataURL ${issuer}/.well-known/openid-configuration`,
    `OIDCClientID ${CLIENT_ID}`,
    `OIDCClientSecret ${CLIENT_SECRET}`,
    `OIDCRedirectURI http://localhost:${port}/oidc/callback`,
    'OIDCCryptoPassphrase 0123456789abcdef0123456789abcdef',
    'OIDCScope "openid profile email offline_access api"',
    'OIDCPKCEMethod S256',
    'OIDCSessionInactivityTimeout 7200',
    'OIDCSessionMaxDuration 28800',
    'OIDCPassClaimsAs environment',
    ...(cache === 'shm'
      ? ['OIDCCacheType shm', 'OIDCCacheShmMax 2000', 'OIDCCacheShmEntrySizeMax 66065']
      : ['OIDCCacheType redis', `OIDCRedisCacheServer ${cache.redis}`]),
    `ProxyPass /api http://127.0.0.1:${upstreamPort}/api keepalive=On`,
    `ProxyPass /open http://127.0.0.1:${upstreamPort}/open keepalive=On`,
    '<Location /oidc>',
    '  AuthType openid-connect',
    '  Require valid-user',
    '</Location>',
    '<Location /api>',
    '  AuthType openid-connect',
    '  Require valid-user',
    '  RequestHeader set Authorization "expr=Bearer %{reqenv:OIDC_access_token}"',
    '</Location>',
    '',
  ]
}

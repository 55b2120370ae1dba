/** Sidegate as it is measured: its own process, its default log, and a session from a real login. */
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Browser } from '../test/support/browser.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider, type TestProvider } from '../test/support/provider.ts'
import { freePort } from '../test/support/free-port.ts'
import { MEASURED_CORE, Part } from './part.ts'

export interface GatewayOptions {
  readonly name: string
  readonly directory: string
  readonly upstreamPort: number
  /** `redis://…` or memory. */
  readonly redisUrl?: string
  /** Laid over `session`. */
  readonly session?: Readonly<Record<string, unknown>>
  /** Laid over the whole configuration. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly nodeOptions?: readonly string[]
  /** The program; from source unless given. */
  readonly program?: string
  readonly env?: NodeJS.ProcessEnv
  /** How many browsers sign in; 1 unless given. */
  readonly sessions?: number
}

export interface Gateway extends AsyncDisposable {
  readonly part: Part
  readonly url: string
  readonly managementUrl: string
  /** Milliseconds from the start of the process to its first answer. */
  readonly startedInMs: number
  readonly provider: TestProvider
  /** The `Cookie` fields of browsers that have signed in. */
  readonly cookies: readonly string[]
}

/** Starts a gateway with a provider of its own, and signs browsers in. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const [port, managementPort] = [await freePort(), await freePort()]
  const url = `http://localhost:${port}`
  const provider = await startProvider({
    redirectUris: [`${url}/bff/callback`],
    postLogoutRedirectUris: [`${url}/bff/logout/callback`],
    api: 'https://api.example.com',
    accessTokenSeconds: 7_200,
  })
  const file = join(options.directory, `${options.name}.yaml`)
  // JSON is YAML.
  await writeFile(
    file,
    JSON.stringify(configuration(options, url, port, managementPort, provider.issuer), undefined, 2),
  )
  const part = new Part({
    name: options.name,
    command: [
      process.execPath,
      ...(options.nodeOptions ?? []),
      options.program ?? new URL('../src/main.ts', import.meta.url).pathname,
      '--config',
      file,
    ],
    core: MEASURED_CORE,
    outputFile: join(options.directory, `${options.name}.log`),
    env: { NODE_ENV: 'production', ...options.env },
  })
  const startedInMs = await part.answering(`http://127.0.0.1:${managementPort}/healthz`)
  await part.answering(`http://127.0.0.1:${managementPort}/readyz`)
  const cookies: string[] = []
  for (let left = options.sessions ?? 1; left > 0; left -= 1) cookies.push(await signIn(url))
  return {
    part,
    url,
    managementUrl: `http://127.0.0.1:${managementPort}`,
    startedInMs,
    provider,
    cookies,
    [Symbol.asyncDispose]: async () => {
      await part[Symbol.asyncDispose]()
      await provider.close()
    },
  }
}

/** A whole login as a browser makes it; resolves the `Cookie` field of an API call, with two cookies of the app's own. */
export async function signIn(url: string): Promise<string> {
  using browser = new Browser()
  const tab = browser.newTab()
  // A machine that has other things to do, too, may not bring the authorization server's answer in time.
  for (let left = 30; left > 0; left -= 1) {
    const { status } = await tab.navigate(`${url}/bff/login?returnTo=/api/items`, { from: 'none' })
    if (status !== 503) break
    await delay(500)
  }
  await tab.submit('alice', { stopBefore: `${url}/api/items` })
  await tab.settle()
  const cookie = browser.jar.header(new URL(`${url}/api/items`), 'strict')
  if (!cookie?.includes('sidegate')) throw new Error(`the login brought no session: ${tab.page.status} ${tab.page.url}`)
  return `theme=dark; ${cookie}; experiment=b-7f3a9c`
}

function configuration(
  options: GatewayOptions,
  url: string,
  port: number,
  managementPort: number,
  issuer: string,
): Record<string, unknown> {
  return {
    publicUrl: url,
    listen: { host: '127.0.0.1', port },
    management: { host: '127.0.0.1', port: managementPort },
    provider: {
      issuer,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      scopes: ['openid', 'profile', 'email', 'offline_access', 'api'],
    },
    session: { keys: [randomBytes(32).toString('base64url')], ...options.session },
    rateLimits: { login: 'off' },
    shutdown: { delay: '0s', grace: '2s' },
    ...(options.redisUrl && { store: { redis: { url: options.redisUrl } } }),
    routes: [{ path: '/api', upstream: `http://127.0.0.1:${options.upstreamPort}` }],
    ...options.config,
  }
}

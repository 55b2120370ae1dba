/** What a whole sign-in costs the gateway: login, callback with token request and verified ID token, session written. */
import { randomBytes } from 'node:crypto'
import { Agent, type IncomingMessage, request } from 'node:http'
import { freePort } from '../../test/support/free-port.ts'
import { type ScriptedProvider, startScriptedProvider } from '../../test/support/scripted-provider.ts'
import { BROWSER_FIELDS } from '../browser-fields.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { startRedis } from '../redis.ts'
import { type Report, showNumber } from '../report.ts'
import type { Settings } from '../settings.ts'
import { median, quantile } from '../statistics.ts'
import { startUpstream } from '../upstream.ts'

const LOGINS = 300
const AT_ONCE = 8
/** So many until the engine has compiled what it will: the first thousands cost twice as much. */
const WARM_UP = 4_000

export async function login(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  stack.use(await startUpstream(settings.directory, upstreamPort))
  const redis = stack.use(await startRedis())
  // A full authorization server would take ten times as long as what is measured.
  const provider = stack.use(await startScriptedProvider())
  const filler = randomBytes(450).toString('base64url')
  provider.tokenResponse = (body) => ({ ...body, access_token: `${filler}.${String(body['access_token'])}` })
  const start = (name: string, redisUrl?: string) =>
    startGateway({
      directory: settings.directory,
      upstreamPort,
      name,
      nodeOptions: settings.nodeOptions(name),
      sessions: 0,
      config: { provider: providerConfig(provider) },
      ...(redisUrl !== undefined && { redisUrl }),
    })
  const systems = new Map<string, Gateway>([
    ['memory store', stack.use(await start('login-memory'))],
    ['Redis', stack.use(await start('login-redis', redis.url))],
  ])

  for (const gateway of systems.values()) await measure(gateway, provider, WARM_UP)
  const found = new Map<string, number[]>([...systems.keys()].map((name) => [name, []]))
  for (let round = 0; round < settings.rounds; round += 1) {
    settings.progress(`round ${round + 1} of ${settings.rounds}`)
    for (const [name, gateway] of systems) found.get(name)?.push(await measure(gateway, provider, LOGINS))
  }
  return {
    scenario: 'login',
    title: `CPU of the gateway for a sign-in, RS256 verified: ${settings.rounds} rounds of ${LOGINS} users, ${AT_ONCE} at once`,
    columns: ['system', 'ms CPU per sign-in', 'middle half'],
    rows: [...found].map(([name, values]) => [
      name,
      showNumber(median(values), 2),
      `${showNumber(quantile(values, 0.25), 2)}-${showNumber(quantile(values, 0.75), 2)}`,
    ]),
    data: Object.fromEntries(found),
  }
}

function providerConfig({ issuer, clientId, clientSecrets }: ScriptedProvider): Record<string, unknown> {
  return { issuer, clientId, clientSecret: clientSecrets[0], scopes: ['openid', 'profile', 'email', 'offline_access'] }
}

/** Milliseconds of CPU for one sign-in, each of another user with a browser of his own. */
async function measure({ part, url }: Gateway, provider: ScriptedProvider, logins: number): Promise<number> {
  const before = part.cpuMicroseconds()
  let left = logins
  const visitor = async () => {
    while (left-- > 0) await signInOnce(url, provider)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, visitor))
  provider.requests.length = 0
  return (part.cpuMicroseconds() - before) / logins / 1_000
}

/** Login and callback, on one connection of their own; what happens at the provider in between is no matter here. */
async function signInOnce(url: string, provider: ScriptedProvider): Promise<void> {
  const agent = new Agent({ keepAlive: true })
  try {
    const sub = `user-${randomBytes(8).toString('hex')}`
    const begun = await visit(agent, new URL(`${url}/bff/login?returnTo=/api/items`), { 'Sec-Fetch-Site': 'none' })
    const callback = provider.authorize(new URL(begun.headers.location ?? ''), {
      sub,
      claims: { sid: sub, name: 'Alice Example', email: `${sub}@example.com` },
    })
    const cookies = begun.headers['set-cookie']?.map((field) => field.split(';')[0]).join('; ') ?? ''
    const ended = await visit(agent, callback, { 'Sec-Fetch-Site': 'cross-site', Cookie: `theme=dark; ${cookies}` })
    const isSignedIn =
      ended.statusCode === 303 && ended.headers['set-cookie']?.some((field) => /^[^=]*\w=[\w-]{43};/.test(field))
    if (!isSignedIn) throw new Error(`the login brought no session: ${ended.statusCode}`)
  } finally {
    agent.destroy()
  }
}

function visit(agent: Agent, url: URL, fields: Record<string, string>): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const navigation = { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' }
  const headers = { ...BROWSER_FIELDS, ...navigation, Host: url.host, ...fields }
  request({ host: '127.0.0.1', port: url.port, path: url.pathname + url.search, agent, headers }, (answer) => {
    answer
      .resume()
      .on('end', () => resolve(answer))
      .on('error', reject)
  })
    .on('error', reject)
    .end()
  return promise
}

/** An authenticated GET of 1 kB through Sidegate, against a bare @fastify/http-proxy of the same versions. */
import { startBareProxy } from '../bare-proxy-part.ts'
import { BROWSER_FIELDS } from '../browser-fields.ts'
import { COMPARISON_COLUMNS, comparisonRow } from '../comparison.ts'
import { freePort } from '../../test/support/free-port.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { interleave, type Measured, type System } from '../interleaved.ts'
import { startRedis } from '../redis.ts'
import type { Report } from '../report.ts'
import type { Settings } from '../settings.ts'
import { startNginxProxy, startUpstream } from '../upstream.ts'

const PATH = '/api/items?page=2'
/** As many as connections, so that requests at once are of different sessions and share no read. */
const SESSIONS = 64

export async function proxiedGet(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const { directory } = settings
  const upstreamPort = await freePort()
  stack.use(await startUpstream(directory, upstreamPort))
  const redis = stack.use(await startRedis())

  const bare = stack.use(await startBareProxy(upstreamPort))

  const gateway = async (name: string, more: { redisUrl?: string; session?: Record<string, unknown> }) =>
    stack.use(
      await startGateway({
        name,
        directory,
        upstreamPort,
        sessions: SESSIONS,
        nodeOptions: settings.nodeOptions(name),
        ...more,
      }),
    )
  const memory = await gateway('memory', {})
  const cached = await gateway('redis-cached', { redisUrl: redis.url })
  const uncached = await gateway('redis-read', { redisUrl: redis.url, session: { cache: { maxEntries: 0 } } })
  for (const each of [memory, cached, uncached]) await proveAuthenticated(each)

  const common = { headers: BROWSER_FIELDS, cookies: memory.cookies }
  const throughGateway = (name: string, { part, url, cookies }: Gateway, counter?: () => Promise<number>): System => ({
    name,
    part,
    // Not by name: that would be two addresses for the load generator.
    url: url.replace('localhost', '127.0.0.1') + PATH,
    headers: BROWSER_FIELDS,
    cookies,
    ...(counter && { counter }),
  })
  const systems: System[] = [
    { ...common, name: bare.part.name, part: bare.part, url: bare.url + PATH },
    throughGateway('sidegate, memory store', memory),
    throughGateway('sidegate, Redis, session cached', cached, redis.commands),
    throughGateway('sidegate, Redis, one read each', uncached, redis.commands),
  ]
  const nginxPort = await freePort()
  const nginx = await startNginxProxy(directory, nginxPort, upstreamPort)
  if (nginx) {
    stack.use(nginx)
    systems.push({ ...common, name: 'nginx proxy_pass', part: nginx, url: `http://127.0.0.1:${nginxPort}${PATH}` })
  }

  const measured = await interleave(systems, settings, settings.progress)
  return report(measured, settings)
}

/** Nothing is measured unless the upstream gets the session's token, and refuses to say so without the cookie. */
async function proveAuthenticated({ url, cookies: [cookie = ''], part }: Gateway): Promise<void> {
  const answer = await fetch(`${url}/api/echo`, { headers: { ...BROWSER_FIELDS, cookie } })
  const { authorization } = (await answer.json()) as { authorization?: string } // of our own upstream
  const anonymous = await fetch(`${url}/api/echo`, { headers: BROWSER_FIELDS })
  if (!authorization?.startsWith('Bearer ey') || anonymous.status !== 401) {
    throw new Error(`${part.name}: the call is not authenticated (${answer.status}, anonymous ${anonymous.status})`)
  }
}

function report(measured: readonly Measured[], { rounds, seconds, connections }: Settings): Report {
  return {
    scenario: 'proxied-get',
    title: `Authenticated GET of 1 kB: ${rounds} rounds of ${seconds} s, ${connections} connections; ratios against the first row, paired by round`,
    columns: COMPARISON_COLUMNS,
    rows: measured.map(comparisonRow),
    notes: [
      'Requests per second depend on the machine; compare ratios. Redis commands include the four ticks a second of each instance.',
    ],
    data: measured,
  }
}

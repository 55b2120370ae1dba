/** An authenticated GET of 1 kB through Sidegate, against a bare @fastify/http-proxy of the same versions. */
import { freePort } from '../free-port.ts'
import { type Gateway, startGateway } from '../gateway.ts'
import { interleave, type Measured, type System } from '../interleaved.ts'
import { MEASURED_CORE, Part } from '../part.ts'
import { startRedis } from '../redis.ts'
import { type Report, showNumber, showRatio } from '../report.ts'
import type { Settings } from '../settings.ts'
import { startNginxProxy, startUpstream } from '../upstream.ts'

const PATH = '/api/items?page=2'

export async function proxiedGet(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const { directory } = settings
  const upstreamPort = await freePort()
  stack.use(await startUpstream(directory, upstreamPort))
  const redis = stack.use(await startRedis())

  const barePort = await freePort()
  const bare = stack.use(
    new Part({
      name: 'bare @fastify/http-proxy',
      command: [
        process.execPath,
        new URL('../bare-proxy.ts', import.meta.url).pathname,
        String(barePort),
        `http://127.0.0.1:${upstreamPort}`,
      ],
      core: MEASURED_CORE,
      env: { NODE_ENV: 'production' },
    }),
  )
  await bare.answering(`http://127.0.0.1:${barePort}/api/items`)

  const gateway = async (name: string, more: { redisUrl?: string; session?: Record<string, unknown> }) =>
    stack.use(await startGateway({ name, directory, upstreamPort, nodeOptions: settings.nodeOptions(name), ...more }))
  const memory = await gateway('memory', {})
  const cached = await gateway('redis-cached', { redisUrl: redis.url })
  const uncached = await gateway('redis-read', { redisUrl: redis.url, session: { cache: { maxEntries: 0 } } })
  for (const each of [memory, cached, uncached]) await proveAuthenticated(each)

  const headersOf = (cookie: string) => ({ ...BROWSER_FIELDS, Cookie: cookie })
  const throughGateway = (name: string, { part, url, cookie }: Gateway, counter?: () => Promise<number>): System => ({
    name,
    part,
    url: url.replace('localhost', '127.0.0.1') + PATH,
    headers: headersOf(cookie),
    ...(counter && { counter }),
  })
  const systems: System[] = [
    { name: bare.name, part: bare, url: `http://127.0.0.1:${barePort}${PATH}`, headers: headersOf(memory.cookie) },
    throughGateway('sidegate, memory store', memory),
    throughGateway('sidegate, Redis, session cached', cached, redis.commands),
    throughGateway('sidegate, Redis, one read each', uncached, redis.commands),
  ]
  const nginxPort = await freePort()
  const nginx = await startNginxProxy(directory, nginxPort, upstreamPort)
  if (nginx) {
    stack.use(nginx)
    systems.push({
      name: 'nginx proxy_pass',
      part: nginx,
      url: `http://127.0.0.1:${nginxPort}${PATH}`,
      headers: headersOf(memory.cookie),
    })
  }

  const measured = await interleave(systems, settings, settings.progress)
  return report(measured, settings)
}

/** What Chromium sends with a `fetch` of the app's own page. */
const BROWSER_FIELDS = {
  Accept: '*/*',
  'Accept-Language': 'en-GB,en;q=0.9',
  'Sec-Fetch-Site': 'same-origin',
  'Sec-Fetch-Mode': 'cors',
  'Sec-Fetch-Dest': 'empty',
  'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
}

/** Nothing is measured unless the upstream gets the session's token, and refuses to say so without the cookie. */
async function proveAuthenticated({ url, cookie, part }: Gateway): Promise<void> {
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
    columns: [
      'system',
      'requests/s',
      'ratio [middle half]',
      'CPU µs',
      'ratio [middle half]',
      'p50 ms',
      'p99 ms',
      'Redis/request',
    ],
    rows: measured.map((one) => [
      one.name,
      showNumber(one.requestsPerSecond),
      showRatio(one.throughputRatio),
      showNumber(one.cpuMicrosecondsPerRequest, 1),
      showRatio(one.cpuRatio),
      showNumber(one.p50Microseconds / 1_000, 2),
      showNumber(one.p99Microseconds / 1_000, 2),
      one.countPerRequest === undefined ? '' : showNumber(one.countPerRequest, 3),
    ]),
    notes: [
      'Requests per second depend on the machine; compare ratios. Redis commands include the four ticks a second of each instance.',
    ],
    data: measured,
  }
}

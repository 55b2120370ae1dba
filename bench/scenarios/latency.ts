/** How long an answer takes at a steady 1000 requests a second, over the bare proxy. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { startBareProxy } from '../bare-proxy-part.ts'
import { BROWSER_FIELDS } from '../browser-fields.ts'
import { freePort } from '../../test/support/free-port.ts'
import { startGateway } from '../gateway.ts'
import { OTHER_CORE, pinned } from '../part.ts'
import { startRedis } from '../redis.ts'
import { type Report, showNumber } from '../report.ts'
import type { Settings } from '../settings.ts'
import { median, quantile } from '../statistics.ts'
import { startUpstream } from '../upstream.ts'

const RATE = 1_000
const CONNECTIONS = 16
const PATH = '/api/items?page=2'

interface Steady {
  readonly failures: number
  readonly p50Microseconds: number
  readonly p90Microseconds: number
  readonly p99Microseconds: number
}

export async function latency(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  stack.use(await startUpstream(settings.directory, upstreamPort))
  const redis = stack.use(await startRedis())
  const bare = stack.use(await startBareProxy(upstreamPort))
  const gateway = stack.use(
    await startGateway({ name: 'latency', directory: settings.directory, upstreamPort, redisUrl: redis.url }),
  )
  const [cookie = ''] = gateway.cookies
  const systems = [
    { name: 'upstream itself', url: `http://127.0.0.1:${upstreamPort}` },
    { name: bare.part.name, url: bare.url },
    { name: 'sidegate, Redis, session cached', url: gateway.url },
  ]

  for (const { url } of systems) await steady(url, cookie, 2)
  const found = new Map<string, Steady[]>(systems.map(({ name }) => [name, []]))
  for (let round = 0; round < settings.rounds; round += 1) {
    settings.progress(`round ${round + 1} of ${settings.rounds}`)
    for (const { name, url } of round % 2 === 0 ? systems : systems.toReversed()) {
      found.get(name)?.push(await steady(url, cookie, settings.seconds))
    }
  }
  return report(found, settings)
}

async function steady(url: string, cookie: string, seconds: number): Promise<Steady> {
  const program = new URL('../steady-load.ts', import.meta.url).pathname
  const words = [process.execPath, program, url + PATH, RATE, seconds, CONNECTIONS].map(String)
  const [command = '', ...args] = pinned(OTHER_CORE, words)
  const headers = JSON.stringify({ ...BROWSER_FIELDS, Cookie: cookie })
  const { stdout } = await promisify(execFile)(command, args, { env: { ...process.env, STEADY_HEADERS: headers } })
  const result = JSON.parse(stdout) as Steady // printed by our own program
  if (result.failures > 0) throw new Error(`${result.failures} requests to ${url} failed`)
  return result
}

function report(found: ReadonlyMap<string, readonly Steady[]>, { rounds, seconds }: Settings): Report {
  const series = (rows: readonly Steady[], key: 'p50Microseconds' | 'p90Microseconds' | 'p99Microseconds') =>
    rows.map((row) => row[key])
  const show = (values: readonly number[]) =>
    `${showNumber(median(values) / 1_000, 2)} [${showNumber(quantile(values, 0.25) / 1_000, 2)}-${showNumber(quantile(values, 0.75) / 1_000, 2)}]`
  return {
    scenario: 'latency',
    title: `Latency at ${RATE} requests a second: ${rounds} rounds of ${seconds} s, ${CONNECTIONS} connections; milliseconds from when a request was due`,
    columns: ['system', 'p50 [middle half]', 'p90 [middle half]', 'p99 [middle half]'],
    rows: [...found].map(([name, rows]) => [
      name,
      show(series(rows, 'p50Microseconds')),
      show(series(rows, 'p90Microseconds')),
      show(series(rows, 'p99Microseconds')),
    ]),
    notes: ['The generator is itself a Node on the other core: the first row is what it adds by itself.'],
    data: Object.fromEntries(found),
  }
}

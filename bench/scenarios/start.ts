/** How long a gateway takes to its first answer, as it is built and from source, and the memory that it then holds. */
import { startBareProxy } from '../bare-proxy-part.ts'
import { freePort } from '../../test/support/free-port.ts'
import { startGateway } from '../gateway.ts'
import { startRedis } from '../redis.ts'
import { type Report, showNumber, showRatio } from '../report.ts'
import type { Settings } from '../settings.ts'
import { median, pairedRatio } from '../statistics.ts'
import { startUpstream } from '../upstream.ts'

interface Start {
  readonly startedInMs: number
  readonly residentMiB: number
}

export async function start(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  stack.use(await startUpstream(settings.directory, upstreamPort))
  const redis = stack.use(await startRedis())
  const program = settings.builtProgram()
  const found = new Map<string, Start[]>([
    ['bare @fastify/http-proxy', []],
    ['sidegate, memory store', []],
    ['sidegate, Redis', []],
    ['sidegate from source, memory store', []],
  ])
  for (let round = 0; round < settings.rounds; round += 1) {
    settings.progress(`round ${round + 1} of ${settings.rounds}`)
    {
      await using bare = await startBareProxy(upstreamPort)
      found.get('bare @fastify/http-proxy')?.push(measure(bare))
    }
    const common = { directory: settings.directory, upstreamPort, program }
    {
      await using gateway = await startGateway({ ...common, name: `memory-${round}` })
      found.get('sidegate, memory store')?.push(measure(gateway))
    }
    {
      await using gateway = await startGateway({ ...common, name: `redis-${round}`, redisUrl: redis.url })
      found.get('sidegate, Redis')?.push(measure(gateway))
    }
    {
      const { program: _built, ...source } = common
      await using gateway = await startGateway({ ...source, name: `source-${round}` })
      found.get('sidegate from source, memory store')?.push(measure(gateway))
    }
  }
  const base = found.get('bare @fastify/http-proxy') ?? []
  const times = (rows: readonly Start[]) => rows.map(({ startedInMs }) => startedInMs)
  return {
    scenario: 'start',
    title: `Start to first answer, no compile cache: ${settings.rounds} rounds`,
    columns: ['system', 'ms', 'ratio [middle half]', 'resident MiB after a login'],
    rows: [...found].map(([name, rows]) => [
      name,
      showNumber(median(times(rows))),
      showRatio(pairedRatio(times(rows), times(base))),
      showNumber(median(rows.map(({ residentMiB }) => residentMiB))),
    ]),
    data: Object.fromEntries(found),
  }
}

function measure({ startedInMs, part }: { startedInMs: number; part: { residentMiB(): number } }): Start {
  return { startedInMs, residentMiB: part.residentMiB() }
}

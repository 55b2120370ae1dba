/** Several systems under the same load in turn: what disturbs the machine disturbs them alike. */
import { run } from './load.ts'
import type { Part } from './part.ts'
import { median, pairedRatio, quantile } from './statistics.ts'
import type { Ratio } from './statistics.ts'

export interface System {
  readonly name: string
  readonly part: Part
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly cookies: readonly string[]
  /** A count read before and after each slice, such as Redis commands; reported per request. */
  readonly counter?: () => Promise<number>
}

export interface Round {
  readonly requestsPerSecond: number
  readonly cpuMicrosecondsPerRequest: number
  readonly p50Microseconds: number
  readonly p99Microseconds: number
  readonly countPerRequest?: number
}

export interface Measured {
  readonly name: string
  readonly rounds: readonly Round[]
  readonly requestsPerSecond: number
  /** The quarter of the slices that was disturbed least. */
  readonly cpuMicrosecondsPerRequest: number
  readonly p50Microseconds: number
  readonly p99Microseconds: number
  readonly countPerRequest?: number
  /** Against the first system. */
  readonly throughputRatio: Ratio
  readonly cpuRatio: Ratio
}

export interface Plan {
  readonly rounds: number
  readonly seconds: number
  readonly connections: number
}

/** V8 goes on compiling for tens of thousands of requests; a gateway that serves for days is not measured by its first. */
const WARM_UP_SECONDS = 8

/** Warms every system up, then measures them round by round, in turned order every second round. */
export async function interleave(
  systems: readonly System[],
  plan: Plan,
  progress: (text: string) => void,
): Promise<Measured[]> {
  for (const system of systems) await slice(system, { ...plan, seconds: Math.max(WARM_UP_SECONDS, plan.seconds) })

  const rounds = new Map<string, Round[]>(systems.map(({ name }) => [name, []]))
  for (let round = 0; round < plan.rounds; round += 1) {
    progress(`round ${round + 1} of ${plan.rounds}`)
    for (const system of round % 2 === 0 ? systems : systems.toReversed()) {
      rounds.get(system.name)?.push(await slice(system, plan))
    }
  }

  const base = rounds.get(systems[0]?.name ?? '') ?? []
  return systems.map(({ name }) => summary(name, rounds.get(name) ?? [], base))
}

async function slice(system: System, plan: Plan): Promise<Round> {
  const countBefore = await system.counter?.()
  const cpuBefore = system.part.cpuMicroseconds()
  const { requests, requestsPerSecond, p50Microseconds, p99Microseconds } = await run({ ...system, ...plan })
  const cpuMicrosecondsPerRequest = (system.part.cpuMicroseconds() - cpuBefore) / requests
  const countAfter = await system.counter?.()
  return {
    requestsPerSecond,
    cpuMicrosecondsPerRequest,
    p50Microseconds,
    p99Microseconds,
    ...(countBefore !== undefined &&
      countAfter !== undefined && { countPerRequest: (countAfter - countBefore) / requests }),
  }
}

function summary(name: string, rounds: readonly Round[], base: readonly Round[]): Measured {
  const series = (
    of: readonly Round[],
    key: 'requestsPerSecond' | 'cpuMicrosecondsPerRequest' | 'p50Microseconds' | 'p99Microseconds',
  ) => of.map((round) => round[key])
  const counts = rounds.flatMap(({ countPerRequest }) => countPerRequest ?? [])
  return {
    name,
    rounds,
    requestsPerSecond: median(series(rounds, 'requestsPerSecond')),
    cpuMicrosecondsPerRequest: quantile(series(rounds, 'cpuMicrosecondsPerRequest'), 0.25),
    p50Microseconds: median(series(rounds, 'p50Microseconds')),
    p99Microseconds: median(series(rounds, 'p99Microseconds')),
    ...(counts.length > 0 && { countPerRequest: median(counts) }),
    throughputRatio: pairedRatio(series(rounds, 'requestsPerSecond'), series(base, 'requestsPerSecond')),
    cpuRatio: pairedRatio(series(rounds, 'cpuMicrosecondsPerRequest'), series(base, 'cpuMicrosecondsPerRequest')),
  }
}

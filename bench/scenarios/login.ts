/** What a whole sign-in costs the gateway: login, callback with token request and verified ID token, session written. */
import { freePort } from '../../test/support/free-port.ts'
import { type Gateway, signIn, startGateway } from '../gateway.ts'
import { startRedis } from '../redis.ts'
import { type Report, showNumber } from '../report.ts'
import type { Settings } from '../settings.ts'
import { median, quantile } from '../statistics.ts'
import { startUpstream } from '../upstream.ts'

const LOGINS = 100
const AT_ONCE = 8

export async function login(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  stack.use(await startUpstream(settings.directory, upstreamPort))
  const redis = stack.use(await startRedis())
  const common = { directory: settings.directory, upstreamPort }
  const systems = new Map<string, Gateway>([
    ['memory store', stack.use(await startGateway({ ...common, name: 'login-memory' }))],
    ['Redis', stack.use(await startGateway({ ...common, name: 'login-redis', redisUrl: redis.url }))],
  ])

  for (const gateway of systems.values()) await measure(gateway)
  const found = new Map<string, number[]>([...systems.keys()].map((name) => [name, []]))
  for (let round = 0; round < settings.rounds; round += 1) {
    settings.progress(`round ${round + 1} of ${settings.rounds}`)
    for (const [name, gateway] of systems) found.get(name)?.push(await measure(gateway))
  }
  return {
    scenario: 'login',
    title: `CPU of the gateway for a sign-in, RS256 verified: ${settings.rounds} rounds of ${LOGINS}, ${AT_ONCE} at once`,
    columns: ['system', 'ms CPU per sign-in', 'middle half'],
    rows: [...found].map(([name, values]) => [
      name,
      showNumber(median(values), 2),
      `${showNumber(quantile(values, 0.25), 2)}-${showNumber(quantile(values, 0.75), 2)}`,
    ]),
    data: Object.fromEntries(found),
  }
}

/** Milliseconds of CPU for one sign-in. */
async function measure({ part, url }: Gateway): Promise<number> {
  const before = part.cpuMicroseconds()
  for (let left = LOGINS; left > 0; left -= AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, left) }, () => signIn(url)))
  }
  return (part.cpuMicroseconds() - before) / LOGINS / 1_000
}

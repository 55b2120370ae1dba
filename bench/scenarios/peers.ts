/** The authenticated GET of 1 kB against the peers that Debian has, each with sessions of its own kind. */
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { startBareProxy } from '../bare-proxy-part.ts'
import { BROWSER_FIELDS } from '../browser-fields.ts'
import { COMPARISON_COLUMNS, comparisonRow } from '../comparison.ts'
import { freePort } from '../../test/support/free-port.ts'
import { startGateway } from '../gateway.ts'
import { interleave, type Measured, type System } from '../interleaved.ts'
import { type Peer, startModAuthOpenidc } from '../mod-auth-openidc.ts'
import { startNginxLua } from '../nginx-lua.ts'
import { startRedis } from '../redis.ts'
import { type Report, showRatio } from '../report.ts'
import type { Settings } from '../settings.ts'
import { pairedRatio } from '../statistics.ts'
import { startNginxProxy, startUpstream } from '../upstream.ts'

const PATH = '/api/items?page=2'
const SESSIONS = 64
const OURS = ['sidegate, Redis, session cached', 'sidegate, Redis, one read each']

export async function peers(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const { directory } = settings
  const upstreamPort = await freePort()
  stack.use(await startUpstream(directory, upstreamPort))
  const redis = stack.use(await startRedis())
  const common = { directory, upstreamPort, sessions: SESSIONS }

  const systems: System[] = []
  const missing: string[] = []
  const add = (name: string, { part, url, cookies }: Peer, counter?: () => Promise<number>): void => {
    // Not by name: that would be two addresses for the load generator.
    const at = url.replace('localhost', '127.0.0.1') + PATH
    const headers = { ...BROWSER_FIELDS, Host: new URL(url).host }
    systems.push({ name, part, url: at, headers, cookies, ...(counter && { counter }) })
  }
  const addPeer = (name: string, peer: Peer | undefined, counter?: () => Promise<number>): void => {
    if (peer) add(name, stack.use(peer), counter)
    else missing.push(name)
  }
  const bare = stack.use(await startBareProxy(upstreamPort))
  for (const [name, session] of [
    [OURS[0] ?? '', {}],
    [OURS[1] ?? '', { cache: { maxEntries: 0 } }],
  ] as const) {
    const gateway = await startGateway({ ...common, name: `gateway-${systems.length}`, redisUrl: redis.url, session })
    add(name, stack.use(gateway), redis.commands)
  }
  add(bare.part.name, { ...bare, cookies: systems[0]?.cookies ?? [] })
  const { host } = new URL(redis.url)
  addPeer(
    'mod_auth_openidc, Redis',
    await startModAuthOpenidc({ ...common, name: 'apache-redis', cache: { redis: host } }),
    redis.commands,
  )
  addPeer('mod_auth_openidc, shared memory', await startModAuthOpenidc({ ...common, name: 'apache-shm', cache: 'shm' }))
  addPeer('nginx, look-up in Redis by Lua', await startNginxLua({ ...common, redis }), redis.commands)
  const nginxPort = await freePort()
  const nginx = await startNginxProxy(directory, nginxPort, upstreamPort)
  const nginxPeer = nginx && { part: nginx, url: `http://127.0.0.1:${nginxPort}`, cookies: systems[0]?.cookies ?? [] }
  addPeer('nginx proxy_pass', nginxPeer && { ...nginxPeer, [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose]() })
  for (const system of systems) if (!system.name.includes('proxy')) await proveAuthenticated(system)
  return report(await interleave(systems, settings, settings.progress), missing, settings)
}

/** Nothing is measured unless the upstream gets a token for the session, and nothing without one. */
async function proveAuthenticated({ name, url, headers, cookies: [cookie = ''] }: System): Promise<void> {
  const ask = (fields: Record<string, string>) => call(new URL('/api/echo', url), { ...headers, ...fields })
  const [known, anonymous] = [await ask({ Cookie: cookie }), await ask({})]
  if (!known.includes('Bearer ') || anonymous.includes('Bearer '))
    throw new Error(`${name}: the call is not authenticated`)
}

/** The body of the answer; by node:http, since `fetch` sets the `Host` field itself. */
async function call(url: URL, headers: Record<string, string>): Promise<string> {
  const request = get(url, { headers })
  const [answer] = (await once(request, 'response')) as [IncomingMessage] // the event of a ClientRequest
  return await text(answer)
}

function report(measured: readonly Measured[], missing: readonly string[], settings: Settings): Report {
  const { rounds, seconds, connections } = settings
  const ours = measured.filter(({ name }) => OURS.includes(name))
  const speeds = (one: Measured) => one.rounds.map(({ requestsPerSecond }) => requestsPerSecond)
  return {
    scenario: 'peers',
    title: `Authenticated GET of 1 kB beside peers: ${rounds} rounds of ${seconds} s, ${connections} connections; ratios against the first row, paired by round`,
    columns: [...COMPARISON_COLUMNS, 'cached is … as fast', 'one read is … as fast'],
    rows: measured.map((one) => [
      ...comparisonRow(one),
      ...ours.map((own) => (ours.includes(one) ? '' : showRatio(pairedRatio(speeds(own), speeds(one))))),
    ]),
    notes: [
      'All are pinned to one core, so that throughput is throughput for a core. nginx by Lua decrypts and checks nothing.',
      ...(missing.length > 0 ? [`Not installed, and so not measured: ${missing.join('; ')}.`] : []),
    ],
    data: measured,
  }
}

/** Resident memory with many connections that are kept alive and idle, each after one authenticated call. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { BROWSER_FIELDS } from '../browser-fields.ts'
import { freePort } from '../../test/support/free-port.ts'
import { startBareProxy } from '../bare-proxy-part.ts'
import { startGateway } from '../gateway.ts'
import type { Part } from '../part.ts'
import { startRedis } from '../redis.ts'
import { type Report, showNumber } from '../report.ts'
import type { Settings } from '../settings.ts'
import { startUpstream } from '../upstream.ts'

const STEPS = [0, 1_000, 10_000]
const AT_ONCE = 50
/** By then the gateway has seen that there is nothing to do (`src/idle-memory.ts`). */
const REST_MS = 320_000

export async function connections(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  stack.use(await startUpstream(settings.directory, upstreamPort))
  const redis = stack.use(await startRedis())
  const bare = stack.use(await startBareProxy(upstreamPort))
  const gateway = stack.use(
    await startGateway({
      name: 'connections',
      directory: settings.directory,
      program: settings.builtProgram(),
      upstreamPort,
      redisUrl: redis.url,
    }),
  )
  const [cookie = ''] = gateway.cookies
  const found = new Map<string, number[]>([
    [bare.part.name, await measure(bare.part, bare.url, cookie, settings)],
    ['sidegate, Redis', await measure(gateway.part, gateway.url, cookie, settings)],
  ])
  return {
    scenario: 'connections',
    title: 'Resident MiB by idle connections, each after one call',
    columns: ['system', ...STEPS.map((count) => showNumber(count)), 'kB each', 'minutes later'],
    rows: [...found].map(([name, values]) => [
      name,
      ...values.slice(0, STEPS.length).map((value) => showNumber(value)),
      showNumber((((values[STEPS.length - 1] ?? 0) - (values[0] ?? 0)) * 1_024) / (STEPS.at(-1) ?? 1), 1),
      showNumber(values.at(-1) ?? 0),
    ]),
    notes: ['Memory that V8 has not given back yet counts too.'],
    data: Object.fromEntries(found),
  }
}

async function measure(part: Part, url: string, cookie: string, settings: Settings): Promise<number[]> {
  const { port } = new URL(url)
  const fields = Object.entries({ Host: new URL(url).host, ...BROWSER_FIELDS, Cookie: cookie })
  const request = `GET /api/items HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
  const sockets: Socket[] = []
  const resident: number[] = []
  try {
    for (const step of STEPS) {
      settings.progress(`${part.name}: ${step} connections`)
      while (sockets.length < step) {
        const count = Math.min(AT_ONCE, step - sockets.length)
        sockets.push(...(await Promise.all(Array.from({ length: count }, () => call(Number(port), request)))))
      }
      // Long enough for what a burst left behind to be collected.
      await wait(2_000)
      resident.push(part.residentMiB())
    }
    await wait(REST_MS)
    resident.push(part.residentMiB())
  } finally {
    for (const socket of sockets) socket.destroy()
  }
  return resident
}

/** Opens a connection, makes one call, and leaves it open. */
async function call(port: number, request: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => socket.destroy())
  socket.write(request)
  const [chunk] = (await once(socket, 'data')) as [Buffer] // the `data` event of a socket without an encoding
  if (!chunk.toString('latin1').startsWith('HTTP/1.1 200'))
    throw new Error(`a call answered ${chunk.toString('latin1', 0, 40)}`)
  socket.resume()
  return socket
}

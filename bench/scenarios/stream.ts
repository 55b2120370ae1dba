/** A gigabyte down, up, and down in fifty parts at once: throughput and what it costs in memory (R60). */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../../test/support/free-port.ts'
import { startBareProxy } from '../bare-proxy-part.ts'
import { startGateway } from '../gateway.ts'
import { OTHER_CORE, Part } from '../part.ts'
import { type Report, showNumber } from '../report.ts'
import type { Settings } from '../settings.ts'
import { median } from '../statistics.ts'
import { startNginxProxy } from '../upstream.ts'

const GIB = 1_073_741_824
const MIB = 1_048_576
const AT_ONCE = 50
const MOST_ROUNDS = 3
const PIECE = Buffer.alloc(65_536, 'x')

interface Found {
  readonly name: string
  readonly down: Speed[]
  readonly up: Speed[]
  readonly atOnce: Speed[]
  /** Resident MiB after a gibibyte each way, and at most during all that came then. */
  readonly before: number
  peak: number
}

interface Speed {
  readonly mibPerSecond: number
  /** Of the system, for the whole gibibyte. */
  readonly cpuSeconds: number
}

interface System {
  readonly name: string
  readonly part: Part
  readonly port: number
  readonly cookie: string
}

export async function stream(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  const upstream = stack.use(
    new Part({
      name: 'stream-upstream',
      command: [process.execPath, new URL('../stream-upstream.ts', import.meta.url).pathname, String(upstreamPort)],
      core: OTHER_CORE,
    }),
  )
  await upstream.answering(`http://127.0.0.1:${upstreamPort}/`)
  const gateway = stack.use(
    await startGateway({
      name: 'stream',
      directory: settings.directory,
      upstreamPort,
      nodeOptions: settings.nodeOptions('stream'),
    }),
  )
  const [cookie = ''] = gateway.cookies
  const systems: System[] = [
    { name: 'direct', part: upstream, port: upstreamPort, cookie },
    { name: 'sidegate', part: gateway.part, port: Number(new URL(gateway.url).port), cookie },
  ]
  const nginxPort = await freePort()
  const nginx = await startNginxProxy(settings.directory, nginxPort, upstreamPort)
  if (nginx) systems.push({ name: 'nginx, unbuffered', part: stack.use(nginx), port: nginxPort, cookie })
  const bare = stack.use(await startBareProxy(upstreamPort))
  systems.push({ name: bare.part.name, part: bare.part, port: Number(new URL(bare.url).port), cookie })

  // A gateway that serves for days is not measured by its first gibibytes.
  for (const { name, port, cookie } of systems) {
    settings.progress(`stream: ${name} warms up`)
    await download(port, cookie, GIB)
    await upload(port, cookie, GIB)
  }
  await wait(1_000)
  const found = systems.map((system): Found => {
    const before = system.part.residentMiB()
    return { name: system.name, down: [], up: [], atOnce: [], before, peak: before }
  })
  for (let round = 0; round < Math.min(MOST_ROUNDS, settings.rounds); round += 1) {
    settings.progress(`stream: round ${round + 1}`)
    for (const [index, each] of found.entries()) {
      const system = systems[index]
      if (system) await measure(system, each)
    }
  }
  return report(found)
}

async function measure({ part, port, cookie }: System, found: Found): Promise<void> {
  const look = setInterval(() => {
    found.peak = Math.max(found.peak, part.residentMiB())
  }, 50)
  try {
    found.down.push(await timed(part, () => download(port, cookie, GIB)))
    found.up.push(await timed(part, () => upload(port, cookie, GIB)))
    const each = Math.floor(GIB / AT_ONCE)
    found.atOnce.push(
      await timed(part, () => Promise.all(Array.from({ length: AT_ONCE }, () => download(port, cookie, each)))),
    )
  } finally {
    clearInterval(look)
  }
}

/** What moving a gibibyte took. */
async function timed(part: Part, task: () => Promise<unknown>): Promise<Speed> {
  const startedAt = performance.now()
  const cpuBefore = part.cpuMicroseconds()
  await task()
  const mibPerSecond = GIB / MIB / ((performance.now() - startedAt) / 1_000)
  return { mibPerSecond, cpuSeconds: (part.cpuMicroseconds() - cpuBefore) / 1_000_000 }
}

function head(method: string, path: string, cookie: string, ...more: string[]): string {
  const lines = [`${method} ${path} HTTP/1.1`, 'Host: localhost', `Cookie: ${cookie}`, 'Sec-Fetch-Site: same-origin']
  return [...lines, 'Connection: close', ...more, '', ''].join('\r\n')
}

/**
 * Ends with the last byte: not every proxy closes a connection when it is asked to.
 *
 * @throws Error when fewer bytes come than were asked for
 */
async function download(port: number, cookie: string, bytes: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.write(head('GET', `/api/stream/down?bytes=${bytes}`, cookie))
  const whole = Promise.withResolvers<void>()
  let text = ''
  let left: number | undefined
  socket.on('data', (chunk: Buffer) => {
    if (left === undefined) {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end !== -1) left = bytes - (text.length - end - 4)
    } else {
      left -= chunk.length
    }
    if (left !== undefined && left <= 0) whole.resolve()
  })
  socket.on('close', () => whole.reject(new Error(`${left ?? bytes} of ${bytes} bytes did not come down`)))
  await whole.promise
  socket.destroy()
}

/** @throws Error when the upstream has not got them all */
async function upload(port: number, cookie: string, bytes: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  const answered = Promise.withResolvers<void>()
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
    if (/\r\n\r\n.*\d{2}/s.test(answer)) answered.resolve()
  })
  socket.on('close', () => answered.reject(new Error('the upload was not answered')))
  socket.write(head('POST', '/api/stream/up', cookie, `Content-Length: ${bytes}`))
  for (let left = bytes; left > 0; left -= PIECE.length) {
    if (!socket.write(left < PIECE.length ? PIECE.subarray(0, left) : PIECE)) await once(socket, 'drain')
  }
  await answered.promise
  socket.destroy()
  if (!answer.includes(String(bytes))) throw new Error(`the upload was answered ${answer.slice(0, 100)}`)
}

function report(found: readonly Found[]): Report {
  const direct = found[0]
  const show = (speeds: readonly Speed[], of: readonly Speed[] | undefined) => {
    const speed = median(speeds.map(({ mibPerSecond }) => mibPerSecond))
    const share = (100 * speed) / median((of ?? speeds).map(({ mibPerSecond }) => mibPerSecond))
    const cpuSeconds = median(speeds.map((each) => each.cpuSeconds))
    return `${showNumber(speed)} (${share.toFixed(0)} %), ${cpuSeconds.toFixed(1)} s`
  }
  return {
    scenario: 'stream',
    title: `1 GiB down, up, and down in ${AT_ONCE} parts at once: medians of MiB a second, the share of what goes without a proxy, and the CPU seconds of the system`,
    columns: ['system', 'down', 'up', `${AT_ONCE} at once`, 'resident after 2 GiB', 'at most', 'growth MiB'],
    rows: found.map(({ name, down, up, atOnce, before, peak }) => [
      name,
      show(down, direct?.down),
      show(up, direct?.up),
      show(atOnce, direct?.atOnce),
      showNumber(before),
      showNumber(peak),
      showNumber(peak - before),
    ]),
    notes: [
      'Each system has moved a gibibyte each way before; then they take turns.',
      'Client and upstream share a core: without a proxy both of them are the limit, and with one the proxy is.',
      'Memory and CPU of `direct` are those of the upstream.',
    ],
    data: found,
  }
}

/** A gigabyte down, up, and down in fifty parts at once: throughput and what it costs in memory (R60). */
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../../test/support/free-port.ts'
import { startGateway } from '../gateway.ts'
import { OTHER_CORE, Part } from '../part.ts'
import { type Report, showNumber } from '../report.ts'
import type { Settings } from '../settings.ts'
import { startNginxProxy } from '../upstream.ts'

const GIB = 1_073_741_824
const MIB = 1_048_576
const AT_ONCE = 50
const PIECE = Buffer.alloc(65_536, 'x')

interface Found {
  readonly name: string
  readonly down: Speed
  readonly up: Speed
  readonly atOnce: Speed
  /** Resident MiB before, and at most meanwhile. */
  readonly before: number
  readonly peak: number
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

  const found: Found[] = []
  for (const system of systems) {
    settings.progress(`stream: ${system.name}`)
    found.push(await measure(system))
  }
  return report(found)
}

async function measure({ name, part, port, cookie }: System): Promise<Found> {
  // What starting up has left is collected, and a first answer has made what every answer needs.
  await download(port, cookie, 10 * MIB)
  await wait(1_000)
  const before = part.residentMiB()
  let peak = before
  const look = setInterval(() => {
    peak = Math.max(peak, part.residentMiB())
  }, 50)
  try {
    const down = await timed(part, () => download(port, cookie, GIB))
    const up = await timed(part, () => upload(port, cookie, GIB))
    const each = Math.floor(GIB / AT_ONCE)
    const atOnce = await timed(part, () =>
      Promise.all(Array.from({ length: AT_ONCE }, () => download(port, cookie, each))),
    )
    return { name, down, up, atOnce, before, peak }
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

/** @throws Error when fewer bytes come than were asked for */
async function download(port: number, cookie: string, bytes: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.write(head('GET', `/api/stream/down?bytes=${bytes}`, cookie))
  let count = 0
  socket.on('data', (chunk: Buffer) => (count += chunk.length))
  await once(socket, 'end')
  socket.destroy()
  // With the head there are a few hundred more.
  if (count < bytes) throw new Error(`${count} of ${bytes} bytes came down`)
}

/** @throws Error when the upstream has not got them all */
async function upload(port: number, cookie: string, bytes: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')))
  const ended = once(socket, 'end')
  socket.write(head('POST', '/api/stream/up', cookie, `Content-Length: ${bytes}`))
  for (let left = bytes; left > 0; left -= PIECE.length) {
    if (!socket.write(left < PIECE.length ? PIECE.subarray(0, left) : PIECE)) await once(socket, 'drain')
  }
  await ended
  socket.destroy()
  if (!answer.includes(String(bytes))) throw new Error(`the upload was answered ${answer.slice(0, 100)}`)
}

function report(found: readonly Found[]): Report {
  const direct = found[0]
  const show = ({ mibPerSecond, cpuSeconds }: Speed, of: Speed | undefined) => {
    const share = (100 * mibPerSecond) / (of?.mibPerSecond ?? mibPerSecond)
    return `${showNumber(mibPerSecond)} (${share.toFixed(0)} %), ${cpuSeconds.toFixed(1)} s`
  }
  return {
    scenario: 'stream',
    title: `1 GiB down, up, and down in ${AT_ONCE} parts at once: MiB a second, the share of what goes without a proxy, and the CPU seconds of the system`,
    columns: ['system', 'down', 'up', `${AT_ONCE} at once`, 'resident before', 'at most', 'growth MiB'],
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
      'Client and upstream share a core: without a proxy both of them are the limit, and with one the proxy is.',
      'Memory and CPU of `direct` are those of the upstream.',
    ],
    data: found,
  }
}

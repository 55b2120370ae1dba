/** Resident memory with many WebSockets that are open and silent. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../../test/support/free-port.ts'
import { startGateway } from '../gateway.ts'
import { OTHER_CORE, Part } from '../part.ts'
import { type Report, showNumber } from '../report.ts'
import type { Settings } from '../settings.ts'

const STEPS = [0, 1_000, 3_000]
const AT_ONCE = 50

export async function websockets(settings: Settings): Promise<Report> {
  await using stack = new AsyncDisposableStack()
  const upstreamPort = await freePort()
  const program = new URL('../websocket-upstream.ts', import.meta.url).pathname
  const upstream = stack.use(
    new Part({
      name: 'websocket-upstream',
      command: [process.execPath, program, String(upstreamPort)],
      core: OTHER_CORE,
    }),
  )
  await upstream.answering(`http://127.0.0.1:${upstreamPort}/`)
  const config = { routes: [{ path: '/api', upstream: `http://127.0.0.1:${upstreamPort}`, maxInFlight: 10_000 }] }
  const gateway = stack.use(
    await startGateway({
      name: 'websockets',
      directory: settings.directory,
      program: settings.builtProgram(),
      upstreamPort,
      config,
    }),
  )
  const [cookie = ''] = gateway.cookies
  const sockets: Socket[] = []
  const resident: number[] = []
  try {
    for (const step of STEPS) {
      settings.progress(`${step} WebSockets`)
      while (sockets.length < step) {
        const count = Math.min(AT_ONCE, step - sockets.length)
        sockets.push(...(await Promise.all(Array.from({ length: count }, () => open(gateway.url, cookie)))))
      }
      // Long enough for what a burst left behind to be collected.
      await wait(2_000)
      resident.push(gateway.part.residentMiB())
    }
  } finally {
    for (const socket of sockets) socket.destroy()
  }
  const [none = 0, some = 0] = resident
  const most = resident.at(-1) ?? 0
  const each = (from: number, to: number, count: number) => showNumber(((to - from) * 1_024) / count, 1)
  return {
    scenario: 'websockets',
    title: 'Resident MiB by open WebSockets',
    columns: ['system', ...STEPS.map((count) => showNumber(count)), 'kB each', `kB each after ${showNumber(1_000)}`],
    rows: [
      [
        'sidegate',
        ...resident.map((value) => showNumber(value)),
        each(none, most, STEPS.at(-1) ?? 1),
        each(some, most, (STEPS.at(-1) ?? 0) - 1_000),
      ],
    ],
    notes: ['The first thousand pay for what V8 keeps in reserve as well.'],
    data: { resident },
  }
}

/** Resolves once the upstream's 101 has come through. */
async function open(url: string, cookie: string): Promise<Socket> {
  const { port, host, origin } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.on('error', () => socket.destroy())
  const fields = [
    'GET /api/socket HTTP/1.1',
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    `Origin: ${origin}`,
    'Sec-Fetch-Site: same-origin',
    `Cookie: ${cookie}`,
  ]
  socket.write(`${fields.join('\r\n')}\r\n\r\n`)
  const [chunk] = (await once(socket, 'data')) as [Buffer] // the `data` event of a socket without an encoding
  const head = chunk.toString('latin1', 0, 60)
  if (!head.startsWith('HTTP/1.1 101')) throw new Error(`a handshake was answered ${head}`)
  socket.resume()
  return socket
}

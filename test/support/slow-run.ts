/** A gateway process among clients that take their time, and what becomes of those that do not. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { startGateway, type Gateway } from '../../bench/gateway.ts'
import { RawUpstream } from './upstream.ts'

export interface SlowRunOptions {
  /** Connections that send a byte of their header fields a second. */
  readonly connections: number
  /** For configuration and log. */
  readonly directory: string
}

export interface SlowReport {
  /** Milliseconds from the first byte until the last of the slow connections was cut; those still open after a minute. */
  readonly cutWithinMs: number
  readonly stillOpen: number
  /** Of well-behaved calls: before, and while the others were there. */
  readonly good: {
    readonly calls: number
    readonly failures: number
    readonly p99BeforeMs: number
    readonly p99Ms: number
  }
  readonly growthMiB: number
}

const HEAD = 'GET /api/x HTTP/1.1\r\nHost: localhost\r\nX-Slow: '
/** Between two calls of each of four well-behaved clients. */
const PAUSE_MS = 20
const PATIENCE_MS = 60_000

export async function slowClients({ connections, directory }: SlowRunOptions): Promise<SlowReport> {
  await using stack = new AsyncDisposableStack()
  const upstream = stack.use(await RawUpstream.start())
  const gateway = stack.use(await startGateway({ name: 'slow', directory, upstreamPort: upstream.port }))
  const before = new GoodClients(gateway)
  await before.callFor(delay(3_000))
  const memoryBefore = gateway.part.residentMiB()

  const startedAt = performance.now()
  const slow = await open(Number(new URL(gateway.url).port), connections)
  stack.defer(() => slow.forEach((socket) => socket.destroy()))
  const drip = setInterval(() => slow.forEach((socket) => socket.writable && socket.write('a')), 1_000)
  let memory = memoryBefore
  const look = setInterval(() => (memory = Math.max(memory, gateway.part.residentMiB())), 500)
  const allCut = Promise.all(slow.map(closed))
  const during = new GoodClients(gateway)
  await during.callFor(Promise.race([allCut, delay(PATIENCE_MS)]))
  clearInterval(drip)
  clearInterval(look)
  return {
    cutWithinMs: Math.round(performance.now() - startedAt),
    stillOpen: slow.filter((socket) => !socket.destroyed).length,
    good: {
      calls: during.tookMs.length,
      failures: before.failures + during.failures,
      p99BeforeMs: percentile99(before.tookMs),
      p99Ms: percentile99(during.tookMs),
    },
    growthMiB: Math.round(memory - memoryBefore),
  }
}

/** Opens them a few hundred at a time: what is looked at is their patience, not the backlog. */
async function open(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(200, count - sockets.length) }, () => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => socket.destroy()).on('close', () => socket.destroy())
      socket.resume()
      return socket
    })
    await Promise.all(batch.map((socket) => once(socket, 'connect')))
    for (const socket of batch) socket.write(HEAD)
    sockets.push(...batch)
  }
  return sockets
}

/** A reset is an end, too. */
async function closed(socket: Socket): Promise<void> {
  if (socket.destroyed) return
  await new Promise((resolve) => socket.once('close', resolve))
}

class GoodClients {
  readonly tookMs: number[] = []
  failures = 0
  readonly #gateway: Gateway

  constructor(gateway: Gateway) {
    this.#gateway = gateway
  }

  /** Four at a time, one call after the other, until this has come to pass. */
  async callFor(end: Promise<unknown>): Promise<void> {
    let isOver = false
    void end.then(() => (isOver = true))
    const call = async (): Promise<void> => {
      while (!isOver) {
        const startedAt = performance.now()
        const headers = { cookie: this.#gateway.cookies[0] ?? '', 'x-csrf': '1' }
        const status = await fetch(`${this.#gateway.url}/api/x`, { headers }).then(
          async (response) => (await response.arrayBuffer(), response.status),
          () => 0,
        )
        if (status !== 200) this.failures += 1
        this.tookMs.push(performance.now() - startedAt)
        await delay(PAUSE_MS)
      }
    }
    await Promise.all([call(), call(), call(), call()])
  }
}

function percentile99(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return Math.round((sorted[Math.floor(sorted.length * 0.99)] ?? 0) * 10) / 10
}

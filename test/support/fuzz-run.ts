/** A gateway process under fire: what it is sent, what reaches the API behind it, and what is left in the end. */
import { createReadStream, readdirSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { signIn, startGateway, type Gateway } from '../../bench/gateway.ts'
import { Dice, fuzzInput } from './fuzz-input.ts'

export interface FuzzOptions {
  readonly seconds: number
  readonly seed: number
  /** For configuration and log of the gateway. */
  readonly directory: string
  readonly connections?: number
  readonly progress?: (text: string) => void
}

export interface FuzzReport {
  readonly inputs: number
  /** How often each status was answered; `-` for connections that closed without an answer. */
  readonly statuses: ReadonlyMap<string, number>
  /** Requests that reached the API. */
  readonly forwarded: number
  /** What must not be, with the input that did it where one did. */
  readonly findings: readonly string[]
  readonly descriptors: { readonly before: number; readonly after: number }
  /** Resident memory in MiB, at even distances, the first when a fifth of the time is over. */
  readonly memory: readonly number[]
  readonly logLines: number
  readonly metricSeries: number
}

/** So long a connection that its client has ended may stay. */
const HANG_MS = 20_000
/** So long a client waits for an answer before it ends its side: most inputs deserve none. */
const PATIENCE_MS = 25
const MOST_FINDINGS = 20
const MOST_RECENT = 48
/** Between a fifth of the time and its end. V8 takes more before it collects, and does not give all of it back. */
const MOST_GROWTH_MIB = 96
const MOST_SERIES = 1_500

export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  await using stack = new AsyncDisposableStack()
  const findings: string[] = []
  const found = (what: string): void => {
    if (findings.length < MOST_FINDINGS) findings.push(what)
  }
  const api = await startApi(found)
  stack.defer(() => api.close())
  const gateway = stack.use(await start(options, api.port))
  const run = new Run(gateway, options, found)

  const descriptorsBefore = countDescriptors(gateway)
  const memory: number[] = []
  const endsAt = performance.now() + options.seconds * 1_000
  const workers = Array.from({ length: options.connections ?? 24 }, (_, index) => run.work(index, endsAt))
  let isOver = false
  const all = Promise.all(workers).finally(() => (isOver = true))
  const lookMs = (options.seconds * 1_000) / 10
  for (let look = 1; !isOver; look += 1) {
    await Promise.race([all, delay(lookMs)])
    if (!gateway.part.isRunning) break
    if (look >= 2 && !isOver) memory.push(Math.round(gateway.part.residentMiB()))
    await run.probe()
    options.progress?.(`${run.inputs} inputs, ${memory.at(-1) ?? 0} MiB, ${findings.length} findings`)
  }
  await all
  if (!gateway.part.isRunning) found(`the gateway has ended; the last inputs were ${JSON.stringify(run.recent)}`)
  const after = gateway.part.isRunning ? await settledDescriptors(gateway, descriptorsBefore) : 0
  const metrics = gateway.part.isRunning ? await (await fetch(`${gateway.managementUrl}/metrics`)).text() : ''
  const logLines = await checkLog(join(options.directory, 'fuzz.log'), found)
  return {
    inputs: run.inputs,
    statuses: run.statuses,
    forwarded: api.count(),
    findings,
    descriptors: { before: descriptorsBefore, after },
    memory,
    logLines,
    metricSeries: metrics.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
  }
}

/** What of it must not be, in words; empty when nothing was found. */
export function judgeFuzz(report: FuzzReport): string[] {
  const { findings, descriptors, memory, inputs, forwarded, metricSeries, statuses } = report
  const complaints = [...findings]
  const growth = (memory.at(-1) ?? 0) - (memory[0] ?? 0)
  if (descriptors.after > descriptors.before + 4) {
    complaints.push(`descriptors leak: ${descriptors.before} before, ${descriptors.after} after`)
  }
  if (growth > MOST_GROWTH_MIB) complaints.push(`memory grew by ${growth} MiB: ${memory.join(' ')}`)
  if (metricSeries > MOST_SERIES) complaints.push(`${metricSeries} metric series: a label takes what clients send`)
  // A gateway that refuses everything is not found to be anything.
  if (forwarded < inputs / 50 || !statuses.has('200')) complaints.push(`only ${forwarded} of ${inputs} came through`)
  return complaints
}

/** Sends inputs and looks after the gateway meanwhile. */
class Run {
  inputs = 0
  /** The last that were sent; any of them may be what did it. */
  readonly recent: string[] = []
  readonly statuses = new Map<string, number>()
  readonly #gateway: Gateway
  readonly #port: number
  readonly #seed: number
  readonly #found: (what: string) => void
  #cookie: string

  constructor(gateway: Gateway, { seed }: FuzzOptions, found: (what: string) => void) {
    this.#gateway = gateway
    this.#port = Number(new URL(gateway.url).port)
    this.#seed = seed
    this.#found = found
    this.#cookie = gateway.cookies[0] ?? ''
  }

  /** One worker: an input after the other, each on a connection of its own. */
  async work(index: number, endsAt: number): Promise<void> {
    const dice = new Dice(this.#seed * 1_000 + index)
    while (performance.now() < endsAt && this.#gateway.part.isRunning) {
      const input = fuzzInput(dice)
      this.inputs += 1
      if (this.recent.push(input) > MOST_RECENT) this.recent.shift()
      const received = await this.#send(Buffer.from(input.replaceAll('{COOKIE}', this.#cookie), 'latin1'), dice)
      if (received === undefined) this.#found(`a connection is still open: ${JSON.stringify(input)}`)
      else this.#judge(input, received)
    }
  }

  /** Whether it is alive, and serves what is good. Inputs may have signed the session out. */
  async probe(): Promise<void> {
    const signal = AbortSignal.timeout(10_000)
    try {
      const health = await fetch(`${this.#gateway.managementUrl}/healthz`, { signal })
      if (health.status !== 200) this.#found(`/healthz answers ${health.status}`)
      const headers = { cookie: this.#cookie, 'x-csrf': '1' }
      const { status } = await fetch(`${this.#gateway.url}/api/probe`, { headers, signal })
      if (status === 401) this.#cookie = await signIn(this.#gateway.url)
      else if (status !== 200 && status !== 503) this.#found(`a well-formed request is answered ${status}`)
    } catch (error) {
      this.#found(`the gateway does not answer: ${String(error)}`)
    }
  }

  #judge(input: string, received: string): void {
    const statuses = [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status ?? '-')
    for (const status of statuses.length > 0 ? statuses : ['-']) {
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    }
    if (statuses.includes('500')) this.#found(`500: ${JSON.stringify(input)}`)
    if (received !== '' && !/^HTTP\/1\.1 \d{3} /.test(received)) {
      this.#found(`no status line: ${JSON.stringify(received.slice(0, 80))} to ${JSON.stringify(input)}`)
    }
  }

  /** What came back; undefined when the connection outlives its client's end. */
  async #send(bytes: Buffer, dice: Dice): Promise<string | undefined> {
    const socket = connect(this.#port, '127.0.0.1')
    let received = ''
    socket.on('error', () => {}) // a reset is a close
    const closed = once(socket, 'close').catch(() => {})
    const answered = new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString('latin1')
        resolve()
      })
    })
    const cut = dice.below(3) === 0 ? dice.below(bytes.length + 1) : 0
    if (cut > 0) {
      socket.write(bytes.subarray(0, cut))
      await Promise.race([delay(1), closed])
    }
    if (!socket.destroyed) socket.write(bytes.subarray(cut))
    await Promise.race([answered, closed, delay(PATIENCE_MS)])
    if (dice.below(4) === 0) {
      socket.destroy()
      return received
    }
    socket.end()
    const isClosed = await Promise.race([closed.then(() => true), delay(HANG_MS, false, { ref: false })])
    socket.destroy()
    return isClosed ? received : undefined
  }
}

interface Api {
  readonly port: number
  count(): number
  close(): void
}

/** Reads as strictly as Node does, and looks at what no request may lack. */
async function startApi(found: (what: string) => void): Promise<Api> {
  let count = 0
  const look = ({ url = '', method, rawHeaders }: IncomingMessage): void => {
    count += 1
    const tokens = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]?.toLowerCase() === 'authorization')
    const isOpen = /^\/v1\/open(?:[/?]|$)/.test(url)
    if (!/^\/(?:v1|w)(?:[/?]|$)/.test(url)) found(`outside of its prefix: ${method} ${url}`)
    if (isOpen ? tokens.length > 0 : tokens.length !== 1 || !(tokens[0] ?? '').startsWith('Bearer eyJ')) {
      found(`${tokens.length} tokens, or a strange one: ${method} ${url}`)
    }
  }
  const server: Server = createServer((request, response: ServerResponse) => {
    look(request)
    request.on('error', () => {}) // the client left in the middle, and the gateway with it
    request.resume().on('end', () => response.end('ok'))
  })
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    look(request)
    socket.on('error', () => socket.destroy())
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
  })
  server.on('clientError', (error: Error & { code?: string }, socket: Socket) => {
    // Broken off, because the client broke off: everything else is bytes that should not have been sent.
    const isCut = ['ECONNRESET', 'EPIPE', 'HPE_INVALID_EOF_STATE'].includes(error.code ?? '')
    if (!isCut) found(`the API cannot read what it gets: ${error.code}`)
    socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port, // listens on TCP
    count: () => count,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

function start({ directory }: FuzzOptions, apiPort: number): Promise<Gateway> {
  const upstream = `http://127.0.0.1:${apiPort}`
  return startGateway({
    name: 'fuzz',
    directory,
    upstreamPort: apiPort,
    // V8 takes what it is given before it collects in earnest: with little, growth is a leak, and a leak an end.
    nodeOptions: ['--max-old-space-size=128'],
    config: {
      routes: [
        { path: '/api/open', upstream, rewrite: '/v1/open', session: 'none' },
        { path: '/api', upstream, rewrite: '/v1', bodyLimit: '1mb' },
        { path: '/ws', upstream, rewrite: '/w' },
      ],
    },
  })
}

function countDescriptors({ part }: Gateway): number {
  return readdirSync(`/proc/${part.pid}/fd`).length
}

/** Waits until kept-alive connections and the last timers have gone, or no longer. */
async function settledDescriptors(gateway: Gateway, before: number): Promise<number> {
  for (let tries = 0; tries < 30 && countDescriptors(gateway) > before; tries += 1) await delay(500)
  return countDescriptors(gateway)
}

/** Each line an object of JSON, none of a failure that we do not know. Resolves how many there are. */
async function checkLog(file: string, found: (what: string) => void): Promise<number> {
  let count = 0
  for await (const line of createInterface({ input: createReadStream(file) })) {
    count += 1
    try {
      const entry = JSON.parse(line) as { code?: string; detail?: string; err?: unknown } // an object, by the next line
      if (typeof entry !== 'object') found(`a line that is no object: ${line}`)
      if (entry.code === 'internal') found(`an unexpected failure: ${line.slice(0, 1_000)}`)
    } catch {
      found(`a line that is no JSON: ${line.slice(0, 300)}`)
    }
  }
  return count
}

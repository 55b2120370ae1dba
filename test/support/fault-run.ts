/** A gateway process whose `await`s throw at random while it is used, and what is left of it afterwards. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import { createReadStream, existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { signIn, startGateway, type Gateway } from '../../bench/gateway.ts'
import { awaitedInSource } from './awaited.ts'
import { Dice } from './fuzz-input.ts'
import { RawClient } from './raw-client.ts'
import { startRedis } from './redis.ts'

export interface FaultRunOptions {
  readonly seconds: number
  readonly seed: number
  /** For configuration, log and counts. */
  readonly directory: string
}

export interface FaultReport {
  readonly requests: number
  readonly faults: number
  /** How many different places threw. */
  readonly places: number
  readonly statuses: ReadonlyMap<string, number>
  /** What must not be. */
  readonly findings: readonly string[]
}

/** Small, so that a place that is never given back is missed. */
const PLACES = 8
const ANSWER_MS = 20_000
const MOST_FINDINGS = 20

export async function injectFaults({ seconds, seed, directory }: FaultRunOptions): Promise<FaultReport> {
  await using stack = new AsyncDisposableStack()
  const redis = stack.use(await startRedis())
  const api = await startApi()
  stack.defer(() => api.close())
  const file = join(directory, 'faults.json')
  const placesFile = join(directory, 'places.json')
  writeFileSync(placesFile, JSON.stringify(awaitedInSource()))
  const gateway = stack.use(
    await startGateway({
      name: 'faults',
      directory,
      upstreamPort: api.port,
      redisUrl: redis.url,
      nodeOptions: ['--import', new URL('fault-hooks.ts', import.meta.url).href],
      env: { FAULT_SEED: String(seed), FAULT_FILE: file, FAULT_PLACES: placesFile },
      config: {
        routes: [
          { path: '/api', upstream: api.url, maxInFlight: PLACES },
          { path: '/ws', upstream: api.url },
          { path: '/page', upstream: api.url, session: 'login' },
          { path: '/', spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname }, session: 'none' },
        ],
      },
    }),
  )
  const run = new FaultRun(gateway, seed)
  process.kill(gateway.part.pid, 'SIGUSR2')
  const endsAt = performance.now() + seconds * 1_000
  await Promise.all(Array.from({ length: 12 }, (_, index) => run.work(index, endsAt)))
  if (gateway.part.isRunning) {
    process.kill(gateway.part.pid, 'SIGUSR2')
    while (!existsSync(file)) await delay(20)
    await run.isWhole(api)
  } else {
    run.found(`the gateway has ended: ${readFileSync(join(directory, 'faults.log'), 'utf8').slice(-3_000)}`)
  }
  for (const line of await fatalLines(join(directory, 'faults.log'))) run.found(line)
  const places = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as [string, number][]) : [] // fault-hooks.ts
  return {
    requests: run.requests,
    faults: places.reduce((sum, [, count]) => sum + count, 0),
    places: places.length,
    statuses: run.statuses,
    findings: run.findings,
  }
}

class FaultRun {
  requests = 0
  readonly statuses = new Map<string, number>()
  readonly findings: string[] = []
  readonly #gateway: Gateway
  readonly #seed: number
  #cookie: string

  constructor(gateway: Gateway, seed: number) {
    this.#gateway = gateway
    this.#seed = seed
    this.#cookie = gateway.cookies[0] ?? ''
  }

  found(what: string): void {
    if (this.findings.length < MOST_FINDINGS) this.findings.push(what)
  }

  async work(index: number, endsAt: number): Promise<void> {
    const dice = new Dice(this.#seed * 100 + index)
    while (performance.now() < endsAt && this.#gateway.part.isRunning) {
      const kind = dice.below(14)
      this.requests += 1
      if (kind === 0) await this.#handshake()
      else if (kind === 1) await this.#listen()
      else if (kind === 2 && dice.below(8) === 0) await this.#signInAgain()
      else await this.#ask(...dice.of(this.#usual()))
    }
  }

  /** Everything works again, all places are there, and no stream is left open. */
  async isWhole(api: Api): Promise<void> {
    try {
      this.#cookie = await signIn(this.#gateway.url)
      const release = api.hold()
      const all = Array.from({ length: PLACES }, () => this.#fetch('/api/held', {}))
      await Promise.race([api.held(PLACES), delay(ANSWER_MS).then(() => this.found('places were never given back'))])
      release()
      for (const { status } of await Promise.all(all)) if (status !== 200) this.found(`afterwards ${status}`)
      for (let tries = 0; (await this.#openStreams()) > 0; tries += 1) {
        if (tries > 100) return this.found('streams are counted that nobody has')
        await delay(100)
      }
    } catch (error) {
      this.found(`afterwards ${String(error)}`)
    }
  }

  #usual(): readonly (readonly [path: string, init: RequestInit])[] {
    const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'same-origin' }
    return [
      ['/api/x', {}],
      ['/api/x', { method: 'POST', body: 'x'.repeat(20_000) }],
      ['/api/refused', {}],
      ['/api/gone', {}],
      ['/bff/session', {}],
      ['/bff/user?anonymous=200', {}],
      ['/bff/sessions', {}],
      ['/bff/session/refresh', { method: 'POST' }],
      ['/bff/login?returnTo=/x', { headers: navigation }],
      ['/bff/callback?code=a&state=b', { headers: navigation }],
      ['/bff/logout?t=x', { headers: navigation }],
      ['/bff/backchannel-logout', { method: 'POST', body: new URLSearchParams({ logout_token: 'e.e.e' }) }],
      ['/page/x', { headers: { ...navigation, cookie: '' } }],
      ['/', {}],
      ['/nothing', { headers: { accept: 'text/html' } }],
    ]
  }

  async #ask(path: string, init: RequestInit): Promise<void> {
    try {
      const { status } = await this.#fetch(path, init)
      this.#count(String(status))
    } catch (error) {
      this.#count('-')
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : ''
      if (this.#gateway.part.isRunning)
        this.found(`no answer: ${init.method ?? 'GET'} ${path}: ${String(error)} ${cause}`)
    }
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = { cookie: this.#cookie, 'x-csrf': '1', ...(init.headers as Record<string, string> | undefined) }
    const signal = AbortSignal.timeout(ANSWER_MS)
    const response = await fetch(this.#gateway.url + path, { redirect: 'manual', ...init, headers, signal })
    await response.arrayBuffer()
    return response
  }

  /** A handshake, whose socket is closed once something has come. */
  async #handshake(): Promise<void> {
    const connected = await RawClient.connect(Number(new URL(this.#gateway.url).port)).catch(() => undefined)
    if (!connected) return this.found('a connection is refused')
    using client = connected
    const lines = [`Cookie: ${this.#cookie}`, 'X-CSRF: 1', 'Connection: Upgrade', 'Upgrade: websocket']
    const key = ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
    client.send(['GET /ws/x HTTP/1.1', 'Host: a', ...lines, ...key, '', ''].join('\r\n'))
    const isAnswered = await Promise.race([
      client.until(() => client.isClosed || client.received.length > 0).then(() => true),
      delay(ANSWER_MS, false),
    ])
    if (!isAnswered) this.found('a handshake hangs')
  }

  /** Event streams of ours and of the API, left by the client. */
  async #listen(): Promise<void> {
    for (const path of ['/bff/session/events', '/api/events']) {
      const abort = new AbortController()
      const signal = AbortSignal.any([abort.signal, AbortSignal.timeout(ANSWER_MS)])
      const headers = { cookie: this.#cookie, 'x-csrf': '1' }
      const response = await fetch(this.#gateway.url + path, { headers, signal }).catch(() => undefined)
      if (response) this.#count(String(response.status))
      abort.abort()
      await response?.arrayBuffer().catch(() => {})
    }
  }

  /** Most attempts fail somewhere. */
  async #signInAgain(): Promise<void> {
    await Promise.race([
      signIn(this.#gateway.url).then(
        (cookie) => (this.#cookie = cookie),
        () => {},
      ),
      delay(ANSWER_MS, undefined, { ref: false }),
    ])
  }

  async #openStreams(): Promise<number> {
    const metrics = await (await fetch(`${this.#gateway.managementUrl}/metrics`)).text()
    return [...metrics.matchAll(/^sidegate_open_streams\{.*\} (\d+)$/gm)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    )
  }

  #count(status: string): void {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
  }
}

interface Api {
  readonly port: number
  readonly url: string
  /** Answers nothing until the returned function is called. */
  hold(): () => void
  held(count: number): Promise<void>
  close(): void
}

async function startApi(): Promise<Api> {
  const waiting: ServerResponse[] = []
  let isHeld = false
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    request.on('error', () => {}) // the gateway gave up
    request.resume()
    if (isHeld) return void waiting.push(response)
    if (request.url?.endsWith('/gone')) return void response.destroy()
    if (request.url?.endsWith('/events')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      return
    }
    if (request.url?.endsWith('/refused')) {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
      return
    }
    request.on('end', () => response.end('ok'))
  }
  const server = createServer(answer)
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // listens on TCP
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    hold: () => {
      isHeld = true
      return () => {
        isHeld = false
        for (const response of waiting.splice(0)) response.end('ok')
      }
    },
    held: async (count) => {
      while (waiting.length < count) await delay(10)
    },
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Lines of the log by which the process says that it is no longer sure of itself. */
async function fatalLines(file: string): Promise<string[]> {
  const found: string[] = []
  for await (const line of createInterface({ input: createReadStream(file) })) {
    if (/unhandled|uncaught|"level":"?(?:fatal|60)/i.test(line)) found.push(line.slice(0, 1_000))
  }
  return found
}

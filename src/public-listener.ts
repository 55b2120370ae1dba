/**
 * The public listener: its connections stay while the gateway behind them is exchanged, so that a reload loses
 * nothing. A request belongs to the gateway that was in force when it came, until its end: so do event streams and
 * WebSockets. A gateway that has been replaced is closed once the last of them has gone.
 */
import { once } from 'node:events'
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { createSecureContext, Server as TlsServer } from 'node:tls'
import type { Config } from './config/schema.ts'
import { listeningAddress } from './http/listening-address.ts'
import { lineHasEnded, watchRequestLines } from './http/request-line.ts'
import { clearStaleSocket } from './http/unix-socket.ts'
import { takesUpgrade } from './proxy/websocket.ts'
import type { Log } from './telemetry/log.ts'

/** What a gateway needs to be for this listener. */
export interface Replaceable {
  /** Its `server` listens nowhere; requests are handed to it. */
  readonly app: { readonly server: Server; close(): PromiseLike<unknown> }
  drain(): void
  closeStreams(): void
}

/** How long a client may take for its header fields (slow-loris). A body has its own limits. */
const HEADERS_TIMEOUT_MS = 10_000
/** Longer than the idle time of the usual load balancers (60 s), so that it is they who close. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000
/** A replaced gateway looks so often for requests that ended without a word. */
const LOOK_MS = 1_000

type Tls = { readonly cert: string; readonly key: string }

/** Made once; `use` before `listen`. */
export class PublicListener {
  readonly #server: Server
  readonly #log: Log
  readonly #connections = new Set<Duplex>()
  readonly #generations = new Set<Generation>()
  #current: Generation | undefined
  #requests = 0
  #isDraining = false
  #isClosing = false

  /** @throws Error when the certificate or its key cannot be used */
  constructor(listen: Config['listen'], log: Log) {
    this.#log = log
    this.#server = createServer(listen)
    watchRequestLines(this.#server)
    const connections = this.#connections
    // One function for all of them, since many may be idle.
    function forget(this: Duplex): void {
      connections.delete(this)
    }
    this.#server.on('connection', (socket: Duplex) => {
      connections.add(socket)
      socket.on('close', forget)
    })
    this.#server.on('request', (raw: IncomingMessage, response: ServerResponse) => {
      this.#take('request', raw, response)
    })
    this.#server.on('checkContinue', (raw: IncomingMessage, response: ServerResponse) => {
      lineHasEnded(raw, response)
      this.#take('checkContinue', raw, response)
    })
    // Node would answer 417 by itself; the judge refuses it as what it is, and it is logged and counted.
    this.#server.on('checkExpectation', (raw: IncomingMessage, response: ServerResponse) => {
      lineHasEnded(raw, response)
      this.#take('request', raw, response)
    })
    this.#server.on('upgrade', (raw: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#current?.takeUpgrade(raw, socket, head)
    })
    this.#server.on('clientError', (error: Error, socket: Duplex) => {
      this.#current?.gateway.app.server.emit('clientError', error, socket)
    })
  }

  #take(event: 'request' | 'checkContinue', raw: IncomingMessage, response: ServerResponse): void {
    this.#requests += 1
    this.#current?.takeRequest(event, raw, response)
  }

  /** How many have come since the start. */
  get requests(): number {
    return this.#requests
  }

  /** Hands what comes from now on to this gateway. Resolves when the one before has ended all that it had begun. */
  async use(gateway: Replaceable): Promise<void> {
    const before = this.#current
    this.#current = new Generation(gateway, () => this.#onAnswered())
    this.#generations.add(this.#current)
    if (this.#isDraining) gateway.drain()
    if (!before) return
    await before.ended()
    await this.#close(before)
  }

  async listen({ socket, host, port }: Config['listen']): Promise<void> {
    if (socket !== undefined) await clearStaleSocket(socket)
    const listening = once(this.#server, 'listening')
    this.#server.listen(socket === undefined ? { host, port } : { path: socket })
    await listening
  }

  /** Where it listens: a URL, or the path of a socket. */
  get address(): string {
    return listeningAddress(this.#server)
  }

  /** New connections are greeted with this certificate. */
  useCertificate(tls: Tls): void {
    if (this.#server instanceof TlsServer) this.#server.setSecureContext(tls)
  }

  /** Requests whose answer has not begun. */
  get waiting(): number {
    let count = 0
    for (const generation of this.#generations) count += generation.waiting
    return count
  }

  /** From now on every answer asks its client to connect anew. */
  drain(): void {
    this.#isDraining = true
    for (const { gateway } of this.#generations) gateway.drain()
  }

  /** Accepts nothing more; what is under way ends within the grace, streams are closed, what is left is cut. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true
    this.drain()
    const cut = setTimeout(() => {
      for (const socket of this.#connections) socket.destroy()
    }, graceMs)
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined
    if (closed) this.#server.close()
    this.#server.closeIdleConnections()
    for (const { gateway } of this.#generations) gateway.closeStreams()
    await closed
    clearTimeout(cut)
    await Promise.all([...this.#generations].map((generation) => this.#close(generation)))
  }

  /** What was under way when the end began leaves its connection open, and nobody asks anything on it any more. */
  #onAnswered(): void {
    if (this.#isClosing) setImmediate(() => this.#server.closeIdleConnections())
  }

  async #close(generation: Generation): Promise<void> {
    if (!this.#generations.delete(generation)) return
    try {
      await generation.gateway.app.close()
    } catch (error) {
      this.#log.error({ err: error }, 'a gateway that has ended could not be closed')
    }
  }
}

/** @throws Error for a certificate and a key that cannot be used, or not together */
export function checkCertificate(tls: Tls): void {
  createSecureContext(tls)
}

function createServer({ tls, maxHeaderSize }: Config['listen']): Server {
  const options = {
    maxHeaderSize,
    insecureHTTPParser: false,
    // Limits are looked at this often; Node's 30 s would make each of them late.
    connectionsCheckingInterval: 2_000,
    headersTimeout: HEADERS_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // Whole uploads may take long; what is idle is cut by the proxy's own limits.
    requestTimeout: 0,
    shouldUpgradeCallback: takesUpgrade,
  }
  const server =
    tls?.cert && tls.key ? https.createServer({ ...options, cert: tls.cert, key: tls.key }) : http.createServer(options)
  // Of more fields Node would silently drop some: the judge counts them instead.
  server.maxHeadersCount = 0
  return server
}

/** A gateway and what it has begun. */
class Generation {
  readonly gateway: Replaceable
  /** Answers that are under way and sockets that were upgraded. */
  readonly #underWay = new Set<ServerResponse | Duplex>()
  readonly #onAnswered: () => void

  constructor(gateway: Replaceable, onAnswered: () => void) {
    this.gateway = gateway
    this.#onAnswered = onAnswered
  }

  takeRequest(event: 'request' | 'checkContinue', raw: IncomingMessage, response: ServerResponse): void {
    this.#underWay.add(response)
    response.once('close', () => {
      this.#underWay.delete(response)
      this.#onAnswered()
    })
    this.gateway.app.server.emit(event, raw, response)
  }

  takeUpgrade(raw: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#underWay.add(socket)
    socket.once('close', () => this.#underWay.delete(socket))
    this.gateway.app.server.emit('upgrade', raw, socket, head)
  }

  get waiting(): number {
    let count = 0
    for (const one of this.#underWay) if ('headersSent' in one && !one.headersSent) count += 1
    return count
  }

  /** Resolves when everything that was begun has ended; for one that gets nothing more. */
  async ended(): Promise<void> {
    while (this.#underWay.size > 0) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS).unref())
      // An answer that waited behind another on its connection hears of no end when that breaks off.
      for (const one of this.#underWay) if ('req' in one && one.req.socket.destroyed) this.#underWay.delete(one)
    }
  }
}

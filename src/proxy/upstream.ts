/**
 * One application behind the gateway: its connections, how many requests may be there at a time, and whether it can
 * be reached at all. A stuck upstream fills its own places and nobody else's.
 */
import { buildConnector, type Dispatcher, Pool } from 'undici'
import type { RouteConfig } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import { connectOptions, type UpstreamAddress, upstreamAddress } from './upstream-address.ts'

/** Whoever waits for a place. Exactly one of the two is called, once, unless it has left the queue before. */
export interface Waiter {
  admitted(): void
  refused(error: BffError): void
}

/** The parts of a route's configuration by which two routes share one upstream. */
export type UpstreamConfig = Pick<RouteConfig, 'tls' | 'http2' | 'timeout' | 'maxInFlight'>

/** A header block of an answer over this is refused: it would not fit the limits of the browser's side either. */
const MAX_RESPONSE_HEADERS = 16_384
/** Below the 5 s after which Node servers close an idle connection; `Keep-Alive: timeout=` of an upstream shortens it. */
const KEEP_ALIVE_MS = 4_000
/** This many connections in a row that could not be made open the circuit. */
const FAILURES_TO_OPEN = 10
/** While the circuit is open one request in this time goes through, to see. */
const PROBE_EVERY_MS = 1_000

/** Connections, places and circuit of one upstream. Made once, closed with the gateway. */
export class Upstream {
  readonly address: UpstreamAddress
  readonly #pool: Pool
  /** A handshake needs HTTP/1.1, also where requests go by HTTP/2. */
  readonly #upgrades: Pool
  readonly #maxInFlight: number
  readonly #queueMs: number
  readonly #now: () => number
  readonly #waiting = new Map<Waiter, NodeJS.Timeout>()
  #inFlight = 0
  /** Requests that have been dispatched and have no connection yet. */
  #unconnected = 0
  #failures = 0
  #probeAt = 0

  constructor(upstream: string, config: UpstreamConfig, now: () => number) {
    this.address = upstreamAddress(upstream, config)
    this.#maxInFlight = config.maxInFlight
    this.#queueMs = config.timeout.connect
    this.#now = now
    const options: Pool.Options = {
      // The places bound the connections; a queue of undici's own would have no bound.
      connections: null,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: 60_000,
      maxHeaderSize: MAX_RESPONSE_HEADERS,
      // An exchange counts its own times: undici's first byte would count from the first byte of the request.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: this.#connector(connectOptions(this.address, config), config.http2),
    }
    this.#pool = new Pool(this.address.origin, { ...options, allowH2: config.http2 })
    this.#upgrades = config.http2
      ? new Pool(this.address.origin, {
          ...options,
          connect: this.#connector(connectOptions(this.address, config), false),
        })
      : this.#pool
  }

  /** For @fastify/reply-from, which would else make an agent of its own that verifies no certificate. */
  get dispatcher(): Dispatcher {
    return this.#pool
  }

  /**
   * Takes a place, or waits for one as long as a connection may take. `admitted` may be called at once.
   * Whoever was admitted calls `leave` once.
   */
  enter(waiter: Waiter): void {
    if (this.#isOpen()) {
      waiter.refused(
        new BffError('overloaded', 'the upstream cannot be reached; one request a second looks again', {
          retryAfterSeconds: 1,
        }),
      )
    } else if (this.#inFlight < this.#maxInFlight) {
      this.#inFlight += 1
      waiter.admitted()
    } else if (this.#waiting.size >= this.#maxInFlight) {
      waiter.refused(overloaded('all places and the queue are taken'))
    } else {
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter)
        waiter.refused(overloaded('no place came free in time'))
      }, this.#queueMs)
      this.#waiting.set(waiter, timer)
    }
  }

  /** Gives up waiting. */
  stopWaiting(waiter: Waiter): void {
    clearTimeout(this.#waiting.get(waiter))
    this.#waiting.delete(waiter)
  }

  /** Gives a place to the one who has waited longest. */
  leave(): void {
    const [next] = this.#waiting.keys()
    if (next === undefined) {
      this.#inFlight -= 1
      return
    }
    this.stopWaiting(next)
    next.admitted()
  }

  /** After this exactly one of `connected`, `connectFailed` and `abandoned` is called. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#unconnected += 1
    const pool = options.upgrade ? this.#upgrades : this.#pool
    pool.dispatch(options, handler)
  }

  /** A request got a connection: the circuit closes. */
  connected(): void {
    this.#unconnected -= 1
    this.#failures = 0
  }

  /** A connection could not be made. */
  connectFailed(): void {
    this.#unconnected -= 1
    this.#failures += 1
    if (this.#failures === FAILURES_TO_OPEN) this.#probeAt = this.#now() + PROBE_EVERY_MS
  }

  /** A request was given up before it had a connection. */
  abandoned(): void {
    this.#unconnected -= 1
  }

  async close(): Promise<void> {
    for (const waiter of [...this.#waiting.keys()]) {
      this.stopWaiting(waiter)
      waiter.refused(overloaded('the gateway stops'))
    }
    await Promise.all([this.#pool.destroy(), this.#upgrades.destroy()])
  }

  /**
   * Checks the certificate against the upstream's configured name: undici would take it from the `Host` field, which
   * with `preserveHost` is the public one. And makes no connection that nobody waits for: undici replaces that of a
   * request that was aborted, so that clients that leave would open connections to an upstream that is stuck.
   */
  #connector(options: buildConnector.BuildOptions, allowH2: boolean): buildConnector.connector {
    const connect = buildConnector({ ...options, allowH2 })
    const { serverName } = this.address
    return (target, callback) => {
      if (this.#unconnected <= 0) queueMicrotask(() => callback(new Error('nobody waits for a connection'), null))
      else connect(serverName === undefined ? target : { ...target, servername: serverName }, callback)
    }
  }

  #isOpen(): boolean {
    if (this.#failures < FAILURES_TO_OPEN) return false
    const now = this.#now()
    if (now < this.#probeAt) return true
    this.#probeAt = now + PROBE_EVERY_MS
    return false
  }
}

function overloaded(detail: string): BffError {
  return new BffError('overloaded', detail, { retryAfterSeconds: 1 })
}

/** One `Upstream` for all routes whose connections are made alike. */
export class Upstreams {
  readonly #byKey = new Map<string, Upstream>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  for(upstream: string, config: UpstreamConfig): Upstream {
    const { tls, http2, timeout, maxInFlight } = config
    const key = JSON.stringify([upstream, tls, http2, timeout.connect, maxInFlight])
    let found = this.#byKey.get(key)
    if (!found) {
      found = new Upstream(upstream, config, this.#now)
      this.#byKey.set(key, found)
    }
    return found
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byKey.values()].map((upstream) => upstream.close()))
  }
}

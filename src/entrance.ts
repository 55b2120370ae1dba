/**
 * Where requests come in, and are judged. What goes to an upstream by a path that has one reading is sent on from here:
 * the framework would look for its route once more, and make things of it that nobody asks for. The rest is the
 * framework's, with its judgment: our own endpoints, files, paths with more than one reading, refusals.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { DirectCall, type DirectCallOptions } from './http/call.ts'
import { corsHeaders } from './http/cors.ts'
import type { FrontDoor } from './http/front-door.ts'
import type { Judge, Judged, Place } from './http/judge.ts'
import type { RequestAccount } from './http/request-account.ts'
import type { ProxiedRoute } from './proxy/proxied-route.ts'
import { deliver, type ProxyOptions } from './proxy/proxy.ts'
import { isHandshake } from './proxy/websocket.ts'

/** What sending on needs. */
export interface DirectOptions extends DirectCallOptions {
  readonly proxied: ReadonlyMap<Place, ProxiedRoute>
  readonly proxy: ProxyOptions
  readonly account: Pick<RequestAccount, 'answered'>
}

export interface EntranceOptions {
  readonly door: Pick<FrontDoor, 'lets'>
  readonly judge: Pick<Judge<Place>, 'judge'>
  readonly corsOrigins: readonly string[]
  readonly isDraining: () => boolean
  /** Left out where the framework's hooks are to see every request. */
  readonly direct?: DirectOptions | undefined
}

type Judgment = { readonly judged: Judged } | { readonly refusal: unknown }
type Handler = (raw: IncomingMessage, response: ServerResponse) => void

interface Arrival {
  readonly raw: IncomingMessage
  readonly response: ServerResponse
  readonly framework: Handler
  /** Monotonic, in ms. */
  readonly at: number
}

/** Made once for a gateway. */
export class Entrance {
  readonly #options: EntranceOptions
  /** Of requests that went on to the framework. */
  readonly #judgments = new WeakMap<IncomingMessage, Judgment>()
  /** Clients that send their body once they have been told that they may. */
  readonly #expecting = new WeakSet<IncomingMessage>()

  constructor(options: EntranceOptions) {
    this.#options = options
  }

  /** Notes that a refusal is to come before the body does (RFC 9110 §10.1.1). */
  expectsContinue(raw: IncomingMessage): void {
    this.#expecting.add(raw)
  }

  /** @param framework gets what is neither turned away nor sent on from here; its hook asks `judge` */
  take(raw: IncomingMessage, response: ServerResponse, framework: Handler): void {
    const { door, isDraining, corsOrigins, direct } = this.#options
    if (!door.lets(raw, response)) return
    if (isDraining()) response.shouldKeepAlive = false
    if (corsOrigins.length > 0) {
      for (const [name, value] of Object.entries(corsHeaders(raw.headers.origin, corsOrigins))) {
        response.setHeader(name, value)
      }
    }
    if (direct) this.#judgeHere({ raw, response, framework, at: performance.now() }, direct)
    else framework(raw, response)
  }

  /**
   * The judgment on a request, made before or now.
   *
   * @throws BffError of a refusal, or rejects with it
   */
  judge(raw: IncomingMessage): Judged | Promise<Judged> {
    const known = this.#judgments.get(raw)
    if (known === undefined) return this.#options.judge.judge(raw, isHandshake(raw) ? 'websocket' : 'request')
    if ('refusal' in known) throw known.refusal
    return known.judged
  }

  /** For a request that has been judged, before anybody acts on it. */
  letPass(raw: IncomingMessage, response: ServerResponse, { verdict, path }: Judged): void {
    // An absolute form (RFC 9112 §3.2.2) has been judged; what stands behind reads paths.
    if (!raw.url?.startsWith('/')) raw.url = path.path + path.query
    if (verdict === 'pass' && this.#expecting.has(raw)) response.writeContinue()
  }

  #judgeHere(arrival: Arrival, direct: DirectOptions): void {
    let judged
    try {
      judged = this.judge(arrival.raw)
    } catch (refusal) {
      this.#handOver(arrival, { refusal })
      return
    }
    if (judged instanceof Promise) {
      judged.then(
        (late) => this.#proceed(arrival, late, direct),
        (refusal: unknown) => this.#handOver(arrival, { refusal }),
      )
    } else this.#proceed(arrival, judged, direct)
  }

  #proceed(arrival: Arrival, judged: Judged, direct: DirectOptions): void {
    const { proxied, proxy, account } = direct
    const route = proxied.get(judged.place)
    if (!route || judged.verdict !== 'pass' || judged.path.readings.length > 0) {
      this.#handOver(arrival, { judged })
      return
    }
    const { raw, response, at } = arrival
    this.letPass(raw, response, judged)
    const call = new DirectCall(raw, response, randomUUID(), direct)
    let isOver = false
    const over = (): void => {
      if (!isOver) account.answered(call, judged, performance.now() - at)
      isOver = true
    }
    response.on('finish', over).on('error', over)
    deliver(call, judged, route, proxy)
  }

  #handOver({ raw, response, framework }: Arrival, judgment: Judgment): void {
    this.#judgments.set(raw, judgment)
    framework(raw, response)
  }
}

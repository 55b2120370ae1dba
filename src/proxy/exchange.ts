/**
 * One request on its way to an upstream and the answer on its way back.
 *
 * This is the hot path, and the only place that takes an answer over: its bytes go from undici's parser straight into
 * the client's socket. Fastify's stream send and undici's body stream cost about a third of the throughput of a
 * small answer. What they did must therefore be done here: back-pressure, a client that leaves, an upstream that
 * breaks off, headers flushed before the body comes.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import { BffError } from '../errors.ts'
import type { Call } from '../http/call.ts'
import type { UpstreamSpan } from '../http/request-spans.ts'
import { type AnswerSource, ClientAnswer } from './client-answer.ts'
import type { RequestOwner } from './open-streams.ts'
import { discardRest, hasBody, RequestBody } from './request-body.ts'
import type { ProxiedRoute } from './proxied-route.ts'
import { failureOf, isConnectFailure } from './upstream-failure.ts'
import type { Upstream, Waiter } from './upstream.ts'

/** May be sent again by whoever did not get an answer (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** What is to be done in place of handing an answer on; called once the exchange has let go of everything. */
export type Instead = (() => void) | undefined

/** What was judged of the request. */
export interface ExchangeFacts {
  /** Path and query for the upstream. */
  readonly target: string
  /** The session or token that was used, if one was. */
  readonly owner: RequestOwner | null
  readonly fields: string[]
  readonly span?: UpstreamSpan | undefined
  /** For a handshake: called with the fields of the upstream's 101 and its socket; may throw a BffError. */
  readonly onUpgrade?: (raw: Buffer[], upstream: Duplex) => void
  /**
   * Looks at the head of an answer before anything of it is handed on. It may take its time, for which the answer is
   * held; a BffError is the answer then.
   */
  readonly instead?: (status: number, raw: readonly Buffer[]) => Instead | Promise<Instead>
}

/** undici's handler for one request. Made, `start`ed, forgotten. */
export class Exchange implements Dispatcher.DispatchHandler, Waiter, AnswerSource {
  readonly #route: ProxiedRoute
  readonly #upstream: Upstream
  readonly #call: Call
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #facts: ExchangeFacts
  readonly #body: RequestBody | null
  #phase: 'waiting' | 'asking' | 'holding' | 'answering' | 'over' = 'waiting'
  #isRetry = false
  #isConnected = false
  #isSent = false
  #answer: ClientAnswer | undefined
  /** What became of the answer while it was held. */
  #heldEnd: 'whole' | Error | undefined
  #startedAt = 0
  #timer: NodeJS.Timeout | undefined
  #abort: ((error?: Error) => void) | undefined
  #resume: (() => void) | undefined
  #stopWatching: (() => void) | undefined
  #closing: ServerResponse | Socket | undefined
  readonly #onClose = (): void => this.#clientClosed()

  constructor(route: ProxiedRoute, call: Call, facts: ExchangeFacts) {
    const { raw, response } = call
    this.#route = route
    this.#upstream = route.upstream
    this.#call = call
    this.#request = raw
    this.#response = response
    this.#facts = facts
    this.#body = hasBody(raw)
      ? new RequestBody(raw, { limit: route.config.bodyLimit, onLastByte: () => this.onRequestSent() })
      : null
  }

  start(): void {
    // The client may have left while its session was looked up: without this it would take a place for nothing.
    if (this.#response.destroyed || this.#request.socket.destroyed) {
      this.#phase = 'over'
      this.#facts.span?.failed()
      this.#call.takeOver()
      return
    }
    // A pipelined request's answer has no socket yet and would never hear that it closed. As many as a client
    // pipelines may listen to it at once.
    this.#closing = this.#response.socket ? this.#response : this.#request.socket.setMaxListeners(0)
    this.#closing.on('close', this.#onClose)
    this.#upstream.enter(this)
  }

  admitted(): void {
    this.#phase = 'asking'
    this.#startedAt = performance.now()
    this.#timer = setTimeout(noFirstByte, this.#route.config.timeout.firstByte, this)
    this.#dispatch()
  }

  refused(error: BffError): void {
    this.#fail(error)
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#isConnected = true
    this.#upstream.connected()
    if (this.#phase === 'over') abort()
    else this.#abort = abort
  }

  /** All of the request is out: the time for the first byte begins to count. */
  onRequestSent(): void {
    if (this.#isSent) return
    this.#isSent = true
    if (this.#phase === 'asking') this.#timer?.refresh()
  }

  onHeaders(status: number, raw: Buffer[], resume: () => void): boolean {
    // Interim answers (103) are not handed on; a 101 that nobody asked for is no HTTP any more.
    if (status < 200 && status !== 101) return true
    if (this.#phase !== 'asking') return false
    if (status > 599 || status === 101)
      throw new BffError('upstream_unavailable', 'the answer has a status that HTTP does not know')
    this.#route.observe(performance.now() - this.#startedAt)
    this.#facts.span?.answered(status)
    const instead = this.#facts.instead?.(status, raw)
    if (instead === undefined) {
      this.#beginAnswer(status, raw, resume)
      return true
    }
    if (instead instanceof Promise) void this.#hold(status, raw, resume, instead)
    else this.#giveWay(instead)
    return false
  }

  /** Nothing is read on meanwhile. Whoever decides has a time of its own, and a client that leaves is heard. */
  async #hold(status: number, raw: Buffer[], resume: () => void, decision: Promise<Instead>): Promise<void> {
    clearTimeout(this.#timer)
    this.#phase = 'holding'
    try {
      const instead = await decision
      if (this.#hasLeft()) return
      if (instead) {
        this.#giveWay(instead)
        return
      }
      if (this.#heldEnd instanceof Error) throw failureOf(this.#heldEnd)
      this.#beginAnswer(status, raw, resume)
      if (this.#heldEnd === 'whole') this.onComplete()
      else resume()
    } catch (error) {
      if (this.#hasLeft()) return
      const abort = this.#abort
      this.#fail(error instanceof BffError ? error : new BffError('internal', undefined, { cause: error }))
      abort?.()
    }
  }

  /** A question by call: what was assigned before an `await` may be otherwise behind it. */
  #hasLeft(): boolean {
    return this.#phase === 'over'
  }

  #giveWay(instead: () => void): void {
    const abort = this.#abort
    this.#release()
    process.nextTick(instead)
    abort?.()
  }

  #beginAnswer(status: number, raw: readonly Buffer[], resume: () => void): void {
    const fields = this.#route.responseHeaders.build(raw, this.#facts.owner !== null, ownVary(this.#response))
    const answer = new ClientAnswer(this.#response, this, this.#route.config.timeout.idle)
    // RFC 9110 §8.6: whoever believed a length here would take it off the next answer.
    answer.writeHead(status, status === 204 ? withoutLength(fields) : fields)
    this.#call.takeOver()
    this.#answer = answer
    this.#resume = resume
    clearTimeout(this.#timer)
    this.#phase = 'answering'
    // Whole with its head. undici would wait for the length that a 304 may tell, and break off when nothing came.
    if (status === 204 || status === 304) {
      this.onComplete()
      return
    }
    const length = fieldOf(fields, 'content-length')
    answer.begin(length === undefined ? undefined : Number(length))
    if (/^text\/event-stream\b/i.test(fieldOf(fields, 'content-type') ?? '')) this.#becomeStream()
  }

  /** A joined pair of sockets holds no place: it lives for hours, and has limits of its own. */
  onUpgrade(status: number, raw: Buffer[], upstream: Duplex): void {
    if (this.#phase !== 'asking') {
      upstream.destroy()
      return
    }
    this.#facts.span?.answered(status)
    this.#route.observe(performance.now() - this.#startedAt)
    this.#release()
    try {
      this.#facts.onUpgrade?.(raw, upstream)
    } catch (error) {
      upstream.destroy()
      this.#call.fail(error)
    }
  }

  onData(chunk: Buffer): boolean {
    return this.#phase === 'answering' && this.#answer?.write(chunk) === true
  }

  /** Trailers are dropped: nobody announced them to the client. */
  onComplete(): void {
    // The answer to a HEAD is whole with its head, held or not.
    if (this.#phase === 'holding') this.#heldEnd = 'whole'
    if (this.#phase !== 'answering') return
    this.#release()
    this.#answer?.end()
    // Over HTTP/2 it would still be sent, from what is read only to be thrown away.
    if (!this.#request.complete) this.#body?.destroy()
    discardRest(this.#request)
  }

  onError(error: Error): void {
    if (!this.#isConnected) {
      // One of ours is a body that failed before there was a connection to send it on.
      if (error instanceof BffError) this.#upstream.abandoned()
      else this.#upstream.connectFailed()
    }
    this.#failed(error)
  }

  #failed(error: Error): void {
    if (this.#phase === 'over') return
    if (this.#phase === 'holding') {
      this.#call.log.debug({ err: error }, 'an answer was broken off while it was held')
      this.#heldEnd = error
      return
    }
    if (this.#phase === 'answering') {
      this.#call.log.warn({ err: error }, 'an answer was broken off')
      this.#release()
      this.#answer?.cut()
      return
    }
    if (!this.#isConnected && this.#mayRetry(error)) {
      this.#isRetry = true
      this.#dispatch()
      return
    }
    this.#fail(failureOf(error))
  }

  /** Ends an open answer in good order: the session has ended, or the gateway stops. */
  finish(): void {
    if (this.#phase !== 'answering') return
    const abort = this.#abort
    this.#release()
    this.#answer?.end()
    abort?.()
  }

  firstByteIsLate(): void {
    if (this.#body && !this.#isSent && this.#isConnected) {
      // The body is still coming and has its own limits; the first byte counts from its last.
      this.#timer?.refresh()
      return
    }
    this.#abortWith(new BffError('upstream_timeout', 'no first byte of the answer in time'))
  }

  drained(): void {
    this.#resume?.()
  }

  clientIsStalled(): void {
    this.#abortWith(new BffError('upstream_timeout', 'the client stopped reading'))
  }

  upstreamIsIdle(): void {
    this.#abortWith(new BffError('upstream_timeout', 'the upstream stopped in the middle of its answer'))
  }

  #dispatch(): void {
    const { fields, target } = this.#facts
    const length = this.#body ? this.#request.headers['content-length'] : undefined
    this.#upstream.dispatch(
      {
        path: target,
        // Fastify's types know no others; llhttp has let nothing but tokens through.
        method: this.#request.method as Dispatcher.HttpMethod,
        headers: length === undefined ? fields : [...fields, 'content-length', length],
        body: this.#body,
        ...(this.#facts.onUpgrade && { upgrade: 'websocket' }),
      },
      this,
    )
  }

  /** Once, and only when no byte of the request has left: for the caller nothing has happened yet. */
  #mayRetry(error: Error): boolean {
    return (
      !this.#isRetry && this.#body === null && IDEMPOTENT.has(this.#request.method ?? '') && isConnectFailure(error)
    )
  }

  #becomeStream(): void {
    this.#stopWatching = this.#route.streams.open('event_stream', this.#facts.owner, () => this.finish())
    // An event stream is open for hours: it gives its place back, or a few hundred tabs would block the upstream.
    this.#upstream.leave()
  }

  #clientClosed(): void {
    if (this.#phase === 'over') return
    const abort = this.#abort
    this.#release()
    this.#body?.destroy()
    abort?.()
  }

  #abortWith(error: BffError): void {
    const abort = this.#abort
    if (abort) abort(error)
    // Not connected yet: undici will call `onConnect` or `onError`, and finds the exchange over.
    else this.#failed(error)
  }

  #fail(error: BffError): void {
    this.#facts.span?.failed(error)
    this.#release()
    this.#body?.destroy()
    discardRest(this.#request)
    this.#call.fail(error)
  }

  /** Gives back what the exchange holds. After this nothing is written to the client any more, except by the caller. */
  #release(): void {
    const { phase, isStream } = { phase: this.#phase, isStream: this.#stopWatching !== undefined }
    this.#phase = 'over'
    this.#facts.span?.failed()
    clearTimeout(this.#timer)
    this.#answer?.letGo()
    this.#closing?.off('close', this.#onClose)
    this.#stopWatching?.()
    if (phase === 'waiting') this.#upstream.stopWaiting(this)
    else if (!isStream) this.#upstream.leave()
  }
}

// A function of the module: a closure for each request would be made in vain nearly always.
function noFirstByte(exchange: Exchange): void {
  exchange.firstByteIsLate()
}

function ownVary(response: ServerResponse): string {
  const vary = response.getHeader('vary')
  return typeof vary === 'string' ? vary : ''
}

function withoutLength(fields: readonly string[]): string[] {
  const isLength = (at: number): boolean => fields[at]?.toLowerCase() === 'content-length'
  return fields.filter((_, at) => !isLength(at - (at % 2)))
}

/** The value of the first such field; by its name in lower case. */
function fieldOf(fields: readonly string[], name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) {
    const field = fields[at] as string // in bounds by the loop's condition
    if (field.length === name.length && field.toLowerCase() === name) return fields[at + 1]
  }
  return undefined
}

/** `session/events`: what happens to the session, as Server-Sent Events (WHATWG HTML §9.2). */
import type { ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { z } from 'zod'
import { BffError } from '../errors.ts'
import type { EndedEvent, ExpiringEvent, SessionAnswer } from '../http/answers.ts'
import type { Judged } from '../http/judge.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Session } from '../session/session.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { describeSession, type SessionRoutesOptions } from './session.ts'

const HEARTBEAT_MS = 15_000
/** `expiring` is told so long before the idle or the absolute end. */
const WARNING_MS = 60_000
/** One browser needs one stream; a few tabs may open theirs before they have elected one. */
const MOST_STREAMS = 8
/** A reader that takes nothing is cut off before its backlog grows. */
const MOST_BACKLOG_BYTES = 65_536
const LOOK_AGAIN_MS = 5_000
/** Node's timers hold 31 bits. */
const LONGEST_TIMER_MS = 2_147_483_647

export interface EventsOptions extends SessionRoutesOptions {
  readonly manager: SessionRoutesOptions['manager'] & Pick<SessionManager, 'peek' | 'onSessionEvent'>
  readonly metrics: Metrics
}

/** The open streams, so that a shutdown can end them. */
export class EventStreams {
  readonly #close = new Set<() => void>()
  readonly #perSession = new Map<string, number>()

  countOf(ref: string): number {
    return this.#perSession.get(ref) ?? 0
  }

  add(ref: string, close: () => void): void {
    this.#close.add(close)
    this.#perSession.set(ref, this.countOf(ref) + 1)
  }

  remove(ref: string, close: () => void): void {
    if (!this.#close.delete(close)) return
    const left = this.countOf(ref) - 1
    if (left > 0) this.#perSession.set(ref, left)
    else this.#perSession.delete(ref)
  }

  closeAll(): void {
    for (const close of this.#close) close()
  }
}

export function registerEvents(app: FastifyInstance, streams: EventStreams, options: EventsOptions): void {
  app.get('/session/events', (request, reply) => {
    const { session, sessionCookie } = request.judged as Judged // set by the judge on every request
    if (!session || sessionCookie === undefined)
      throw new BffError('login_required', 'events were asked for without a session')
    if (streams.countOf(session.ref) >= MOST_STREAMS) {
      throw new BffError('rate_limited', 'the session has enough event streams', { retryAfterSeconds: 30 })
    }
    reply.hijack()
    // Not through Fastify: the answer has no end that it could wait for.
    reply.raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    })
    new EventStream(session, sessionCookie, reply.raw, streams, options).start()
  })
}

/** The events by name, and what each carries. */
interface EventData {
  readonly session: z.infer<typeof SessionAnswer>
  readonly refreshed: z.infer<typeof SessionAnswer>
  readonly expiring: z.infer<typeof ExpiringEvent>
  readonly ended: z.infer<typeof EndedEvent>
}

/** One browser's stream, from its first event to its last. It never slides the session. */
class EventStream {
  readonly #session: Session
  readonly #sessionCookie: string
  readonly #out: ServerResponse
  readonly #streams: EventStreams
  readonly #options: EventsOptions
  readonly #close = () => this.#finish()
  #heartbeat: NodeJS.Timeout | undefined
  #warning: NodeJS.Timeout | undefined
  #unsubscribe: (() => void) | undefined
  /** The end that has been warned of: each is told once. */
  #warnedOf = 0

  constructor(
    session: Session,
    sessionCookie: string,
    out: ServerResponse,
    streams: EventStreams,
    options: EventsOptions,
  ) {
    this.#session = session
    this.#sessionCookie = sessionCookie
    this.#out = out
    this.#streams = streams
    this.#options = options
  }

  start(): void {
    const { ref, expiresAt } = this.#session
    this.#streams.add(ref, this.#close)
    this.#options.metrics.openStreams.inc({ kind: 'events' })
    this.#unsubscribe = this.#options.manager.onSessionEvent(
      ref,
      (event) => {
        if (event.type === 'refreshed') return void this.#sendSession('refreshed')
        if (event.type !== 'ended') return
        this.#send('ended', { reason: event.reason })
        this.#finish()
      },
      expiresAt,
    )
    this.#out.on('close', () => this.#release())
    this.#heartbeat = setInterval(() => this.#write(': still here\n\n'), HEARTBEAT_MS).unref()
    this.#send('session', describeSession(this.#session, this.#sessionCookie, this.#options))
    this.#watchEnd(this.#session)
  }

  /** Looks at the session when its next end comes near: uses elsewhere may have moved the idle end. */
  #watchEnd(session: Session): void {
    const now = this.#options.now()
    const end = Math.min(session.expiresAt, this.#options.manager.idleExpiresAt(session))
    if (end - now <= WARNING_MS && end > now && end !== this.#warnedOf) {
      this.#warnedOf = end
      this.#send('expiring', { expiresInSeconds: Math.floor((end - now) / 1_000) })
    }
    const next = end - now > WARNING_MS ? end - WARNING_MS - now : Math.max(1_000, end - now)
    this.#warning = setTimeout(() => void this.#look(), Math.min(next, LONGEST_TIMER_MS)).unref()
  }

  async #look(): Promise<void> {
    try {
      const session = await this.#options.manager.peek(this.#sessionCookie)
      // One that has ended is told of by the manager.
      if (session && this.#unsubscribe) this.#watchEnd(session)
    } catch {
      // The store does not answer: that ends nobody's session. Look again, if anybody still listens.
      if (this.#unsubscribe) this.#warning = setTimeout(() => void this.#look(), LOOK_AGAIN_MS).unref()
    }
  }

  async #sendSession(event: 'refreshed'): Promise<void> {
    try {
      const session = await this.#options.manager.peek(this.#sessionCookie)
      if (session) this.#send(event, describeSession(session, this.#sessionCookie, this.#options))
    } catch {
      // Missed for an outage of the store; the next event or look tells the state again.
    }
  }

  #send<E extends keyof EventData>(event: E, data: EventData[E]): void {
    this.#write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  #write(text: string): void {
    if (this.#out.writableLength > MOST_BACKLOG_BYTES) this.#out.destroy()
    else this.#out.write(text)
  }

  #finish(): void {
    this.#out.end()
    this.#release()
  }

  #release(): void {
    if (!this.#unsubscribe) return
    this.#unsubscribe()
    this.#unsubscribe = undefined
    clearInterval(this.#heartbeat)
    clearTimeout(this.#warning)
    this.#streams.remove(this.#session.ref, this.#close)
    this.#options.metrics.openStreams.dec({ kind: 'events' })
  }
}

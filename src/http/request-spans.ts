/** The spans of one request: its own, and what is done for it. Made only where there is tracing. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { cleanText } from '../telemetry/redaction.ts'
import type { Span, TraceContext, Tracing } from '../telemetry/tracing.ts'
import type { SessionSource } from './judge.ts'

/** A request on its way to an upstream. Ended once; what comes later is ignored. */
export interface UpstreamSpan {
  /** What the upstream is told. */
  readonly context: TraceContext
  answered(status: number): void
  /** There was no answer, for this reason, or because nobody waits for it any more. */
  failed(error?: unknown): void
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY'])

export class RequestSpans {
  readonly #tracing: Tracing
  readonly #spans = new WeakMap<IncomingMessage, Span>()

  constructor(tracing: Tracing) {
    this.#tracing = tracing
  }

  /** Before every other hook, so that all that is done for a request is found to be its own. */
  register(app: FastifyInstance, publicUrl: URL): void {
    app.addHook('onRequest', (request, reply, done) => {
      const { raw } = request
      const method = methodOf(raw)
      const { traceparent, tracestate } = raw.headers
      const span = this.#tracing.startServer(
        method,
        {
          'http.request.method': method,
          'url.scheme': publicUrl.protocol.slice(0, -1),
          // Never the query: the callback's holds the code.
          'url.path': cleanText((raw.url ?? '').replace(/[?#].*$/s, '')),
          'server.address': publicUrl.hostname,
          'network.protocol.version': raw.httpVersion,
        },
        {
          ...(typeof traceparent === 'string' && { traceparent }),
          ...(typeof tracestate === 'string' && tracestate.length <= 512 && { tracestate }),
        },
      )
      this.#spans.set(raw, span)
      request.log = reply.log = request.log.child({ traceId: this.#tracing.traceIdOf(span) })
      reply.raw.once('close', () => {
        const { judged } = request
        if (judged?.session) span.setAttribute('sidegate.session_ref', judged.session.ref.slice(0, 16))
        if (judged) span.setAttribute('client.address', judged.clientAddress)
        const { name } = judged?.place.policy ?? {}
        this.#end(raw, reply.raw, name, reply.getHeader('sidegate-error'))
      })
      this.#tracing.within(span, done)
    })
  }

  /** For log lines. */
  traceIdOf(raw: IncomingMessage): string | undefined {
    return this.#tracing.traceIdOf(this.#spans.get(raw))
  }

  /** A handshake whose socket is no HTTP answer's any more. */
  upgraded(raw: IncomingMessage, route: string): void {
    const span = this.#spans.get(raw)
    if (!span) return
    this.#spans.delete(raw)
    finish(span, methodOf(raw), route, 101)
    span.end()
  }

  /** The request to an upstream for this one. */
  upstream(raw: IncomingMessage, route: string, origin: string): UpstreamSpan {
    const tracing = this.#tracing
    const { hostname } = new URL(origin)
    const attributes = { 'http.request.method': methodOf(raw), 'server.address': hostname }
    const span = tracing.startClient(`upstream ${route}`, attributes, this.#spans.get(raw))
    let isOver = false
    const end = (outcome: unknown): void => {
      if (!isOver) tracing.endClient(span, outcome)
      isOver = true
    }
    return {
      context: tracing.contextOf(span),
      answered: end,
      failed: (error = 'client_closed') => end(error),
    }
  }

  /** The same sessions, with a span for each look at one. */
  sessions(source: SessionSource): SessionSource {
    const tracing = this.#tracing
    return {
      tryResolve: (cookieValue, options) => {
        const session = source.tryResolve(cookieValue, options)
        if (session) tracing.startClient('session', { 'sidegate.session.at_hand': true }).end()
        return session
      },
      resolve: (cookieValue, options) => tracing.during('session', {}, () => source.resolve(cookieValue, options)),
    }
  }

  #end(raw: IncomingMessage, response: ServerResponse, route: string | undefined, code: unknown): void {
    const span = this.#spans.get(raw)
    if (!span) return
    this.#spans.delete(raw)
    if (response.headersSent) finish(span, methodOf(raw), route, response.statusCode)
    if (!response.writableFinished) span.setAttribute('error.type', 'client_closed')
    else if (typeof code === 'string') span.setAttribute('error.type', code)
    if (response.statusCode >= 500) this.#tracing.fail(span, code ?? response.statusCode)
    span.end()
  }
}

function finish(span: Span, method: string, route: string | undefined, status: number): void {
  span.setAttribute('http.response.status_code', status)
  if (route === undefined) return
  span.setAttribute('http.route', route)
  span.updateName(`${method} ${route}`)
}

/** Of a fixed set, as the semantic conventions ask. */
function methodOf({ method = '' }: IncomingMessage): string {
  return METHODS.has(method) ? method : '_OTHER'
}

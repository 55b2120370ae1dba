/** The account of what was asked and answered: one line in the log and one count for each request. */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { AccessLog } from '../telemetry/access-log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { RequestSpans } from './request-spans.ts'
import { type WhereaboutsOptions, whereaboutsOf } from './whereabouts.ts'

export interface RequestAccountOptions {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly traces?: RequestSpans | undefined
}

export class RequestAccount {
  readonly #lines: AccessLog
  readonly #metrics: Metrics
  readonly #traces: RequestSpans | undefined

  constructor({ config, log, metrics, traces }: RequestAccountOptions) {
    this.#lines = new AccessLog(log, writesJson(config))
    this.#metrics = metrics
    this.#traces = traces
  }

  /** Every answer of the application, proxied ones included. */
  register(app: FastifyInstance, places: WhereaboutsOptions): void {
    app.addHook('onResponse', (request, reply, done) => {
      const { judged } = request
      const { route, ip } = judged
        ? { route: judged.place.policy.name, ip: judged.clientAddress }
        : whereaboutsOf(request.raw, places)
      const status = reply.raw.statusCode
      const durationMs = reply.elapsedTime
      this.#metrics.countRequest(route, request.method, status, durationMs / 1_000)
      this.#lines.write({
        requestId: request.id,
        method: request.method,
        path: pathOf(request.raw),
        route,
        status,
        durationMs: Math.round(durationMs * 10) / 10,
        ip,
        sessionRef: judged?.session?.ref.slice(0, 16),
        traceId: this.#traces?.traceIdOf(request.raw),
      })
      done()
    })
  }

  /** One that was turned away at the door. */
  refused(raw: IncomingMessage, requestId: string, status: number): void {
    const { method = '' } = raw
    const nobody = { ip: undefined, sessionRef: undefined }
    this.#metrics.countRequest('-', method, status, 0)
    this.#lines.write({ ...nobody, requestId, method, path: pathOf(raw), route: '-', status, durationMs: 0 })
  }
}

function writesJson({ log: { format } }: Config): boolean {
  return (format ?? (process.stdout.isTTY ? 'pretty' : 'json')) === 'json'
}

/** Without the query, which may hold a code. */
function pathOf({ url = '' }: IncomingMessage): string {
  const queryAt = url.indexOf('?')
  return queryAt === -1 ? url : url.slice(0, queryAt)
}

/** The account of what was asked and answered: one line in the log and one count for each request. */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { type AccessLine, AccessLog } from '../telemetry/access-log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { TurnBatch } from '../telemetry/turn-batch.ts'
import type { Call } from './call.ts'
import type { Judged } from './judge.ts'
import type { RequestSpans } from './request-spans.ts'
import { type Whereabouts, type WhereaboutsOptions, whereaboutsOf } from './whereabouts.ts'

export interface RequestAccountOptions {
  readonly config: Config
  readonly log: Logger
  readonly metrics: Metrics
  readonly traces?: RequestSpans | undefined
}

type AnsweredCall = Pick<Call, 'raw' | 'response' | 'id'>

export class RequestAccount {
  readonly #lines: AccessLog
  readonly #metrics: Metrics
  readonly #traces: RequestSpans | undefined
  readonly #answered = new TurnBatch<AccessLine>((lines) => this.#settle(lines))

  constructor({ config, log, metrics, traces }: RequestAccountOptions) {
    this.#lines = new AccessLog(log, writesJson(config))
    this.#metrics = metrics
    this.#traces = traces
  }

  /** Every answer of the application. */
  register(app: FastifyInstance, places: WhereaboutsOptions): void {
    app.addHook('onResponse', (request, reply, done) => {
      const { raw, id, judged } = request
      this.answered({ raw, id, response: reply.raw }, judged ?? whereaboutsOf(raw, places), reply.elapsedTime)
      done()
    })
  }

  /** Every other answer; called when it is over. */
  answered({ raw, response, id }: AnsweredCall, known: Judged | Whereabouts, durationMs: number): void {
    const isJudged = 'place' in known
    this.#answered.add({
      requestId: id,
      method: raw.method ?? '',
      path: pathOf(raw),
      route: isJudged ? known.place.policy.name : known.route,
      status: response.statusCode,
      durationMs: Math.round(durationMs * 10) / 10,
      ip: isJudged ? known.clientAddress : known.ip,
      sessionRef: isJudged ? known.session?.ref.slice(0, 16) : undefined,
      traceId: this.#traces?.traceIdOf(raw),
    })
  }

  /** One that was turned away at the door. */
  refused(raw: IncomingMessage, requestId: string, status: number): void {
    const nobody = { ip: undefined, sessionRef: undefined }
    this.#answered.add({
      ...nobody,
      requestId,
      method: raw.method ?? '',
      path: pathOf(raw),
      route: '-',
      status,
      durationMs: 0,
    })
  }

  #settle(lines: readonly AccessLine[]): void {
    for (const { route, method, status, durationMs } of lines) {
      this.#metrics.countRequest(route, method, status, durationMs / 1_000)
    }
    this.#lines.write(lines)
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

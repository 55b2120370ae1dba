/** The management listener: health, readiness, metrics. Nothing that changes anything or names a user. */
import { fastify, type FastifyInstance } from 'fastify'
import type { z } from 'zod'
import type { HealthAnswer } from '../http/answers.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { operatorListener, registerFailures } from './failures.ts'
import type { Readiness } from './readiness.ts'

interface ManagementOptions {
  readonly metrics: Metrics
  readonly readiness: Readiness
  readonly log: Log
}

export function buildManagement(options: ManagementOptions): FastifyInstance {
  const app = fastify(operatorListener)
  registerFailures(app, options.log)

  // Answers while the process turns: neither the store nor the provider is asked.
  app.get('/healthz', (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ status: 'ok' } satisfies z.infer<typeof HealthAnswer>),
  )

  app.get('/readyz', async (_request, reply) => {
    const { status, body } = await options.readiness.answer()
    return reply.code(status).header('cache-control', 'no-store').send(body)
  })

  app.get('/metrics', async (_request, reply) =>
    reply.type(options.metrics.contentType).send(await options.metrics.render()),
  )
  return app
}

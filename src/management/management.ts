/** The management listener: health, readiness, metrics. Nothing that changes anything or names a user. */
import { fastify, type FastifyInstance } from 'fastify'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Readiness } from './readiness.ts'

interface ManagementOptions {
  readonly metrics: Metrics
  readonly readiness: Readiness
}

export function buildManagement(options: ManagementOptions): FastifyInstance {
  const app = fastify({ forceCloseConnections: true })
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ status: 404, code: 'not_found' }))
  app.setErrorHandler((_error, _request, reply) => reply.code(500).send({ status: 500, code: 'internal' }))

  // Answers while the process turns: neither the store nor the provider is asked.
  app.get('/healthz', (_request, reply) => reply.header('cache-control', 'no-store').send({ status: 'ok' }))

  app.get('/readyz', async (_request, reply) => {
    const { status, body } = await options.readiness.answer()
    return reply.code(status).header('cache-control', 'no-store').send(body)
  })

  app.get('/metrics', async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(await options.metrics.render()),
  )
  return app
}

/** `client.js` and `jwks.json`: the same for everybody, revalidated and not stored for good. */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

export interface PublicFilesOptions {
  /** The browser client as an ES module. */
  readonly clientModule: string
  /** The public keys of the gateway's clients (AS-08); read at each request: keys rotate. */
  readonly publicJwks: () => { keys: unknown[] }
}

export function registerPublicFiles(app: FastifyInstance, options: PublicFilesOptions): void {
  app.get('/client.js', (request, reply) =>
    send(request, reply, 'text/javascript; charset=utf-8', options.clientModule),
  )
  app.get('/jwks.json', (request, reply) =>
    send(request, reply, 'application/jwk-set+json', JSON.stringify(options.publicJwks())),
  )
}

function send(request: FastifyRequest, reply: FastifyReply, type: string, body: string): FastifyReply {
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  reply.header('cache-control', 'no-cache').header('etag', etag)
  if (request.headers['if-none-match'] === etag) return reply.code(304).send()
  return reply.type(type).send(body)
}

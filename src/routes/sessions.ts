/** `sessions`: the user's own sessions, and the end of any of them. */
import type { FastifyInstance } from 'fastify'
import { BffError } from '../errors.ts'
import type { Judged } from '../http/judge.ts'
import { parseQuery } from '../http/query.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Session } from '../session/session.ts'
import { deviceOf } from './device.ts'

/** So much of a ref is shown and taken: enough to tell sessions apart, too little to look one up in the store. */
const SHOWN_REF = 16

export interface SessionsRoutesOptions {
  readonly manager: Pick<SessionManager, 'list' | 'endByRef'>
}

export function registerSessions(app: FastifyInstance, options: SessionsRoutesOptions): void {
  app.get('/sessions', async (request, reply) => {
    const session = sessionOf(request.judged)
    const sessions = await options.manager.list(session)
    const shown = sessions
      .map((one) => ({
        ref: one.ref.slice(0, SHOWN_REF),
        device: deviceOf(one.userAgent),
        createdAt: new Date(one.createdAt).toISOString(),
        lastSeenAt: new Date(one.lastSeenAt).toISOString(),
        expiresAt: new Date(one.expiresAt).toISOString(),
        current: one.ref === session.ref,
      }))
      .toSorted((a, b) => (a.lastSeenAt < b.lastSeenAt ? 1 : -1))
    return reply.send({ sessions: shown })
  })

  app.delete('/sessions', async (request, reply) => {
    const session = sessionOf(request.judged)
    const { path } = request.judged as Judged // set by the judge on every request
    if (parseQuery(path.query, ['others']).get('others') !== 'true') {
      throw new BffError('invalid_request', 'say others=true, or name one session')
    }
    const others = (await options.manager.list(session)).filter(({ ref }) => ref !== session.ref)
    for (const { ref } of others) await options.manager.endByRef(ref, 'revoked_by_user')
    return reply.send({ ended: others.length })
  })

  app.delete<{ Params: { ref: string } }>('/sessions/:ref', async (request, reply) => {
    const session = sessionOf(request.judged)
    const named = (await options.manager.list(session)).filter(
      ({ ref }) => ref.slice(0, SHOWN_REF) === request.params.ref,
    )
    if (named.length === 0) throw new BffError('not_found', 'the user has no such session')
    for (const { ref } of named) await options.manager.endByRef(ref, 'revoked_by_user')
    return reply.send({ ended: named.length })
  })
}

function sessionOf(judged: Judged | null): Session {
  if (!judged?.session) throw new BffError('internal', 'an endpoint for sessions was reached without one')
  return judged.session
}

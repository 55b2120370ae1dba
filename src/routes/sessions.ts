/** `sessions`: the user's own sessions, and the end of any of them. */
import type { FastifyInstance } from 'fastify'
import type { z } from 'zod'
import { BffError } from '../errors.ts'
import type { EndedAnswer, SessionsAnswer } from '../http/answers.ts'
import type { Judged } from '../http/judge.ts'
import { parseQuery } from '../http/query.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Session } from '../session/session.ts'
import { deviceOf } from './device.ts'

export interface SessionsRoutesOptions {
  readonly manager: Pick<SessionManager, 'list' | 'endByRef'>
}

export function registerSessions(app: FastifyInstance, options: SessionsRoutesOptions): void {
  app.get<{ Reply: z.infer<typeof SessionsAnswer> }>('/sessions', async (request, reply) => {
    const session = sessionOf(request.judged)
    const sessions = await options.manager.list(session)
    const shown = sessions
      .map((one) => ({
        ref: shownRef(one.ref),
        device: deviceOf(one.userAgent),
        createdAt: new Date(one.createdAt).toISOString(),
        lastSeenAt: new Date(one.lastSeenAt).toISOString(),
        expiresAt: new Date(one.expiresAt).toISOString(),
        current: one.ref === session.ref,
      }))
      .toSorted((a, b) => (a.lastSeenAt < b.lastSeenAt ? 1 : -1))
    return reply.send({ sessions: shown })
  })

  app.delete<{ Reply: z.infer<typeof EndedAnswer> }>('/sessions', async (request, reply) => {
    const session = sessionOf(request.judged)
    const { path } = request.judged as Judged // set by the judge on every request
    if (parseQuery(path.query, ['others']).get('others') !== 'true') {
      throw new BffError('invalid_request', 'say others=true, or name one session')
    }
    return reply.send({ ended: await endOthers(session, options.manager) })
  })

  app.delete<{ Params: { ref: string }; Reply: z.infer<typeof EndedAnswer> }>(
    '/sessions/:ref',
    async (request, reply) => {
      const session = sessionOf(request.judged)
      const ended = await endNamed(session, request.params.ref, options.manager)
      if (ended === 0) throw new BffError('not_found', 'the user has no such session')
      return reply.send({ ended })
    },
  )
}

type Sessions = Pick<SessionManager, 'list' | 'endByRef'>

/** Ends all sessions of the user but this one; resolves their number. */
export async function endOthers(session: Session, manager: Sessions): Promise<number> {
  const others = (await manager.list(session)).filter(({ ref }) => ref !== session.ref)
  for (const { ref } of others) await manager.endByRef(ref, 'revoked_by_user')
  return others.length
}

/** Ends the user's session of this name, as `shownRef` made it; resolves 0 when there is none. */
export async function endNamed(session: Session, name: string, manager: Sessions): Promise<number> {
  const named = (await manager.list(session)).filter(({ ref }) => shownRef(ref) === name)
  for (const { ref } of named) await manager.endByRef(ref, 'revoked_by_user')
  return named.length
}

/** So much of a ref is shown and taken: enough to tell sessions apart, too little to look one up in the store. */
export function shownRef(ref: string): string {
  return ref.slice(0, 16)
}

/** @throws BffError `internal` where the judge has let pass what has none */
export function sessionOf(judged: Judged | null): Session {
  if (!judged?.session) throw new BffError('internal', 'an endpoint for sessions was reached without one')
  return judged.session
}

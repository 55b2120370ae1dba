/** `session`, `user`, `session/refresh`: what the application may know of its session. Never a token. */
import { createHmac } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { z } from 'zod'
import { BffError } from '../errors.ts'
import type { Claims, SessionAnswer } from '../http/answers.ts'
import type { Judged } from '../http/judge.ts'
import { parseQuery } from '../http/query.ts'
import { claimOf } from '../session/claims.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Session } from '../session/session.ts'

export interface SessionRoutesOptions {
  readonly manager: Pick<SessionManager, 'idleExpiresAt' | 'refreshNow'>
  /** The claims that may be shown (`session.claims`). */
  readonly claims: readonly string[]
  readonly basePath: string
  readonly now: () => number
}

export function registerSession(app: FastifyInstance, options: SessionRoutesOptions): void {
  app.get('/session', (request, reply) => {
    const { session, sessionCookie } = request.judged as Judged // set by the judge on every request
    return reply.send(describeSession(session, sessionCookie, options))
  })

  app.get('/user', (request, reply) => {
    const { session, path } = request.judged as Judged // set by the judge on every request
    if (session) return reply.send(shownClaims(session, options.claims))
    const anonymous = parseQuery(path.query, ['anonymous']).get('anonymous')
    if (anonymous === '200') return reply.type('application/json').send('null')
    throw new BffError('login_required', 'the user was asked for without a session')
  })

  app.post('/session/refresh', async (request, reply) => {
    const { sessionCookie } = request.judged as Judged // set by the judge on every request
    const session = await options.manager.refreshNow(sessionCookie as string) // the judge let only sessions pass
    return reply.send(describeSession(session, sessionCookie, options))
  })
}

/** The body of `GET session`; times are RFC 3339 or whole seconds. */
export function describeSession(
  session: Session | null,
  sessionCookie: string | undefined,
  options: SessionRoutesOptions,
): z.infer<typeof SessionAnswer> {
  if (!session || sessionCookie === undefined) return { authenticated: false, loginUrl: `${options.basePath}/login` }
  const now = options.now()
  return {
    authenticated: true,
    user: shownClaims(session, options.claims),
    createdAt: new Date(session.createdAt).toISOString(),
    expiresAt: new Date(session.expiresAt).toISOString(),
    expiresInSeconds: secondsUntil(session.expiresAt, now),
    idleExpiresInSeconds: secondsUntil(options.manager.idleExpiresAt(session), now),
    accessToken: { expiresInSeconds: secondsUntil(session.tokens.accessTokenExpiresAt, now) },
    logoutUrl: `${options.basePath}/logout?t=${logoutToken(sessionCookie)}`,
  }
}

/** What makes a logout link this session's own: nobody can compute it without the cookie (CS-07). */
export function logoutToken(sessionCookie: string): string {
  return createHmac('sha256', sessionCookie).update('logout link').digest('base64url')
}

function shownClaims(session: Session, names: readonly string[]): z.infer<typeof Claims> {
  const entries = names.map((name) => [name, claimOf(session, name)] as const)
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

function secondsUntil(at: number, now: number): number {
  return Math.max(0, Math.floor((at - now) / 1_000))
}

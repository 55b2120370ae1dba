/** The admin listener: finds and ends sessions, behind a bearer token, with an audit line for each use. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { fastify, type FastifyInstance, type FastifyReply } from 'fastify'
import type { z } from 'zod'
import { BffError } from '../errors.ts'
import type { AdminSessionsAnswer, EndedAnswer } from '../http/answers.ts'
import { parseQuery } from '../http/query.ts'
import type { SessionManager } from '../session/manager.ts'
import type { SessionSummary } from '../session/session.ts'
import type { Audit, AuditFields } from '../telemetry/audit.ts'
import type { Log } from '../telemetry/log.ts'
import { operatorListener, registerFailures } from './failures.ts'

interface AdminOptions {
  readonly manager: Pick<SessionManager, 'find' | 'endByRef' | 'endBySubject' | 'endByProviderSession' | 'endAll'>
  /** The configured issuers; with several, a question by `sub` or `sid` names one. */
  readonly issuers: readonly string[]
  /** Read at each request: it may be rotated. */
  readonly token: () => string
  readonly audit: Pick<Audit, 'record'>
  readonly log: Log
}

const REF = /^[\w-]{16,43}$/

/** Whom a question means. */
type Target =
  | { readonly by: 'ref'; readonly ref: string }
  | { readonly by: 'sub' | 'sid'; readonly issuer: string; readonly value: string }
  | { readonly by: 'all' }

export function buildAdmin(options: AdminOptions): FastifyInstance {
  const app = fastify(operatorListener)
  registerFailures(app, options.log)
  app.addHook('onRequest', async (request) => {
    if (!holdsToken(request.headers.authorization, options.token())) {
      options.audit.record('admin.refused', { ip: request.ip })
      throw new BffError('login_required', 'the bearer token is wrong', { headers: { 'www-authenticate': 'Bearer' } })
    }
  })

  app.get('/sessions', async (request, reply) => {
    const target = readTarget(request.raw.url ?? '', options.issuers)
    if (target.by === 'all') throw new BffError('invalid_request', 'all=true ends sessions; it does not list them')
    const sessions = await options.manager.find(target)
    options.audit.record('admin.listed', { ...meant(target), found: sessions.length, ip: request.ip })
    return noStore(reply).send({ sessions: sessions.map(shown) } satisfies z.infer<typeof AdminSessionsAnswer>)
  })

  app.delete('/sessions', async (request, reply) => {
    const target = readTarget(request.raw.url ?? '', options.issuers)
    const ended = await end(target, options.manager)
    options.audit.record('admin.ended', { ...meant(target), ended, ip: request.ip })
    return noStore(reply).send({ ended } satisfies z.infer<typeof EndedAnswer>)
  })
  return app
}

async function end(target: Target, manager: AdminOptions['manager']): Promise<number> {
  switch (target.by) {
    case 'all':
      return manager.endAll('revoked_by_admin')
    case 'sub':
      return manager.endBySubject(target.issuer, target.value, 'revoked_by_admin')
    case 'sid':
      return manager.endByProviderSession(target.issuer, target.value, 'revoked_by_admin')
    case 'ref': {
      const found = await manager.find(target)
      const ended = await Promise.all(found.map(({ ref }) => manager.endByRef(ref, 'revoked_by_admin')))
      return ended.filter(Boolean).length
    }
    default:
      return target satisfies never
  }
}

/** Whom a line of the audit names, by what other lines name them. A `sid` is in none of them. */
function meant(target: Target): AuditFields {
  if (target.by === 'ref') return { by: 'ref', sessionRef: target.ref }
  return target.by === 'sub' ? { by: 'sub', sub: target.value } : { by: target.by }
}

/** @throws BffError `invalid_request` unless exactly one target is named */
function readTarget(url: string, issuers: readonly string[]): Target {
  const at = url.indexOf('?')
  const query = parseQuery(at === -1 ? '' : url.slice(at), ['ref', 'sub', 'sid', 'issuer', 'all'])
  const named = (['ref', 'sub', 'sid', 'all'] as const).filter((name) => query.has(name))
  const by = named[0]
  if (by === undefined || named.length > 1) throw new BffError('invalid_request', 'name one of ref, sub, sid, all')
  const value = query.get(by) ?? ''
  if (by === 'all') {
    if (value !== 'true') throw new BffError('invalid_request', 'all takes true')
    return { by }
  }
  if (value === '') throw new BffError('invalid_request', `${by} is empty`)
  if (by === 'ref') {
    // A part of one would mean other people's sessions, too.
    if (!REF.test(value)) throw new BffError('invalid_request', 'ref is the 16 characters that logs and lists show')
    return { by, ref: value }
  }
  const issuer = query.get('issuer') ?? (issuers.length === 1 ? issuers[0] : undefined)
  if (issuer === undefined || !issuers.includes(issuer)) {
    throw new BffError('invalid_request', 'name the issuer: one of those that are configured')
  }
  return { by, issuer, value }
}

function shown(
  session: SessionSummary & { lastSeenAt?: number },
): z.infer<typeof AdminSessionsAnswer>['sessions'][number] {
  return {
    ref: session.ref.slice(0, 16),
    createdAt: new Date(session.createdAt).toISOString(),
    expiresAt: new Date(session.expiresAt).toISOString(),
    ...(session.lastSeenAt !== undefined && { lastSeenAt: new Date(session.lastSeenAt).toISOString() }),
    ...(session.userAgent !== undefined && { userAgent: session.userAgent }),
  }
}

/** Who is signed in is nothing for a cache on the way. */
function noStore(reply: FastifyReply): FastifyReply {
  return reply.header('cache-control', 'no-store')
}

/** Compared as hashes: equal lengths, equal time. */
function holdsToken(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1]
  if (given === undefined || token === '') return false
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(given), hash(token))
}

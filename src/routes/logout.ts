/** `logout` and what follows it: the session ends here first, then at the authorization server (OIDC RP-Initiated Logout). */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { hasCode } from '../errors.ts'
import type { LogoutAnswer } from '../http/answers.ts'
import { addCookie, type CookieJar } from '../http/cookies.ts'
import type { Judged } from '../http/judge.ts'
import type { Pages } from '../http/pages.ts'
import { parseQuery } from '../http/query.ts'
import type { OidcProvider } from '../oidc/provider.ts'
import type { KeyRing } from '../session/key-ring.ts'
import type { SessionManager } from '../session/manager.ts'
import { providerOf, type Session } from '../session/session.ts'
import { logoutToken } from './session.ts'

/** How long the one-use address lives. */
const TICKET_MS = 60_000
/** Logout waits this long for the revocation, which goes on alone after that (LO-02). */
const REVOCATION_PATIENCE_MS = 2_000

export interface LogoutOptions {
  readonly manager: Pick<SessionManager, 'end' | 'store'>
  readonly providers: ReadonlyMap<string, Pick<OidcProvider, 'name' | 'issuer' | 'revoke' | 'endSessionUrl'>>
  /** Whether the provider of this name is told to revoke (`provider.logout.revoke`). */
  readonly revokes: (provider: string) => boolean
  readonly cookies: CookieJar
  readonly keyRing: Pick<KeyRing, 'sealFor' | 'openFor'>
  readonly pages: Pages
  readonly basePath: string
}

export function registerLogout(app: FastifyInstance, options: LogoutOptions): void {
  app.post('/logout', async (request, reply) => {
    const { path, sessionCookie, isNavigation } = request.judged as Judged // set by the judge on every request
    const isLocal = parseQuery(path.query, ['local']).get('local') === 'true'
    const session = await endSession(request, reply, sessionCookie, options)
    if (isLocal) return reply.code(204).send()
    if (isNavigation) return reply.redirect(afterLogout(session, options), 303)
    const redirectUrl = await continueUrl(request, session, options)
    return reply.send({ redirectUrl } satisfies z.infer<typeof LogoutAnswer>)
  })

  app.get('/logout', async (request, reply) => {
    const { path, sessionCookie } = request.judged as Judged // set by the judge on every request
    const token = parseQuery(path.query, ['t']).get('t')
    const isMeant = sessionCookie !== undefined && token !== undefined && isSame(token, logoutToken(sessionCookie))
    if (!isMeant) return sendPage(reply, options.pages.signedOut())
    const session = await endSession(request, reply, sessionCookie, options)
    return reply.redirect(afterLogout(session, options), 303)
  })

  app.get('/logout/continue', async (request, reply) => {
    const { path } = request.judged as Judged // set by the judge on every request
    const ticket = parseQuery(path.query, ['ticket']).get('ticket')
    const url = ticket === undefined ? undefined : await redeem(ticket, options)
    return reply.redirect(url ?? `${options.basePath}/logout/callback`, 303)
  })

  // Whatever state comes back, the visitor ends on our own page (LO-04).
  app.get('/logout/callback', (_request, reply) => sendPage(reply, options.pages.signedOut()))
}

/**
 * Ends the session in the store, clears its cookies and revokes its refresh token (LO-01, LO-02). In an outage of
 * the store the cookie goes all the same: what is left cannot be opened without it.
 */
async function endSession(
  request: FastifyRequest,
  reply: FastifyReply,
  sessionCookie: string | undefined,
  options: LogoutOptions,
): Promise<Session | undefined> {
  // Another site's form brings no Strict cookie, and no proof either: clearing it then would sign the user out (CS-07).
  if (sessionCookie === undefined) return undefined
  addCookie(reply, options.cookies.clearSession())
  try {
    const session = await options.manager.end(sessionCookie, 'logout')
    if (session) await revoke(session, options)
    return session
  } catch (error) {
    if (!hasCode(error, 'store_unavailable')) throw error
    request.log.error({ err: error }, 'the session could not be ended in the store; its cookie was cleared')
    return undefined
  }
}

async function revoke(session: Session, options: LogoutOptions): Promise<void> {
  const provider = providerOf(session, options.providers)
  const { refreshToken } = session.tokens
  if (!provider || refreshToken === undefined || !options.revokes(provider.name)) return
  const patience = new AbortController()
  const revocation = provider.revoke(refreshToken, 'refresh_token').finally(() => patience.abort())
  await Promise.race([
    revocation,
    delay(REVOCATION_PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => {}),
  ])
}

/** Where a visitor goes who has signed out: the authorization server's logout, where it has one, else our own page. */
function afterLogout(session: Session | undefined, options: LogoutOptions): string {
  const provider = session && providerOf(session, options.providers)
  const url = provider?.endSessionUrl({
    ...(session?.tokens.idToken !== undefined && { idToken: session.tokens.idToken }),
    state: randomBytes(16).toString('base64url'),
  })
  return url?.href ?? `${options.basePath}/logout/callback`
}

/**
 * A one-use address of ours that leads on to the authorization server's logout, so that the ID token in that URL
 * never passes through script. What waits under it opens only with the ticket in the address.
 */
async function continueUrl(
  request: FastifyRequest,
  session: Session | undefined,
  options: LogoutOptions,
): Promise<string> {
  const secret = randomBytes(32)
  try {
    const sealed = options.keyRing.sealFor(secret, 'logout address', afterLogout(session, options))
    await options.manager.store.note(ticketKey(secret), sealed, TICKET_MS)
  } catch (error) {
    if (!hasCode(error, 'store_unavailable')) throw error
    request.log.warn({ err: error }, 'signed out here only: the address of the provider could not be kept')
    return `${options.basePath}/logout/callback`
  }
  return `${options.basePath}/logout/continue?ticket=${secret.toString('base64url')}`
}

async function redeem(ticket: string, options: LogoutOptions): Promise<string | undefined> {
  const secret = Buffer.from(ticket, 'base64url')
  if (secret.length !== 32) return undefined
  const sealed = await options.manager.store.takeNote(ticketKey(secret))
  return sealed === undefined ? undefined : options.keyRing.openFor(secret, 'logout address', sealed)?.toString()
}

function ticketKey(secret: Buffer): string {
  return `e:{${createHash('sha256').update(secret).digest('base64url')}}`
}

function isSame(given: string, expected: string): boolean {
  const a = Buffer.from(given)
  const b = Buffer.from(expected)
  return a.length === b.length && timingSafeEqual(a, b)
}

function sendPage(reply: FastifyReply, page: { html: string; headers: Record<string, string> }): FastifyReply {
  return reply.code(200).headers(page.headers).send(page.html)
}

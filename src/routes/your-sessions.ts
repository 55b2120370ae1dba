/** `your-sessions`: the list of `sessions` as a page, for applications that build none of their own. */
import type { FastifyInstance } from 'fastify'
import { BffError } from '../errors.ts'
import { readForm } from '../http/form.ts'
import type { Judged } from '../http/judge.ts'
import type { Pages } from '../http/pages.ts'
import type { SessionManager } from '../session/manager.ts'
import { deviceOf } from './device.ts'
import { logoutToken } from './session.ts'
import { endNamed, endOthers, sessionOf, shownRef } from './sessions.ts'

export interface YourSessionsOptions {
  readonly manager: Pick<SessionManager, 'list' | 'endByRef'>
  readonly pages: Pages
  readonly basePath: string
  readonly now: () => number
}

export function registerYourSessions(app: FastifyInstance, options: YourSessionsOptions): void {
  const { manager, pages, basePath, now } = options
  const here = `${basePath}/your-sessions`

  app.get('/your-sessions', async (request, reply) => {
    const { isNavigation, sessionCookie } = request.judged as Judged // set by the judge on every request
    // Only a person looks at it: script has `sessions`, under the rule.
    if (!isNavigation || (request.headers['sec-fetch-dest'] ?? 'document') !== 'document') {
      throw new BffError('invalid_request', 'the page is opened by a top-level navigation')
    }
    const session = sessionOf(request.judged)
    const sessions = (await manager.list(session))
      .map((one) => ({
        ref: shownRef(one.ref),
        device: deviceOf(one.userAgent),
        createdAt: one.createdAt,
        lastSeenAt: one.lastSeenAt,
        isCurrent: one.ref === session.ref,
      }))
      .toSorted((a, b) => Number(b.isCurrent) - Number(a.isCurrent) || b.lastSeenAt - a.lastSeenAt)
    const logoutUrl = `${basePath}/logout?t=${logoutToken(sessionCookie ?? '')}`
    const page = pages.sessions({ sessions, action: here, logoutUrl, now: now() })
    return reply.headers(page.headers).send(page.html)
  })

  // One that has ended meanwhile is what was wanted: the page tells what is left.
  app.post('/your-sessions', async (request, reply) => {
    const session = sessionOf(request.judged)
    const form = await readForm(request)
    const ref = form.get('ref')
    if (form.get('others') === 'true') await endOthers(session, manager)
    else if (ref !== null) await endNamed(session, ref, manager)
    else throw new BffError('invalid_request', 'the form names no session')
    return reply.redirect(here, 303)
  })
}

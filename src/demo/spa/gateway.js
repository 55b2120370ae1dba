/** Calls to the gateway and what its answers mean in words. */
import { createClient } from '/bff/client.js'
import { remember } from './inventory.js'

/** The gateway's own client: it knows the session, tells of its changes, and keeps the tabs in step. */
export const client = createClient()

/** Calls as any script would, without signing in; resolves the status and what the body says, JSON or not. */
export async function call(path, init = {}) {
  const response = await fetch(path, { ...init, headers: { 'X-CSRF': '1', ...init.headers } })
  const text = await response.text()
  remember(text)
  let body = {}
  try {
    body = JSON.parse(text)
  } catch {
    // Not JSON: the status says enough.
  }
  return { ok: response.ok, status: response.status, body }
}

/** A refusal of the gateway (RFC 9457) in words. */
export function refusal({ status, body }) {
  if (status === 401)
    return `Refused: nobody is signed in (401 ${body.code ?? 'from the API'}). The API was not called.`
  if (status === 429) return 'Slow down: the gateway takes only so many of these a minute (429 rate_limited).'
  return `Refused: ${body.title ?? 'the answer gives no reason'} (${status} ${body.code ?? ''}).`
}

/** Why a session has ended, by the gateway's word for it. */
export function endOf(reason) {
  const reasons = {
    logout: 'You signed out.',
    backchannel_logout:
      'You signed out elsewhere: the sign-in service told the gateway, and the gateway told this page.',
    revoked_by_user: 'You ended this session from another browser.',
    revoked_by_admin: 'An administrator ended your session.',
    idle_timeout: 'The session ended, since nobody used it.',
    absolute_timeout: 'The session ended: it had reached its greatest age.',
    replaced: 'Another sign-in in this browser took the place of this session.',
  }
  return reasons[reason] ?? `The session has ended${reason ? ` (${reason})` : ''}.`
}

/** What the demo tells about itself: no session is looked at, and none kept alive. */
export async function backstage(name, init) {
  const { body } = await call(`/backstage/${name}`, init)
  return body
}

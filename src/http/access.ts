/** Who may pass a route: claims, authentication context and age of the authentication (RFC 9470). */
import { BffError } from '../errors.ts'
import { claimTexts } from '../session/claims.ts'
import type { Session } from '../session/session.ts'
import type { Policy } from './policy.ts'

interface AccessOptions {
  /** `{basePath}/login` */
  readonly loginPath: string
  /** Epoch ms. */
  readonly now: number
}

/**
 * A missing claim fails like a wrong one. An anonymous request fails where the route has rules at all.
 *
 * @throws BffError `forbidden`; `step_up_required` with `acr_values`, `max_age` and a ready `loginUrl`
 */
export function judgeAccess(policy: Policy, session: Session | null, options: AccessOptions): void {
  if (!policy.allow && !policy.acr && policy.maxAgeMs === undefined) return
  if (!session) throw new BffError('login_required', 'the route has access rules and the request has no session')

  for (const [claim, wanted] of policy.allow ?? []) {
    if (!claimTexts(session, claim).some((value) => wanted.includes(value))) {
      throw new BffError('forbidden', `the claim ${claim} has none of the values that the route allows`)
    }
  }

  const acr = session.claims['acr']
  const lacksContext = policy.acr !== undefined && !(typeof acr === 'string' && policy.acr.includes(acr))
  const authTime = session.claims['auth_time']
  const isTooOld =
    policy.maxAgeMs !== undefined &&
    !(typeof authTime === 'number' && options.now - authTime * 1_000 <= policy.maxAgeMs)
  if (lacksContext || isTooOld) {
    throw stepUpRequired(options.loginPath, {
      provider: session.provider,
      ...(policy.acr && { acrValues: policy.acr }),
      ...(policy.maxAgeMs !== undefined && { maxAgeSeconds: Math.floor(policy.maxAgeMs / 1_000) }),
    })
  }
}

/** The failure that tells the application which sign-in the API wants (RFC 9470 §3), with the address that starts it. */
export function stepUpRequired(
  loginPath: string,
  wanted: { provider?: string; acrValues?: readonly string[]; maxAgeSeconds?: number },
): BffError {
  const query = new URLSearchParams()
  // Of several providers the one that knows the user; a single one needs no name.
  if (wanted.provider !== undefined && wanted.provider !== 'default') query.set('provider', wanted.provider)
  if (wanted.acrValues) query.set('acr_values', wanted.acrValues.join(' '))
  if (wanted.maxAgeSeconds !== undefined) query.set('max_age', String(wanted.maxAgeSeconds))
  return new BffError('step_up_required', 'the session does not meet acr or max_age', {
    members: {
      ...(wanted.acrValues && { acr_values: wanted.acrValues.join(' ') }),
      ...(wanted.maxAgeSeconds !== undefined && { max_age: wanted.maxAgeSeconds }),
      loginUrl: `${loginPath}?${query}`,
    },
  })
}

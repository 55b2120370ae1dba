/** Who may pass a route: claims, authentication context and age of the authentication (RFC 9470). */
import { BffError } from '../errors.ts'
import type { BearerToken } from '../oidc/access-token.ts'
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
export function judgeAccess(policy: Policy, user: Session | BearerToken | null, options: AccessOptions): void {
  if (!policy.allow && !policy.acr && policy.maxAgeMs === undefined) return
  if (!user) throw new BffError('login_required', 'the route has access rules and the request has no session')

  for (const [claim, wanted] of policy.allow ?? []) {
    const values = claimTexts(user, claim)
    if (!values.some((value) => wanted.includes(value) || (isScope(claim) && hasScope(value, wanted)))) {
      const fault = values.length === 0 ? 'is missing' : 'has none of the values that the route allows'
      throw new BffError('forbidden', `the claim ${claim} ${fault}`)
    }
  }

  const acr = user.claims['acr']
  const lacksContext = policy.acr !== undefined && !(typeof acr === 'string' && policy.acr.includes(acr))
  const authTime = user.claims['auth_time']
  const isTooOld =
    policy.maxAgeMs !== undefined &&
    !(typeof authTime === 'number' && options.now - authTime * 1_000 <= policy.maxAgeMs)
  if (lacksContext || isTooOld) {
    throw stepUpRequired(options.loginPath, {
      ...('provider' in user ? { provider: user.provider } : { isBearer: true }),
      ...(policy.acr && { acrValues: policy.acr }),
      ...(policy.maxAgeMs !== undefined && { maxAgeSeconds: Math.floor(policy.maxAgeMs / 1_000) }),
    })
  }
}

/** `scope`, and `scp` at Entra ID and Okta: a list with spaces between (RFC 8693 §4.2). */
function isScope(claim: string): boolean {
  return /(?:^|:)(?:scope|scp)$/.test(claim)
}

function hasScope(value: string, wanted: readonly string[]): boolean {
  return value.split(' ').some((scope) => wanted.includes(scope))
}

/** What RFC 9470 §3 tells a client whose token does not do. */
function challengeOf(wanted: URLSearchParams): string {
  const parameters = ['acr_values', 'max_age'].flatMap((name) => {
    const value = wanted.get(name)
    if (value === null) return []
    // A quoted-string of ASCII (RFC 9110 §5.6.4): what else is configured must not end the field, or the process.
    const text = value.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(/["\\]/g, '\\$&')
    return [`${name}="${text}"`]
  })
  return ['Bearer error="insufficient_user_authentication"', ...parameters].join(', ')
}

/** The failure that tells the application which sign-in the API wants (RFC 9470 §3), with the address that starts it. */
export function stepUpRequired(
  loginPath: string,
  wanted: { provider?: string; isBearer?: boolean; acrValues?: readonly string[]; maxAgeSeconds?: number },
): BffError {
  const query = new URLSearchParams()
  // Of several providers the one that knows the user; a single one needs no name.
  if (wanted.provider !== undefined && wanted.provider !== 'default') query.set('provider', wanted.provider)
  if (wanted.acrValues) query.set('acr_values', wanted.acrValues.join(' '))
  if (wanted.maxAgeSeconds !== undefined) query.set('max_age', String(wanted.maxAgeSeconds))
  // An API need not say what it misses (RFC 9470 §3). A silent sign-in would bring the same again.
  if (!wanted.acrValues && wanted.maxAgeSeconds === undefined) query.set('prompt', 'login')
  return new BffError('step_up_required', 'the sign-in of the session is not enough', {
    // An app reads the challenge, and gets itself another token.
    ...(wanted.isBearer && { headers: { 'www-authenticate': challengeOf(query) } }),
    members: {
      ...(wanted.acrValues && { acr_values: wanted.acrValues.join(' ') }),
      ...(wanted.maxAgeSeconds !== undefined && { max_age: wanted.maxAgeSeconds }),
      loginUrl: `${loginPath}?${query}`,
    },
  })
}

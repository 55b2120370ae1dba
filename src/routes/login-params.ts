/** What a browser may say about its sign-in: allow-listed, type-checked, never passed on unseen (AR-14). */
import { BffError } from '../errors.ts'

const VISIBLE = /^[^\p{Cc}\p{Cs}]{1,256}$/u

/** Each parameter and what its value may be. */
export const loginParamPatterns = {
  prompt: /^(none|(login|consent|select_account|create)( (login|consent|select_account|create))*)$/,
  login_hint: VISIBLE,
  acr_values: /^[\x21-\x7e]{1,128}( [\x21-\x7e]{1,128}){0,7}$/,
  max_age: /^\d{1,9}$/,
  ui_locales: /^[A-Za-z0-9-]{1,35}( [A-Za-z0-9-]{1,35}){0,7}$/,
} as const satisfies Record<string, RegExp>

export type LoginParam = keyof typeof loginParamPatterns

/** All parameters that a browser can ever set. */
export const loginParams = Object.keys(loginParamPatterns) as LoginParam[]

/**
 * The parameters of a query that go into the authorization request: those that are allowed here.
 *
 * @throws BffError `invalid_request` when an allowed one is not of its type (OIDC Core §3.1.2.1)
 */
export function readLoginParams(
  query: ReadonlyMap<string, string>,
  allowed: readonly LoginParam[],
): Record<string, string> {
  const params: Record<string, string> = {}
  for (const name of allowed) {
    const value = query.get(name)
    if (value === undefined || value === '') continue
    if (!loginParamPatterns[name].test(value)) throw new BffError('invalid_request', `${name} is not of its type`)
    params[name] = value
  }
  return params
}

/** Whether a login with this parameter would pass it on: it is allowed, and of its type. */
export function takesLoginParam(
  name: LoginParam,
  value: string,
  allowed: readonly LoginParam[] = loginParams,
): boolean {
  return allowed.includes(name) && loginParamPatterns[name].test(value)
}

/** From an API's wish for another sign-in to the login that asks for it (RFC 9470). */
import type { ProviderConfig } from '../config/schema.ts'
import type { BffError } from '../errors.ts'
import { stepUpRequired } from '../http/access.ts'
import { takesLoginParam } from './login-params.ts'

export interface StepUpOptions {
  /** `{basePath}/login` */
  readonly loginPath: string
  /** The name of the provider that knows the user. */
  readonly provider: string
  readonly config: Pick<ProviderConfig, 'loginParams'> | undefined
}

/**
 * The failure that the application gets in place of an API's `insufficient_user_authentication`. What the login would
 * not take is left out: an API must not ask the provider for more than a browser could.
 *
 * @param wanted the parameters of the challenge
 */
export function stepUpFor(wanted: ReadonlyMap<string, string>, options: StepUpOptions): BffError {
  const { loginPath, provider, config } = options
  const taken = (name: 'acr_values' | 'max_age'): string | undefined => {
    const value = wanted.get(name)
    return value !== undefined && takesLoginParam(name, value, config?.loginParams) ? value : undefined
  }
  const acrValues = taken('acr_values')
  const maxAge = taken('max_age')
  return stepUpRequired(loginPath, {
    provider,
    ...(acrValues !== undefined && { acrValues: acrValues.split(' ') }),
    ...(maxAge !== undefined && { maxAgeSeconds: Number(maxAge) }),
  })
}

/** The bearer token of a request, from the one place where it is looked for (RFC 6750 §2.1). */
import type { IncomingMessage } from 'node:http'
import { invalidToken } from '../oidc/access-token.ts'

/**
 * `undefined` where there is no `Authorization`, or one of another scheme, which is nobody's here. Never from a form
 * or a query (§2.2, §2.3): those are logged and shared.
 *
 * @throws BffError `login_required` for a malformed one and for two: which of them counts an attacker must not decide
 */
export function bearerTokenOf(raw: Pick<IncomingMessage, 'headers' | 'rawHeaders'>): string | undefined {
  const { authorization } = raw.headers
  if (authorization === undefined) return undefined
  const count = raw.rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'authorization').length
  if (count > 1) throw invalidToken('there are several Authorization fields')
  if (!/^bearer(?: |$)/i.test(authorization)) return undefined
  const token = /^bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(authorization)?.[1]
  if (token === undefined) throw invalidToken('it is no b64token')
  return token
}

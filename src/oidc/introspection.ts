/** What the provider says of a token that only it can read (RFC 7662). */
import * as client from 'openid-client'
import { BffError } from '../errors.ts'
import { invalidToken } from './access-token.ts'
import type { Connection } from './connection.ts'
import type { CheckedMetadata } from './metadata.ts'

/**
 * The whole answer, asked for as our client; `active` is for the caller to judge.
 *
 * @throws BffError `login_required` where the provider introspects nothing; `provider_unavailable` for every answer
 * that is none: "cannot tell" is not "not good"
 */
export async function introspect(
  connection: Connection,
  metadata: CheckedMetadata,
  token: string,
): Promise<Readonly<Record<string, unknown>>> {
  if (metadata.introspection_endpoint === undefined) {
    throw invalidToken('it is opaque, and the provider has no introspection endpoint')
  }
  const { exchange, error } = await connection.request(metadata, 'introspection', ({ configuration }) =>
    client.tokenIntrospection(configuration, token, { token_type_hint: 'access_token' }),
  )
  const { json, status } = exchange
  if (error === undefined && status === 200 && typeof json?.['active'] === 'boolean') return json
  throw new BffError(
    'provider_unavailable',
    status === 200 ? 'introspection: no answer of RFC 7662' : exchange.describe(),
  )
}

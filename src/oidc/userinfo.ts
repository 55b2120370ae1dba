/** The UserInfo endpoint (OIDC Core §5.3), asked only when the configuration says so. */
import * as client from 'openid-client'
import type { JWK } from 'jose'
import { BffError } from '../errors.ts'
import type { Connection } from './connection.ts'
import type { CheckedMetadata } from './metadata.ts'
import type { TokenSet } from './token-set.ts'

/**
 * Claims about exactly `sub`. A signed answer is verified with the issuer's keys; an answer about somebody else
 * is a token substitution (§5.3.4).
 *
 * @throws BffError `login_failed`, `provider_unavailable`
 */
export async function fetchUserinfo(
  connection: Connection,
  metadata: CheckedMetadata,
  tokens: TokenSet,
  sub: string,
  dpopKey: JWK | undefined,
): Promise<Readonly<Record<string, unknown>>> {
  const { exchange, value, error } = await connection.request(
    metadata,
    'userinfo',
    ({ configuration, dpop }) => client.fetchUserInfo(configuration, tokens.accessToken, client.skipSubjectCheck, dpop),
    { dpopKey },
  )
  if (!value) {
    if (exchange.status === 200)
      throw new BffError('login_failed', `userinfo: ${error instanceof Error ? error.message : 'unreadable'}`)
    throw new BffError('provider_unavailable', exchange.describe())
  }
  if (exchange.json === undefined) await verifySignature(connection, metadata, exchange.body ?? '')
  if (value.sub !== sub) throw new BffError('login_failed', 'userinfo: sub is not that of the ID token')
  return value
}

/** The library has read the claims of a signed answer and compared `iss` and `aud`; the signature is left to us. */
async function verifySignature(connection: Connection, metadata: CheckedMetadata, jwt: string): Promise<void> {
  try {
    await connection.issuerKeys(metadata).verify(jwt, connection.config.idTokenSignedResponseAlg, 'provider')
  } catch (error) {
    if (error instanceof BffError) throw error
    throw new BffError('login_failed', 'userinfo: the signature is not the issuer’s')
  }
}

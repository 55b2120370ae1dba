/** The keys with which the authorization server signs. */
import type { ProviderConfig } from '../../config/schema.ts'
import type { Connection } from '../../oidc/connection.ts'
import { fetched } from './discovery.ts'
import type { Document } from './discovery.ts'
import type { Findings } from './finding.ts'

type Key = Readonly<Record<string, unknown>>

/** RFC 7518 §3.3: a key of 2048 bits or more; n is base64url. */
const SHORTEST_MODULUS = Math.floor((2_048 / 8) * (4 / 3))

/** Whether one of them fits the one algorithm that is taken. */
export async function checkKeys(
  connection: Connection,
  document: Document,
  provider: ProviderConfig,
  findings: Findings,
): Promise<void> {
  const exchange = await fetched(connection, String(document['jwks_uri']), 'jwks')
  const keys: unknown = exchange.json?.['keys']
  if (exchange.status !== 200 || !Array.isArray(keys)) {
    findings.fail(
      `the keys of the server cannot be read: ${exchange.status === 200 ? 'no key set' : exchange.describe()}`,
      'correct jwks_uri in the discovery document, or write the right one into metadata: { jwks_uri: … }',
    )
    return
  }
  const algorithm = provider.idTokenSignedResponseAlg
  const fitting = keys.filter((key: unknown): key is Key => isKey(key) && fits(key, algorithm))
  if (fitting.length === 0) {
    const offered = [...new Set(keys.flatMap((key: unknown) => (isKey(key) ? [algorithmOf(key)] : [])))]
    findings.fail(
      `the server has no key for ${algorithm}`,
      `write idTokenSignedResponseAlg: ${offered.join(' or ') || 'RS256'}, as it is set for this client at the server`,
    )
    return
  }
  if (fitting.some(({ n }) => typeof n === 'string' && n.length < SHORTEST_MODULUS))
    findings.warn('the server signs with an RSA key of less than 2048 bits', 'let it make a new one')
  findings.ok(`the server has a key for ${algorithm}`)
}

function isKey(value: unknown): value is Key {
  return typeof value === 'object' && value !== null
}

/** Servers that do not say it sign with the commonest of the kind. */
function algorithmOf({ alg, kty, crv }: Key): string {
  if (typeof alg === 'string') return alg
  const curves: Readonly<Record<string, string>> = { 'P-256': 'ES256', 'P-384': 'ES384', 'P-521': 'ES512' }
  return kty === 'RSA' ? 'RS256' : (curves[String(crv)] ?? 'EdDSA')
}

function fits(key: Key, algorithm: string): boolean {
  const kind = /^[RP]S/.test(algorithm) ? 'RSA' : algorithm.startsWith('ES') ? 'EC' : 'OKP'
  const curve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[algorithm]
  return (
    key['kty'] === kind &&
    key['use'] !== 'enc' &&
    (key['alg'] === undefined || key['alg'] === algorithm) &&
    (curve === undefined || key['crv'] === curve)
  )
}

import { randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import { UsageError, readArguments } from './usage.ts'

const ALGORITHMS = ['ES256', 'PS256', 'RS256', 'EdDSA']

const help = `
Usage: sidegate keygen [--client-jwk [--alg ALG]] [--json]

Without options: one session key, 32 random bytes as base64url, as a line for session.keysFile.
  sidegate keygen >> session-keys

Options:
  --client-jwk   a key pair for clientAuthentication: private_key_jwt. The private key (a JWK) goes to stdout, for
                 provider.privateKeyFile; the public JWKS, to register at the authorization server, to stderr.
  --alg ALG      ${ALGORITHMS.join(', ')} (default ES256)
  --json         one JSON object on stdout: { "key" }, or { "privateKey", "jwks" }
`

/** `sidegate keygen`: keys, made where they are used; nothing is kept. */
export async function keygen(args: readonly string[]): Promise<void> {
  const parsed = readArguments(args, help, {
    'client-jwk': { type: 'boolean' },
    alg: { type: 'string' },
    json: { type: 'boolean' },
  })
  if (!parsed) return
  const { options } = parsed
  const json = options['json'] === true
  if (options['client-jwk'] !== true) {
    if (options['alg'] !== undefined) throw new UsageError('--alg goes with --client-jwk')
    const key = sessionKey()
    process.stdout.write(json ? `${JSON.stringify({ key })}\n` : `${key}\n`)
    return
  }
  const algorithm = options['alg'] ?? 'ES256'
  if (typeof algorithm !== 'string' || !ALGORITHMS.includes(algorithm)) {
    throw new UsageError(`--alg takes one of ${ALGORITHMS.join(', ')}`)
  }
  const { privateKey, jwks } = await clientKey(algorithm)
  if (json) {
    process.stdout.write(`${JSON.stringify({ privateKey, jwks })}\n`)
    return
  }
  process.stdout.write(`${JSON.stringify(privateKey)}\n`)
  process.stderr.write(`Register this at the authorization server (jwks), or its address {publicUrl}/bff/jwks.json:\n`)
  process.stderr.write(`${JSON.stringify(jwks, null, 2)}\n`)
}

/** One line of `session.keysFile`. */
export function sessionKey(): string {
  return randomBytes(32).toString('base64url')
}

async function clientKey(algorithm: string): Promise<{ privateKey: object; jwks: { keys: object[] } }> {
  const pair = await generateKeyPair(algorithm, { extractable: true, modulusLength: 3072 })
  const publicKey = await exportJWK(pair.publicKey)
  const names = { kid: await calculateJwkThumbprint(publicKey), alg: algorithm, use: 'sig' }
  return {
    privateKey: { ...(await exportJWK(pair.privateKey)), ...names },
    jwks: { keys: [{ ...publicKey, ...names }] },
  }
}

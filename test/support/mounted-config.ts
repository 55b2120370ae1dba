/** Configurations of documents and deployments, loaded as they would be where they run: with the secrets that they mount. */
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type LoadedConfig, parseConfig } from '../../src/config/load.ts'

const SECRETS = {
  'client-jwk': JSON.stringify({
    ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
    alg: 'ES256',
  }),
  client: 'a-client-secret-of-more-than-32-characters',
  'client-secret': 'a-client-secret-of-more-than-32-characters',
  'session-keys': Buffer.alloc(32, 7).toString('base64url'),
  'redis-password': 'a-password-of-redis',
}

/**
 * Loads YAML with `/run/secrets` and the directories of apps replaced by a directory of this test.
 *
 * @throws ConfigError with every mistake in it
 */
export function loadMounted(text: string): LoadedConfig {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-mounted-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  for (const folder of ['sidegate', 'public']) mkdirSync(join(directory, folder))
  writeFileSync(join(directory, 'public/index.html'), '<!doctype html>')
  for (const [name, value] of Object.entries(SECRETS)) {
    for (const file of [name, `sidegate/${name}`]) writeFileSync(join(directory, file), `${value}\n`, { mode: 0o600 })
  }
  const local = text.replaceAll('/run/secrets', directory).replaceAll('/srv/', `${directory}/`)
  return parseConfig(local, join(directory, 'sidegate.yaml'))
}

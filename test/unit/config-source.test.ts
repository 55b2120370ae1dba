import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Config } from '../../src/config/schema.ts'
import { ConfigSource } from '../../src/config/source.ts'
import type { Log } from '../../src/telemetry/log.ts'

const KEY = 'A'.repeat(43)

function yaml(directory: string, more = ''): string {
  return `
publicUrl: https://app.example.com
provider:
  issuer: https://id.example.com
  clientId: shop
  clientSecretFile: ${directory}/client
session: { keysFile: ${directory}/keys }
routes: [{ path: /, upstream: "http://web:3000" }]
${more}`
}

/** A directory with a configuration, and a source of it whose next change can be awaited. */
function running(options: { secrets?: string; pollMs?: number } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-'))
  const secrets = join(directory, options.secrets ?? '.')
  if (!options.secrets) {
    writeFileSync(join(secrets, 'client'), 'secret-1\n')
    writeFileSync(join(secrets, 'keys'), `${KEY}\n`)
  } else mountVersion(secrets, '1')
  const file = join(directory, 'sidegate.yaml')
  writeFileSync(file, yaml(secrets))
  const lines: { level: string; fields: object; message: string }[] = []
  const waiting: (() => void)[] = []
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields, message })
    for (const resolve of waiting.splice(0)) resolve()
  }
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  const source = new ConfigSource(file, { log, env: {}, pollMs: options.pollMs ?? 200 })
  const changes: Config[] = []
  source.onChange((config) => changes.push(config))
  onTestFinished(() => {
    source.close()
    rmSync(directory, { recursive: true })
  })
  const logged = () => new Promise<void>((resolve) => waiting.push(resolve))
  return { source, directory, secrets, file, lines, changes, logged }
}

/** As Kubernetes mounts secrets: files are links into `..data`, which is a link to one version, exchanged as a whole. */
function mountVersion(mount: string, version: string): void {
  mkdirSync(join(mount, `..${version}`), { recursive: true })
  writeFileSync(join(mount, `..${version}`, 'client'), `secret-${version}\n`)
  writeFileSync(join(mount, `..${version}`, 'keys'), `${KEY}\n`)
  symlinkSync(`..${version}`, join(mount, '..data_tmp'))
  renameSync(join(mount, '..data_tmp'), join(mount, '..data'))
  if (version !== '1') return
  symlinkSync('..data/client', join(mount, 'client'))
  symlinkSync('..data/keys', join(mount, 'keys'))
}

test('a changed secret file is picked up by itself, and listeners get the new configuration (CF-05)', async () => {
  const { source, secrets, changes, logged } = running()
  const before = source.current

  const told = logged()
  writeFileSync(join(secrets, 'client'), 'secret-2\n')
  await told

  expect(source.current.provider?.clientSecret).toBe('secret-2')
  expect(changes).toEqual([source.current])
  expect(before.provider?.clientSecret).toBe('secret-1')
})

test('a key added to the file of keys is picked up (CF-05, R28)', async () => {
  const { source, secrets, logged } = running()

  const told = logged()
  writeFileSync(join(secrets, 'keys'), `${KEY}\nB${'A'.repeat(42)}\n`)
  await told

  expect(source.current.session.keys).toEqual([KEY, `B${'A'.repeat(42)}`])
})

test('a secret that Kubernetes exchanges by moving a link is picked up', async () => {
  const { source, secrets, logged } = running({ secrets: 'mount', pollMs: 3_600_000 })

  const told = logged()
  mountVersion(secrets, '2')
  await told

  expect(source.current.provider?.clientSecret).toBe('secret-2')
})

test('a file that cannot be used keeps the old configuration, says why, and the next good one is taken', async () => {
  const { source, file, secrets, lines, changes, logged } = running()
  const before = source.current

  let told = logged()
  writeFileSync(file, yaml(secrets, 'listn: { port: 1 }'))
  await told

  expect(source.current).toBe(before)
  expect(changes).toEqual([])
  expect(lines).toMatchObject([
    {
      level: 'error',
      fields: { problems: [expect.stringMatching(/yaml:9: listn: unknown key; did you mean listen\?/)] },
    },
  ])

  told = logged()
  writeFileSync(file, yaml(secrets, 'listen: { port: 1 }'))
  await told

  expect(source.current.listen.port).toBe(1)
})

test('a secret file that is gone keeps the old secret', async () => {
  const { source, secrets, lines, logged } = running()

  const told = logged()
  rmSync(join(secrets, 'client'))
  await told

  expect(source.current.provider?.clientSecret).toBe('secret-1')
  expect(lines[0]).toMatchObject({ level: 'error' })
})

test('reload reads everything now; nothing changed means nobody is called', async () => {
  const { source, file, secrets, changes } = running()

  await source.reload()
  expect(changes).toEqual([])

  writeFileSync(file, yaml(secrets, 'log: { level: debug }'))
  await Promise.all([source.reload(), source.reload()])

  expect(changes).toEqual([source.current])
  expect(source.current.log.level).toBe('debug')
})

test('a listener that fails does not keep the others from the change', async () => {
  const { source, file, secrets, changes, lines } = running()
  source.onChange(() => {
    throw new Error('cannot')
  })
  const late: Config[] = []
  source.onChange((config) => late.push(config))

  writeFileSync(file, yaml(secrets, 'log: { level: debug }'))
  await source.reload()

  expect(changes).toHaveLength(1)
  expect(late).toHaveLength(1)
  expect(lines.some(({ level }) => level === 'error')).toBe(true)
})

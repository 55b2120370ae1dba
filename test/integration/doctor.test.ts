import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import type { Finding } from '../../src/commands/doctor/finding.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { Ward, findingsOf, linesOf } from '../support/misconfigurations/ward.ts'
import { startRedis } from '../support/redis.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'

const run = promisify(execFile)

let ward: Ward

beforeAll(async () => {
  ward = await Ward.open()
})

afterAll(() => ward[Symbol.asyncDispose]())

test('with everything well there is nothing to repair, and the sign-in, credentials and keys were really tried', async () => {
  const findings = await findingsOf(ward.configuration())

  expect(linesOf(findings.filter(({ status }) => status === 'failure'))).toEqual([])
  expect(
    findings.filter(({ status, about }) => status === 'ok' && about === 'provider').map(({ message }) => message),
  ).toEqual([
    expect.stringContaining('can be reached'),
    expect.stringContaining(ward.provider.issuer),
    'the clocks agree',
    'PKCE: S256; pushed requests: yes; iss in answers: yes; logout: yes; back-channel logout: yes; revocation: yes',
    expect.stringContaining('key for RS256'),
    expect.stringContaining('redirect URI is registered'),
    expect.stringContaining('credentials are right'),
    expect.stringContaining('post-logout redirect URI is taken'),
  ])
})

test('a Redis that is well has neither failure nor warning, and keeps nothing of the examination', async () => {
  await using redis = await startRedis({ args: ['--appendonly', 'yes'] })
  const store = { session: { keys: ['A'.repeat(43)] }, store: { redis: { url: redis.url } } }

  const findings = (await findingsOf(ward.configuration(store))).filter(({ about }) => about === 'redis')

  expect(linesOf(findings.filter(({ status }) => status !== 'ok'))).toEqual([])
  const { Redis } = await import('ioredis')
  const client = new Redis(redis.url)
  expect(await client.dbsize()).toBe(0)
  client.disconnect()
})

test('no finding holds a secret', async () => {
  const config = ward.configuration({
    provider: { clientSecret: 'hunter2-do-not-print' },
    admin: { token: 'hunter2-do-not-print' },
    session: { keys: ['A'.repeat(43)] },
    store: { redis: { url: 'redis://app:hunter2-do-not-print@127.0.0.1:1' } },
  })

  expect(JSON.stringify(await findingsOf(config))).not.toContain('hunter2')
})

test('every failure and every warning says what to do', async () => {
  const config = ward.configuration({
    provider: { clientId: 'nobody', scopes: ['openid', 'offline_acess'] },
    session: { keys: ['A'.repeat(43)] },
    store: { redis: { url: 'redis://127.0.0.1:1' } },
    routes: [{ path: '/api', upstream: 'https://api.invalid' }],
  })

  const findings = (await findingsOf(config)).filter(({ status }) => status !== 'ok')

  expect(new Set(findings.map(({ about }) => about))).toEqual(
    new Set(['configuration', 'provider', 'redis', 'route /api', 'publicUrl']),
  )
  for (const { remedy } of findings) expect(remedy).toMatch(/\w+ \w+|:\d+$/)
})

test('an authorization server of a private authority is trusted once the gateway is started as the remedy says', async () => {
  await using authority = await createAuthority()
  await using server = await startScriptedProvider({ tls: await authority.issue('127.0.0.1') })
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-doctor-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const config = ward.configuration({ provider: { issuer: server.issuer } })
  writeFileSync(join(directory, 'sidegate.yaml'), stringify(config), { mode: 0o600 })
  const main = new URL('../../src/main.ts', import.meta.url).pathname
  const aboutTls = async (env: Record<string, string>) => {
    const options = { cwd: directory, env: { PATH: process.env['PATH'] ?? '', ...env } }
    // It ends with 1 where something is to be repaired, and says the same.
    const outcome = await run(process.execPath, [main, 'doctor', '--json'], options).catch((error: unknown) => error)
    const { findings } = JSON.parse((outcome as { stdout: string }).stdout) as { findings: Finding[] }
    return linesOf(
      findings.filter(({ about, message }) => about === 'provider' && message.includes(String(server.port))),
    )
  }

  const [untrusted = ''] = await aboutTls({})
  expect(untrusted).toMatch(/^failure .* is not signed by an authority that is trusted here/)
  const [, variable = ''] = /start the gateway with (\w+)=FILE, a file with the certificate/.exec(untrusted) ?? []

  const trusted = await aboutTls({ [variable]: authority.caFile })
  expect(trusted.join('\n')).not.toContain('not signed by an authority')
  expect(trusted.join('\n')).toContain('ok provider: the discovery document is good')
})

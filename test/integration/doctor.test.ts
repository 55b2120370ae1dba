import { afterAll, beforeAll, expect, test } from 'vitest'
import { Ward, findingsOf, linesOf } from '../support/misconfigurations/ward.ts'
import { startRedis } from '../support/redis.ts'

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

import { expect, test } from 'vitest'
import { takeOver } from '../../src/config/running.ts'
import { Config } from '../../src/config/schema.ts'

const base = {
  publicUrl: 'https://app.example.com',
  provider: { issuer: 'https://id.example.com', clientId: 'shop', clientSecret: 'a-secret' },
  session: { keys: ['A'.repeat(43)] },
  routes: [{ path: '/api', upstream: 'http://api:3000' }],
}

function config(changes: object): Config {
  return Config.parse({ ...base, ...changes })
}

test.each([
  ['name', { name: 'other' }],
  ['publicUrl', { publicUrl: 'https://other.example.com' }],
  ['basePath', { basePath: '/auth' }],
  ['listen.port', { listen: { port: 8081 } }],
  ['listen.tls', { listen: { tls: { cert: 'a certificate', key: 'its key' } } }],
  ['listen.maxHeaderSize', { listen: { maxHeaderSize: '64kb' } }],
  ['management.port', { management: { port: 9999 } }],
  ['admin', { admin: { token: 'x'.repeat(40) } }],
  ['forwardAuth', { forwardAuth: { host: '127.0.0.1', port: 9092 } }],
  ['log.format', { log: { format: 'pretty' } }],
  ['log.hashSubject', { log: { hashSubject: false } }],
  ['store.redis', { store: { redis: { url: 'redis://elsewhere:6379' } } }],
  ['session.cache.maxEntries', { session: { ...base.session, cache: { maxEntries: 5 } } }],
  ['session.outageGrace', { session: { ...base.session, outageGrace: '5m' } }],
])('%s keeps its value until the next start, and is named', (key, changes) => {
  const running = config({})

  const taken = takeOver(running, config(changes))

  expect(taken.kept).toEqual([key])
  expect(taken.config).toEqual(running)
})

test('the flags that give the cookie its name stay with the address that they were allowed for', () => {
  const running = config({})

  const taken = takeOver(running, config({ publicUrl: 'http://localhost:1', session: { cookie: { insecure: true } } }))

  expect(taken.kept).toEqual(expect.arrayContaining(['publicUrl', 'session.cookie.insecure']))
  expect(taken.config.session.cookie.insecure).toBe(false)
})

test('everything else is taken over, certificates and tokens of listeners included', () => {
  const tls = { cert: 'one', key: 'one' }
  const running = config({ listen: { tls }, admin: { token: 'a'.repeat(40) } })
  const changed = config({
    listen: { tls: { cert: 'two', key: 'two' } },
    admin: { token: 'b'.repeat(40) },
    log: { level: 'debug' },
    routes: [{ path: '/v2', upstream: 'http://api:4000' }],
    session: {
      keys: [Buffer.alloc(32, 1).toString('base64url'), ...base.session.keys],
      idleTimeout: '5m',
      claims: ['sub'],
    },
    headers: { frameAncestors: "'self'" },
    rateLimits: { api: '10/s' },
    shutdown: { grace: '1s' },
  })

  expect(takeOver(running, changed)).toEqual({ config: changed, kept: [] })
})

test('the credentials of the same Redis are taken over, and nothing of another one', () => {
  const redis = (changes: object) => config({ store: { redis: { url: 'rediss://shop:one@redis:6379/1', ...changes } } })
  const running = redis({ tls: { ca: 'one' } })
  const rotated = redis({ url: 'rediss://store:two@redis:6379/1', tls: { ca: 'two' } })
  const byKey = redis({ username: 'store', password: 'two', tls: { ca: 'two' }, url: 'rediss://redis:6379/1' })

  expect(takeOver(running, rotated)).toEqual({ config: rotated, kept: [] })
  expect(takeOver(running, byKey)).toEqual({ config: byKey, kept: [] })
  for (const changes of [{ url: 'rediss://shop:two@other:6379/1' }, { url: 'rediss://shop:two@redis:6379/2' }, {}]) {
    expect(takeOver(running, redis(changes)).config).toEqual(running)
  }
})

test('a configuration without session keys does not take those away that seal what is stored', () => {
  const running = config({})

  expect(takeOver(running, config({ session: {} })).config.session.keys).toEqual(base.session.keys)
  expect(takeOver(config({ session: {} }), running).config.session.keys).toBeUndefined()
})

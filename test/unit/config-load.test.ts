import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { effectiveTree, effectiveValues } from '../../src/config/effective.ts'
import { interpolate } from '../../src/config/interpolate.ts'
import { parseConfig } from '../../src/config/load.ts'
import { isLoopback, isNetwork, isSameSite } from '../../src/config/network.ts'
import { formatPath } from '../../src/config/problem.ts'
import { editDistance, suggest } from '../../src/config/suggest.ts'

const KEYS = ['A'.repeat(43), `B${'A'.repeat(42)}`]

const text = `
publicUrl: \${PUBLIC_URL:-https://app.example.com}
listen: { port: "\${PORT:-8080}" }
provider:
  issuer: https://id.example.com/
  clientId: "\${CLIENT_ID}"
  clientSecretFile: client
session:
  keysFile: keys
store:
  redis: { url: "rediss://redis:6379/0" }
routes:
  - path: /api
    upstream: http://orders:3000
  - path: /
    spa: { directory: ./public }
    session: none
`

function directory(files: Record<string, string> = { client: 'secret-1\n', keys: `${KEYS.join('\n')}\n` }): string {
  const path = mkdtempSync(join(tmpdir(), 'sidegate-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content, { mode: 0o600 })
  return path
}

function load(changes: { text?: string; env?: Record<string, string>; files?: Record<string, string> } = {}) {
  const at = directory(changes.files)
  return {
    at,
    ...parseConfig(changes.text ?? text, join(at, 'sidegate.yaml'), { env: { CLIENT_ID: 'shop', ...changes.env } }),
  }
}

describe('environment', () => {
  test.each([
    ['${A}', 'one'],
    ['x${A}y${B:-}z', 'xoneyz'],
    ['${UNSET:-de:fault}', 'de:fault'],
    ['${EMPTY:-default}', 'default'],
    ['${EMPTY}', ''],
    ['${A:?never said}', 'one'],
    ['$$', '$'],
    ['$${A}', '${A}'],
    ['$A', '$A'],
    ['a $ b', 'a $ b'],
  ])('%s becomes %j', (source, expected) => {
    expect(interpolate(source, { A: 'one', EMPTY: '' })).toMatchObject({ text: expected })
  })

  test.each(['${', '${}', '${A', '${1}', '${A-b}', '${UNSET}', '${EMPTY:?needed}'])('%s is a problem', (source) => {
    expect(interpolate(source, { A: 'one', EMPTY: '' })).toHaveProperty('problem')
  })

  test('what comes from the environment is text and nothing else: it cannot add keys or references', () => {
    const { config } = load({ env: { CLIENT_ID: 'shop }\nadmin: { port: 1 } ${PORT} $$' } })

    expect(config.provider?.clientId).toBe('shop }\nadmin: { port: 1 } ${PORT} $$')
    expect(config.admin).toBeUndefined()
  })

  test('a text without $ stays as it is', () => {
    fc.assert(
      fc.property(
        fc.string().filter((one) => !one.includes('$')),
        (source) => {
          expect(interpolate(source, {})).toEqual({ text: source, names: [], defaulted: false })
        },
      ),
    )
  })

  test('any text, escaped, comes through', () => {
    fc.assert(
      fc.property(fc.string(), (source) => {
        expect(interpolate(source.replaceAll('$', '$$$$'), {})).toMatchObject({ text: source })
      }),
    )
  })

  test('a number is read as one where no text can stand, and stays a text where one can', () => {
    const { config } = load({ env: { PORT: '8443', CLIENT_ID: '1234' } })

    expect(config.listen.port).toBe(8443)
    expect(config.provider?.clientId).toBe('1234')
  })
})

describe('values from files', () => {
  test('a secret file gives the secret without its trailing line break', () => {
    expect(load().config.provider?.clientSecret).toBe('secret-1')
  })

  test('a file of keys gives one key a line, blank lines left out', () => {
    const files = { client: 's', keys: `\n${KEYS[0]}\r\n\n${KEYS[1]}\n\n` }

    expect(load({ files }).config.session.keys).toEqual(KEYS)
  })

  test('paths are relative to the configuration file, of apps too', () => {
    const { config, at, files } = load()

    expect(config.routes[1]?.spa?.directory).toBe(join(at, 'public'))
    expect(files).toEqual(['sidegate.yaml', 'client', 'keys'].map((name) => join(at, name)))
  })

  test('a secret file that everybody can read gives a warning, one that only we can read gives none (CF-02)', () => {
    const at = directory()
    const read = () =>
      parseConfig(text.replace('./public', '.'), join(at, 'sidegate.yaml'), { env: { CLIENT_ID: 'shop' } }).warnings
    expect(read()).toEqual([])

    chmodSync(join(at, 'client'), 0o644)

    expect(read()).toMatchObject([
      { path: ['provider', 'clientSecretFile'], message: expect.stringContaining('chmod') },
    ])
  })

  test('a secret in the file itself gives a warning, one from the environment gives none (CF-02)', () => {
    const changed = text
      .replace('clientSecretFile: client', 'clientSecret: "${CLIENT_SECRET}"')
      .replace('keysFile: keys', `keys: [${KEYS[0]}]`)

    const { warnings } = load({ text: changed.replace('./public', '.'), env: { CLIENT_SECRET: 's' } })

    expect(warnings.map(({ path, line }) => [formatPath(path), line])).toEqual([['session.keys[0]', 9]])
  })
})

describe('what comes out', () => {
  test('the defaults that are documented', () => {
    const { config } = load()

    expect(config).toMatchObject({
      name: 'sidegate',
      basePath: '/bff',
      listen: { host: '0.0.0.0', port: 8080, maxHeaderSize: 32_768 },
      management: { host: '0.0.0.0', port: 9090 },
      trustedProxies: [],
      shutdown: { delay: 5_000, grace: 20_000 },
      log: { level: 'info', hashSubject: true },
      provider: {
        scopes: ['openid'],
        clientAuthentication: 'client_secret_basic',
        basicEncoding: 'rfc6749',
        loginParams: ['prompt', 'login_hint', 'acr_values', 'max_age', 'ui_locales'],
        pushedAuthorization: 'auto',
        requestObject: false,
        responseMode: 'query',
        dpop: false,
        userinfo: false,
        idTokenSignedResponseAlg: 'RS256',
        clockTolerance: 30_000,
        timeout: 10_000,
        logout: { style: 'oidc', revoke: true },
      },
      login: { allowCrossSite: false, returnOrigins: [] },
      session: {
        idleTimeout: 1_800_000,
        maxLifetime: 36_000_000,
        refreshMargin: 30_000,
        claims: ['sub', 'name', 'email', 'picture'],
        limit: { onExceed: 'endOldest' },
        outageGrace: 0,
        cache: { maxEntries: 10_000, ttl: 30_000 },
        cookie: { persistent: false, insecure: false },
      },
      store: { redis: { commandTimeout: 500 } },
      csrf: { requireHeader: false },
      cors: { origins: [] },
      rateLimits: { login: { limit: 20, windowMs: 60_000 }, refresh: { limit: 6, windowMs: 60_000 } },
      headers: { hsts: true, frameAncestors: "'none'" },
      readiness: { requireStore: false },
    })
    expect(config.rateLimits.api).toBeUndefined()
    expect(config.routes[0]).toMatchObject({
      session: 'required',
      websocket: true,
      cookies: true,
      slides: true,
      navigable: false,
      preserveHost: false,
      timeout: { connect: 3_000, firstByte: 30_000 },
      http2: false,
      maxInFlight: 256,
    })
  })

  test('an origin comes out as one, without slash, default port and capitals', () => {
    expect(load({ env: { PUBLIC_URL: 'https://App.Example.com:443/' } }).config.publicUrl).toBe(
      'https://app.example.com',
    )
  })

  test('a lifetime shorter than the default idle timeout is taken: the shorter one ends the session', () => {
    const changed = text.replace('keysFile: keys', 'keysFile: keys\n  maxLifetime: 3s')

    expect(load({ text: changed }).config.session.maxLifetime).toBe(3_000)
  })

  test('a section with nothing below it is a section left out', () => {
    expect(load({ text: `${text}\nlog:\n  # level: debug\n` }).config.log.level).toBe('info')
  })

  test('null stays where it says something: in the claims parameter', () => {
    const changed = text.replace(
      'clientSecretFile: client',
      'clientSecretFile: client\n  claims: { userinfo: { email: null } }',
    )

    expect(load({ text: changed }).config.provider?.claims).toEqual({ userinfo: { email: null } })
  })

  test('profile fapi2 is one line: a key proves the client, tokens are bound, ID tokens are signed with PS256 (F2-01, F2-04, F2-05)', () => {
    const changed = text.replace('clientSecretFile: client', 'privateKeyFile: client\n  profile: fapi2')

    const key = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    const { config } = load({ text: changed, files: { client: key, keys: `${KEYS[0]}\n` } })

    expect(config.provider).toMatchObject({
      clientAuthentication: 'private_key_jwt',
      dpop: true,
      idTokenSignedResponseAlg: 'PS256',
    })
  })

  test('profile fapi2 with a certificate binds tokens to that (F2-01, F2-05)', () => {
    const changed = text.replace(
      'clientSecretFile: client',
      'tls: { certFile: client, keyFile: client }\n  profile: fapi2',
    )

    const { config } = load({ text: changed, files: { client: 'a pair', keys: `${KEYS[0]}\n` } })

    expect(config.provider).toMatchObject({ clientAuthentication: 'tls_client_auth', dpop: false })
  })
})

describe('what is in force', () => {
  test('each value has its origin, and no secret is in it (CF-02)', () => {
    const loaded = load({ env: { PORT: '8443' } })
    const values = effectiveValues(loaded)
    const of = (path: string) => values.find((value) => formatPath(value.path) === path)

    expect(of('listen.port')).toMatchObject({ value: 8443, origin: 'environment PORT' })
    expect(of('provider.issuer')?.origin).toMatch(/sidegate\.yaml:5$/)
    expect(of('provider.clientSecret')).toMatchObject({
      value: '***',
      origin: expect.stringMatching(/file named in .*:7$/),
    })
    expect(of('session.keys')?.value).toEqual(['***', '***'])
    expect(of('session.idleTimeout')).toMatchObject({ value: '30m', origin: 'default' })
    expect(of('store.redis.url')?.value).toBe('***')
    expect(JSON.stringify(effectiveTree(values))).not.toMatch(/secret-1|AAAA/)
  })
})

describe('places on the network', () => {
  test.each([
    ['localhost', true],
    ['app.localhost', true],
    ['127.0.0.1', true],
    ['127.8.8.8', true],
    ['[::1]', true],
    ['localhost.example.com', false],
    ['127.0.0.1.example.com', false],
    ['notlocalhost', false],
    ['0.0.0.0', false],
    ['10.0.0.1', false],
    ['127.0.0.1.nip.io', false],
    ['[::ffff:127.0.0.1]', false],
  ])('%s is a loopback address: %s (CF-03)', (host, expected) => {
    expect(isLoopback(host)).toBe(expected)
  })

  test.each([
    ['10.0.0.0/8', true],
    ['192.0.2.1', true],
    ['2001:db8::/32', true],
    ['10.0.0.0/33', false],
    ['10.0.0.0/', false],
    ['10.0.0.0/8/8', false],
    ['loopback', false],
    ['1', false],
    ['*', false],
  ])('%s is an address or a network: %s (CF-04)', (entry, expected) => {
    expect(isNetwork(entry)).toBe(expected)
  })

  test.each([
    ['https://app.example.com', 'https://admin.example.com', true],
    ['https://example.com', 'https://app.example.com', true],
    ['https://app.example.com', 'https://app.example.com:8443', true],
    ['https://app.example.com', 'http://app.example.com', false],
    ['https://app.example.com', 'https://app.example.org', false],
    ['https://a.co.uk', 'https://b.co.uk', false],
    ['https://x.a.co.uk', 'https://y.a.co.uk', true],
    ['https://a.github.io', 'https://b.github.io', false],
    ['http://localhost:8080', 'http://localhost:5173', true],
    ['http://localhost:8080', 'http://127.0.0.1:8080', false],
    ['https://10.0.0.1', 'https://10.0.0.2', false],
  ])('%s and %s are one site: %s', (one, other, expected) => {
    expect(isSameSite(new URL(one), new URL(other))).toBe(expected)
    expect(isSameSite(new URL(other), new URL(one))).toBe(expected)
  })
})

describe('what was meant', () => {
  test.each([
    ['client_id', 'clientId'],
    ['clientid', 'clientId'],
    ['cleintId', 'clientId'],
    ['scope', 'scopes'],
    ['isuer', 'issuer'],
  ])('%s means %s', (word, meant) => {
    expect(suggest(word, ['issuer', 'clientId', 'clientSecret', 'scopes'])).toBe(meant)
  })

  test.each(['', 'x', 'banana', 'provider'])('nothing is close to %j', (word) => {
    expect(suggest(word, ['issuer', 'clientId', 'scopes', 'y'])).toBeUndefined()
  })

  test('the distance is symmetric, zero for equals only, and no more than the longer word', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (one, other) => {
        const distance = editDistance(one, other)
        expect(distance).toBe(editDistance(other, one))
        expect(distance === 0).toBe(one === other)
        expect(distance).toBeLessThanOrEqual(Math.max(one.length, other.length))
      }),
    )
  })
})

test('no text makes the loader fail in another way than by telling problems', () => {
  const lines = fc.constantFrom(
    'publicUrl: https://a.example',
    'provider:',
    '  issuer: x',
    '- a',
    '&a [*a]',
    '*a',
    '? [b]',
    '"',
    '${X}',
    '__proto__: { polluted: 1 }',
    'routes: [{ path: / }]',
    '<<: *a',
    '!!binary x',
    '---',
    'x: &a { y: *a }',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(lines, fc.string()), { maxLength: 12 }), (file) => {
      expect(() => parseConfig(file.join('\n'), 'sidegate.yaml', { env: {} })).toThrow(
        expect.objectContaining({ name: 'ConfigError' }),
      )
      expect({}).not.toHaveProperty('polluted')
    }),
    { numRuns: 300 },
  )
})

import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { examine } from '../../src/commands/doctor.ts'
import type { Finding } from '../../src/commands/doctor/finding.ts'
import { parseConfig } from '../../src/config/load.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider } from '../support/provider.ts'
import type { TestProvider } from '../support/provider.ts'
import { freePort, startRedis } from '../support/redis.ts'

type Tree = Record<string, unknown>

let provider: TestProvider
let api: Server
let apiUrl: string

beforeAll(async () => {
  provider = await startProvider()
  api = createServer((_request, response) => response.end()).listen(0, '127.0.0.1')
  await once(api, 'listening')
  apiUrl = `http://127.0.0.1:${portOf(api)}`
})

afterAll(async () => {
  api.close()
  await provider.close()
})

function portOf(server: Server): number {
  // A TCP server that listens on a port has an AddressInfo.
  return (server.address() as AddressInfo).port
}

/** A configuration with which everything is well; `changes` are laid over it, section by section. */
function configuration(changes: { provider?: Tree; route?: Tree; more?: Tree } = {}): Tree {
  return {
    publicUrl: 'http://localhost:8080',
    provider: {
      issuer: provider.issuer,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      scopes: ['openid', 'offline_access'],
      ...changes.provider,
    },
    routes: [{ path: '/api', upstream: apiUrl, ...changes.route }],
    ...changes.more,
  }
}

async function findingsOf(config: Tree): Promise<Finding[]> {
  return examine(parseConfig(stringify(config), join(tmpdir(), 'sidegate.yaml'), { env: {} }))
}

function failuresOf(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ status }) => status === 'failure')
    .map(({ about, message, remedy }) => `${about}: ${message} → ${remedy}`)
}

function warningsOf(findings: readonly Finding[], about: string): string[] {
  return findings
    .filter((one) => one.status === 'warning' && one.about === about)
    .map(({ message, remedy }) => `${message} → ${remedy}`)
}

test('with everything well there is nothing to repair, and the sign-in, credentials and keys were really tried', async () => {
  const findings = await findingsOf(configuration())

  expect(failuresOf(findings)).toEqual([])
  expect(
    findings.filter(({ status, about }) => status === 'ok' && about === 'provider').map(({ message }) => message),
  ).toEqual([
    expect.stringContaining('can be reached'),
    'the clocks agree',
    expect.stringContaining(provider.issuer),
    expect.stringContaining('key for RS256'),
    expect.stringContaining('redirect URI is registered'),
    expect.stringContaining('credentials are right'),
    expect.stringContaining('post-logout redirect URI is taken'),
  ])
})

test('no finding holds a secret', async () => {
  const config = configuration({
    provider: { clientSecret: 'hunter2-do-not-print' },
    more: { admin: { token: 'hunter2-do-not-print' } },
  })

  expect(JSON.stringify(await findingsOf(config))).not.toContain('hunter2')
})

describe('each mistake is found with its remedy, and is gone when the remedy is followed:', () => {
  test.each<[title: string, broken: () => Tree, expected: RegExp]>([
    [
      'an issuer with a slash too many',
      () => ({ issuer: `${provider.issuer}/` }),
      /did you mean issuer: http:\/\/127\.0\.0\.1:\d+ \?/,
    ],
    [
      'an issuer with a wrong path',
      () => ({ issuer: `${provider.issuer}/realms/acme` }),
      /no discovery document .*404.*whole path/,
    ],
    ['a name that DNS does not know', () => ({ issuer: 'https://id.invalid' }), /not known to DNS/],
    [
      'a wrong secret',
      () => ({ clientSecret: 'wrong-secret-wrong-secret-wrong-secret' }),
      /refuses the credentials .*invalid_client.*check clientId and secret/,
    ],
    ['an unknown client', () => ({ clientId: 'nobody' }), /does not know the client → check clientId: nobody/],
    [
      'an algorithm that the server does not have',
      () => ({ idTokenSignedResponseAlg: 'ES512' }),
      /does not sign ID tokens with ES512 → write idTokenSignedResponseAlg: one of .*RS256/,
    ],
    [
      'a method that the server does not have',
      () => ({
        clientAuthentication: 'tls_client_auth',
        clientSecret: undefined,
        tls: { cert: 'x', key: 'x' },
      }),
      /write clientAuthentication: one of client_secret_basic/,
    ],
  ])('%s', async (_title, broken, expected) => {
    expect(failuresOf(await findingsOf(configuration({ provider: broken() }))).join('\n')).toMatch(expected)
    expect(failuresOf(await findingsOf(configuration()))).toEqual([])
  })

  test('a redirect URI that is not registered', async () => {
    const elsewhere = { publicUrl: 'http://localhost:8099', listen: { port: 8099 } }
    const broken = configuration({ more: elsewhere })

    expect(failuresOf(await findingsOf(broken)).join('\n')).toMatch(
      /not registered → register .*: http:\/\/localhost:8099\/bff\/callback/,
    )

    await using registered = await startProvider({ redirectUris: ['http://localhost:8099/bff/callback'] })
    expect(
      failuresOf(await findingsOf(configuration({ provider: { issuer: registered.issuer }, more: elsewhere }))),
    ).toEqual([])
  })

  test('an authorization server that is not running', async () => {
    const port = await freePort()
    const broken = configuration({ provider: { issuer: `http://127.0.0.1:${port}` } })

    expect(failuresOf(await findingsOf(broken))).toEqual([
      `provider: 127.0.0.1:${port} refuses connections → start the server, or correct the port`,
    ])
  })

  test('a clock that is off', async () => {
    // What the real server says, an hour in the future.
    const skewed = createServer((request, response) => {
      void fetch(`${provider.issuer}${request.url ?? ''}`, { redirect: 'manual' }).then(async (answer) => {
        const text = (await answer.text()).replaceAll(provider.issuer, `http://127.0.0.1:${portOf(skewed)}`)
        response.writeHead(answer.status, { date: new Date(Date.now() + 3_600_000).toUTCString() }).end(text)
      })
    }).listen(0, '127.0.0.1')
    await once(skewed, 'listening')
    onTestFinished(() => void skewed.close())

    const findings = await findingsOf(configuration({ provider: { issuer: `http://127.0.0.1:${portOf(skewed)}` } }))

    expect(failuresOf(findings).join('\n')).toMatch(
      /clock is 3(599|600|601) s behind the server's, more than clockTolerance allows: logins fail → synchronise the clocks/,
    )
  })

  test('a certificate of an authority that is not trusted, at an upstream', async () => {
    await using authority = await createAuthority()
    const { cert, key } = await authority.issue('127.0.0.1')
    const secured = createTlsServer({ cert, key }, (_request, response) => response.end()).listen(0, '127.0.0.1')
    await once(secured, 'listening')
    onTestFinished(() => void secured.close())
    const upstream = `https://127.0.0.1:${portOf(secured)}`

    expect(failuresOf(await findingsOf(configuration({ route: { upstream } }))).join('\n')).toMatch(
      /route \/api: .*not signed by an authority that is trusted.*tls\.caFile/,
    )
    expect(failuresOf(await findingsOf(configuration({ route: { upstream, tls: { ca: authority.ca } } })))).toEqual([])
  })

  test('https to an upstream that speaks http', async () => {
    const upstream = apiUrl.replace('http:', 'https:')

    expect(failuresOf(await findingsOf(configuration({ route: { upstream } }))).join('\n')).toMatch(
      /TLS does not come about.*begins with http:\/\//,
    )
  })

  test('an upstream that is not running', async () => {
    const upstream = `http://127.0.0.1:${await freePort()}`

    expect(failuresOf(await findingsOf(configuration({ route: { upstream } }))).join('\n')).toMatch(
      /route \/api: .*refuses connections → start the server/,
    )
  })

  test('the gateway as its own upstream', async () => {
    const findings = await findingsOf(configuration({ route: { upstream: 'http://localhost:8080' } }))

    expect(failuresOf(findings).join('\n')).toMatch(/round in a circle → write the address of the application/)
  })

  test('an app that has not been built', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sidegate-spa-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const config = configuration({ more: { routes: [{ path: '/', spa: { directory }, session: 'none' }] } })

    expect(failuresOf(await findingsOf(config)).join('\n')).toMatch(/there is no index\.html in .* → build the app/)

    writeFileSync(join(directory, 'index.html'), '<p>app</p>')
    expect(failuresOf(await findingsOf(config))).toEqual([])
  })

  test('no offline_access, memory for sessions, and https without a trusted proxy are warnings', async () => {
    const findings = await findingsOf(
      configuration({ provider: { scopes: ['openid'] }, more: { publicUrl: 'https://app.example.com' } }),
    )

    expect(warningsOf(findings, 'provider').join('\n')).toMatch(
      /offline_access is not asked for.*add offline_access to scopes/,
    )
    expect(warningsOf(findings, 'configuration').join('\n')).toMatch(/in memory.*store\.redis/)
    expect(warningsOf(findings, 'configuration').join('\n')).toMatch(/proxy in front.*trustedProxies/)
  })
})

describe('Redis:', () => {
  const withRedis = (url: string) =>
    configuration({ more: { session: { keys: ['A'.repeat(43)] }, store: { redis: { url } } } })

  test('one that is well', async () => {
    await using redis = await startRedis({ args: ['--appendonly', 'yes'] })

    const findings = await findingsOf(withRedis(redis.url))

    expect(failuresOf(findings)).toEqual([])
    expect(warningsOf(findings, 'redis')).toEqual([])
  })

  test('one that is not running', async () => {
    expect(failuresOf(await findingsOf(withRedis(`redis://127.0.0.1:${await freePort()}`))).join('\n')).toMatch(
      /redis: .*refuses connections/,
    )
  })

  test('a password that is wrong or missing', async () => {
    await using redis = await startRedis({ args: ['--requirepass', 'right'], isReady: () => Promise.resolve(true) })
    const at = (credentials: string) => `redis://${credentials}127.0.0.1:${redis.port}`
    await listening(redis.port)

    expect(failuresOf(await findingsOf(withRedis(at(':wrong@')))).join('\n')).toMatch(
      /refuses the password .*passwordFile/,
    )
    expect(failuresOf(await findingsOf(withRedis(at('')))).join('\n')).toMatch(/refuses the password .*passwordFile/)
    expect(failuresOf(await findingsOf(withRedis(at(':right@'))))).toEqual([])
  })

  test('one that evicts sessions, and one that persists nothing (R37)', async () => {
    await using redis = await startRedis({ args: ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'] })

    const findings = await findingsOf(withRedis(redis.url))

    expect(failuresOf(findings).join('\n')).toMatch(
      /allkeys-lru.*signed out at random → redis-cli CONFIG SET maxmemory-policy noeviction/,
    )
    expect(warningsOf(findings, 'redis').join('\n')).toMatch(/persist nothing.*appendonly yes/)
  })

  test('a replica (R36)', async () => {
    await using master = await startRedis()
    await using replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(master.port)] })

    expect(failuresOf(await findingsOf(withRedis(replica.url))).join('\n')).toMatch(
      /is a replica.*master, or sentinels/,
    )
    expect(failuresOf(await findingsOf(withRedis(master.url)))).toEqual([])
  })

  test('an ACL user that may not use the keys', async () => {
    await using redis = await startRedis({ args: ['--user', 'app', 'on', '>pw', '~other:*', '+@all'] })

    expect(failuresOf(await findingsOf(withRedis(`redis://app:pw@127.0.0.1:${redis.port}`))).join('\n')).toMatch(
      /may not use keys below sidegate:.*~sidegate:\*/,
    )
  })
})

async function listening(port: number): Promise<void> {
  const { connect } = await import('node:net')
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isOpen) return
  }
}

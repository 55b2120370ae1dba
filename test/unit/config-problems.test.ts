import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { ConfigError, formatPath, formatProblem } from '../../src/config/problem.ts'

const SECRET = 'hunter2-do-not-print'
const KEY = 'A'.repeat(43)
const PRIVATE = `'${JSON.stringify(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }))}'`

/** A configuration that is fine; each broken one below differs from it in one respect. */
const parts = {
  publicUrl: 'publicUrl: https://app.example.com',
  provider: `provider:
  issuer: https://id.example.com/realms/acme
  clientId: shop
  clientSecret: ${SECRET}`,
  routes: `routes:
  - path: /api
    upstream: http://orders:3000`,
}

type Parts = Partial<Record<keyof typeof parts | 'more', string>>

function file(changes: Parts): string {
  return `${Object.values({ ...parts, ...changes }).join('\n')}\n`
}

function problemsOf(text: string, env: Record<string, string> = {}): readonly string[] {
  try {
    parseConfig(text, 'sidegate.yaml', { env })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    expect(error.message).not.toContain(SECRET)
    return error.problems.map((one) => `${one.line}:${one.column} ${formatPath(one.path)}: ${one.message}`)
  }
  return []
}

const provider = (lines: string) => `provider:\n  issuer: https://id.example.com\n  clientId: shop\n${lines}`
const route = (lines: string) => `routes:\n  - path: /api\n${lines}`

test('the configuration that the broken ones are made of is fine', () => {
  expect(problemsOf(file({}))).toEqual([])
})

const broken: [title: string, changes: Parts, place: string, message: RegExp][] = [
  // Structure (CF-01)
  ['an unknown key', { more: 'listn: { port: 1 }' }, '9:1 listn', /unknown key; did you mean listen\?/],
  [
    'an unknown key deep inside',
    { routes: route('    upstream: http://a:1\n    sesion: login') },
    '9:5 routes[0].sesion',
    /did you mean session\?/,
  ],
  [
    'a key in snake case',
    { provider: provider(`  client_secret: ${SECRET}`) },
    '5:3 provider.client_secret',
    /did you mean clientSecret\?/,
  ],
  ['a key in the wrong place', { more: 'idleTimeout: 30m' }, '9:1 idleTimeout', /did you mean session\.idleTimeout\?/],
  [
    "another gateway's key",
    { provider: provider(`  clientSecret: ${SECRET}\n  pkce: false`) },
    '6:3 provider.pkce',
    /PKCE is always on/,
  ],
  ['a key that is there twice', { more: 'publicUrl: https://b.example' }, '9:1 publicUrl', /twice/],
  [
    'a number where a list stands',
    { more: 'trustedProxies: 1' },
    '9:17 trustedProxies',
    /list of IP addresses.*forged/,
  ],
  [
    'a word where a number stands',
    { more: 'listen: { port: http }' },
    '9:17 listen.port',
    /expected a number, got a text/,
  ],
  [
    'a bare number as a duration',
    { more: 'session: { idleTimeout: 30 }' },
    '9:25 session.idleTimeout',
    /duration such as 30s/,
  ],
  [
    'a size without unit',
    { more: 'listen: { maxHeaderSize: 32000 }' },
    '9:26 listen.maxHeaderSize',
    /size such as 32kb/,
  ],
  ['a rate without unit', { more: 'rateLimits: { login: 20 }' }, '9:22 rateLimits.login', /rate such as 20\/min/],
  [
    'a choice that there is not',
    { provider: provider(`  clientAuthentication: client_secret_baisc\n  clientSecret: ${SECRET}`) },
    '5:25 provider.clientAuthentication',
    /did you mean client_secret_basic\?/,
  ],
  ['a required key that is missing', { publicUrl: '' }, '1:1 publicUrl', /is missing/],
  ['no route at all', { routes: 'routes: []' }, '6:9 routes', /at least one route/],
  ['YAML that is none', { more: 'listen: [1, 2' }, '9:9 ', /not valid YAML: the \[ that is opened here/],
  ['${NAME} bare in a flow list', { more: 'trustedProxies: [${PROXY}]' }, '9:19 ', /write "\$\{NAME\}" in quotes/],
  ['a tab as indent', { more: 'listen:\n\tport: 1' }, '10:1 ', /tab cannot indent/],
  // Environment and files (CF-02)
  [
    'an environment variable that is not set',
    { publicUrl: 'publicUrl: ${PUBLIC_URL}' },
    '1:12 publicUrl',
    /environment variable PUBLIC_URL is not set/,
  ],
  [
    'one with a message of its own',
    { publicUrl: 'publicUrl: ${PUBLIC_URL:?ask the platform team}' },
    '1:12 publicUrl',
    /ask the platform team/,
  ],
  ['a reference that is none', { publicUrl: 'publicUrl: ${1}' }, '1:12 publicUrl', /expected \$\{NAME\}/],
  [
    'a secret file that is not there',
    { provider: provider('  clientSecretFile: ./missing') },
    '5:21 provider.clientSecretFile',
    /cannot read the file: there is none/,
  ],
  [
    'a secret and its file',
    { provider: provider(`  clientSecret: ${SECRET}\n  clientSecretFile: ./missing`) },
    '6:21 provider.clientSecretFile',
    /stands beside clientSecret/,
  ],
  // Addresses (CF-03, CF-04)
  [
    'a public URL without TLS (CF-03)',
    { publicUrl: 'publicUrl: http://app.example.com' },
    '1:12 publicUrl',
    /must begin with https/,
  ],
  [
    'a public URL with a path',
    { publicUrl: 'publicUrl: https://app.example.com/shop' },
    '1:12 publicUrl',
    /origin only/,
  ],
  [
    'an issuer without TLS (TK-06)',
    { provider: `provider: { issuer: "http://id.example.com", clientId: shop, clientSecret: ${SECRET} }` },
    '2:21 provider.issuer',
    /must begin with https/,
  ],
  [
    'the discovery document as issuer',
    {
      provider: `provider: { issuer: "https://id.example.com/.well-known/openid-configuration", clientId: shop, clientSecret: ${SECRET} }`,
    },
    '2:21 provider.issuer',
    /metadataUrl/,
  ],
  [
    'http to the authorization server behind a public name (TK-06)',
    { provider: provider(`  clientSecret: ${SECRET}\n  backchannelBaseUrl: http://keycloak:8080`) },
    '6:23 provider.backchannelBaseUrl',
    /must begin with https/,
  ],
  [
    'a proxy by name (CF-04)',
    { more: 'trustedProxies: [loopback]' },
    '9:18 trustedProxies[0]',
    /IP address or a network/,
  ],
  [
    'a prefix that is too long',
    { more: 'trustedProxies: [10.0.0.0/33]' },
    '9:18 trustedProxies[0]',
    /IP address or a network/,
  ],
  [
    'every address as proxy',
    { more: 'trustedProxies: [0.0.0.0/0]' },
    '9:18 trustedProxies[0]',
    /would trust every address/,
  ],
  ['two listeners on one port', { more: 'listen: { port: 9090 }' }, '9:17 listen.port', /taken by management/],
  // Provider (CB-05, F2-01 … F2-05)
  ['no provider', { provider: '' }, '1:1 provider', /is missing: write provider/],
  [
    'provider and providers',
    { more: `providers: { a: { issuer: "https://a.example", clientId: a, clientSecret: ${SECRET} } }` },
    '9:12 providers',
    /exactly one of them/,
  ],
  [
    'no credentials',
    { provider: 'provider: { issuer: "https://id.example.com", clientId: shop }' },
    '2:1 provider.clientSecret',
    /client_secret_basic needs clientSecret/,
  ],
  [
    'two ways to authenticate',
    { provider: provider(`  clientSecret: ${SECRET}\n  privateKey: ${PRIVATE}`) },
    '6:15 provider.privateKey',
    /contradicts client_secret_basic/,
  ],
  [
    'a secret for private_key_jwt',
    {
      provider: provider(
        `  clientAuthentication: private_key_jwt\n  privateKey: ${PRIVATE}\n  clientSecret: ${SECRET}`,
      ),
    },
    '7:17 provider.clientSecret',
    /contradicts private_key_jwt/,
  ],
  [
    'a private key that is none',
    { provider: provider(`  clientAuthentication: private_key_jwt\n  privateKey: ${SECRET}`) },
    '6:15 provider.privateKey',
    /neither a PEM private key nor a private JWK/,
  ],
  [
    'private_key_jwt without a key',
    { provider: provider('  clientAuthentication: private_key_jwt') },
    '2:1 provider.privateKey',
    /keygen --client-jwk/,
  ],
  [
    'mutual TLS without a certificate',
    { provider: provider('  clientAuthentication: tls_client_auth') },
    '2:1 provider.tls',
    /certFile and keyFile/,
  ],
  [
    'a certificate without its key',
    { provider: provider('  clientAuthentication: tls_client_auth\n  tls: { cert: x }') },
    '6:3 provider.tls.key',
    /needs its key/,
  ],
  [
    'clientSecret and clientSecrets',
    { provider: provider(`  clientSecret: ${SECRET}\n  clientSecrets: [${SECRET}]`) },
    '6:18 provider.clientSecrets',
    /stands beside clientSecret/,
  ],
  [
    'a short secret for HS256 (CF-02)',
    { provider: provider('  clientAuthentication: client_secret_jwt\n  clientSecret: short') },
    '6:17 provider.clientSecret',
    /shorter than the 32 bytes/,
  ],
  [
    'a parameter that is the gateway’s (AR-01, AR-14)',
    { provider: provider(`  clientSecret: ${SECRET}\n  authorizationParams: { response_type: token }`) },
    '6:41 provider.authorizationParams.response_type',
    /always code/,
  ],
  [
    'clocks that may be minutes apart (ID-05)',
    { provider: provider(`  clientSecret: ${SECRET}\n  clockTolerance: 5m`) },
    '6:19 provider.clockTolerance',
    /more than the 60s/,
  ],
  [
    'the algorithm none',
    { provider: provider(`  clientSecret: ${SECRET}\n  idTokenSignedResponseAlg: none`) },
    '6:29 provider.idTokenSignedResponseAlg',
    /never none/,
  ],
  [
    'scopes without openid',
    { provider: provider(`  clientSecret: ${SECRET}\n  scopes: [profile]`) },
    '6:11 provider.scopes',
    /lacks openid/,
  ],
  [
    'an Entra issuer for all tenants',
    {
      provider: `provider: { issuer: "https://login.microsoftonline.com/common/v2.0", clientId: shop, clientSecret: ${SECRET} }`,
    },
    '2:1 provider.allowedTenants',
    /every tenant/,
  ],
  [
    'one client as two providers (CB-05)',
    {
      provider: `providers:\n  a: { issuer: "https://id.example", clientId: a, clientSecret: ${SECRET} }\n  b: { issuer: "https://id.example", clientId: a, clientSecret: ${SECRET} }`,
    },
    '4:48 providers.b.clientId',
    /client of a at the same issuer/,
  ],
  [
    'several providers of which one gives no iss (CB-05)',
    {
      provider: `providers:\n  a: { issuer: "https://a.example", clientId: a, clientSecret: ${SECRET} }\n  b: { issuer: "https://b.example", clientId: a, clientSecret: ${SECRET}, metadata: { authorization_response_iss_parameter_supported: false } }`,
    },
    '4:146 providers.b.metadata.authorization_response_iss_parameter_supported',
    /one server could pass off as another/,
  ],
  [
    'FAPI 2.0 with a secret (F2-01)',
    { provider: provider(`  clientSecret: ${SECRET}\n  profile: fapi2`) },
    '2:1 provider.clientAuthentication',
    /F2-01/,
  ],
  [
    'FAPI 2.0 without pushed requests (F2-02)',
    {
      provider: provider(
        `  clientAuthentication: private_key_jwt\n  privateKey: ${PRIVATE}\n  profile: fapi2\n  dpop: true\n  pushedAuthorization: never`,
      ),
    },
    '9:24 provider.pushedAuthorization',
    /F2-02/,
  ],
  [
    'FAPI 2.0 without iss in answers (F2-03)',
    {
      provider: provider(
        `  clientAuthentication: private_key_jwt\n  privateKey: ${PRIVATE}\n  profile: fapi2\n  dpop: true\n  metadata: { authorization_response_iss_parameter_supported: false }`,
      ),
    },
    '9:63 provider.metadata.authorization_response_iss_parameter_supported',
    /F2-03/,
  ],
  [
    'FAPI 2.0 with RS256 (F2-04)',
    {
      provider: provider(
        `  clientAuthentication: private_key_jwt\n  privateKey: ${PRIVATE}\n  profile: fapi2\n  dpop: true\n  idTokenSignedResponseAlg: RS256`,
      ),
    },
    '9:29 provider.idTokenSignedResponseAlg',
    /F2-04/,
  ],
  [
    'FAPI 2.0 with plain bearer tokens (F2-05)',
    { provider: provider(`  privateKey: ${PRIVATE}\n  profile: fapi2\n  dpop: false`) },
    '7:9 provider.dpop',
    /F2-05/,
  ],
  // Session and store
  [
    'a session key that is none (CF-02)',
    { more: `session: { keys: [${SECRET}] }` },
    '9:19 session.keys[0]',
    /not 32 bytes/,
  ],
  ['a session key twice', { more: `session: { keys: [${KEY}, ${KEY}] }` }, '9:64 session.keys[1]', /twice/],
  [
    'Redis without session keys',
    { more: 'store: { redis: { url: "rediss://redis:6379" } }' },
    '1:1 session.keys',
    /every instance needs the same keys/,
  ],
  [
    'Redis without an address',
    { more: `session: { keys: [${KEY}] }\nstore: { redis: {} }` },
    '10:10 store.redis.url',
    /is missing/,
  ],
  [
    'Redis by url and by cluster',
    { more: `session: { keys: [${KEY}] }\nstore: { redis: { url: "rediss://redis", cluster: [{ host: a }] } }` },
    '10:17 store.redis',
    /more than one/,
  ],
  [
    'TLS settings for Redis without TLS',
    {
      more: `session: { keys: [${KEY}] }\nstore: { redis: { url: "redis://:${SECRET}@redis", tls: { serverName: a } } }`,
    },
    '10:24 store.redis.url',
    /write rediss/,
  ],
  [
    'a Strict cookie with a login route',
    {
      routes: route('    upstream: http://a:1\n    session: login'),
      more: 'session: { cookie: { sameSite: strict } }',
    },
    '10:32 session.cookie.sameSite',
    /routes\[0\], which is login: after a sign-in form/,
  ],
  [
    'an insecure cookie on the Internet (SC-06)',
    { more: 'session: { cookie: { insecure: true } }' },
    '9:32 session.cookie.insecure',
    /loopback/,
  ],
  [
    'an origin of another site',
    { more: 'cors: { origins: ["https://app.example.org"] }' },
    '9:19 cors.origins[0]',
    /not of the same site/,
  ],
  [
    'a neighbour below a shared suffix',
    { publicUrl: 'publicUrl: https://a.github.io', more: 'cors: { origins: ["https://b.github.io"] }' },
    '9:19 cors.origins[0]',
    /not of the same site/,
  ],
  [
    'a return origin that may not call',
    { more: 'login: { returnOrigins: ["https://b.example.com"] }' },
    '9:26 login.returnOrigins[0]',
    /not in cors.origins/,
  ],
  ['an admin listener without token', { more: 'admin: { port: 9999 }' }, '9:1 admin.token', /token or tokenFile/],
  // Routes
  ['a route that leads nowhere', { routes: 'routes:\n  - path: /api' }, '7:5 routes[0].upstream', /is missing/],
  [
    'a route with two targets',
    { routes: route('    upstream: http://a:1\n    spa: { directory: . }') },
    '9:10 routes[0].spa',
    /exactly one of them/,
  ],
  [
    'a wildcard upstream',
    { routes: route('    upstream: http://*.example.com') },
    '8:15 routes[0].upstream',
    /wildcard/,
  ],
  [
    'credentials in an upstream',
    { routes: route(`    upstream: http://user:${SECRET}@a:1`) },
    '8:15 routes[0].upstream',
    /without user name and password/,
  ],
  [
    'a path with a wildcard',
    { routes: 'routes:\n  - { path: "/api/*", upstream: "http://a:1" }' },
    '7:13 routes[0].path',
    /everything below/,
  ],
  [
    'a path with dot segments',
    { routes: 'routes:\n  - { path: /api/../x, upstream: "http://a:1" }' },
    '7:13 routes[0].path',
    /segments/,
  ],
  [
    'a path twice',
    { routes: `${parts.routes}\n  - { path: /api/, upstream: "http://b:1" }` },
    '9:13 routes[1].path',
    /there twice/,
  ],
  [
    'a path within basePath',
    { routes: 'routes:\n  - { path: /bff/login, upstream: "http://a:1" }' },
    '7:13 routes[0].path',
    /lies in basePath/,
  ],
  [
    'parameters of a login that nobody begins',
    { routes: route('    upstream: http://a:1\n    login: { acr_values: gold }') },
    '9:12 routes[0].login',
    /session: login, .* a required one takes provider alone/,
  ],
  [
    'a provider of that name, of one',
    { routes: route('    upstream: http://a:1\n    login: { provider: staff }') },
    '9:24 routes[0].login.provider',
    /there is one, remove it/,
  ],
  [
    'a provider that is not there',
    {
      provider: `providers:\n  staff: { issuer: "https://a.example.com", clientId: shop, clientSecret: ${SECRET} }\n  partners: { issuer: "https://b.example.com", clientId: shop, clientSecret: ${SECRET} }`,
      routes: route('    upstream: http://a:1\n    login: { provider: partner }'),
    },
    '8:24 routes[0].login.provider',
    /is no name under providers: write partners/,
  ],
  [
    'TRACE',
    { routes: route('    upstream: http://a:1\n    methods: [GET, TRACE]') },
    '9:20 routes[0].methods[1]',
    /never proxied/,
  ],
  [
    'a token without a session',
    { routes: route('    upstream: http://a:1\n    session: none\n    token: user') },
    '10:12 routes[0].token',
    /needs a session/,
  ],
  [
    'an access rule without a session',
    { routes: route('    upstream: http://a:1\n    session: none\n    allow: { groups: admin }') },
    '10:12 routes[0].allow',
    /needs a user/,
  ],
  [
    'tokens of an issuer in clear',
    { routes: route('    upstream: http://a:1\n    bearer: { issuer: "http://id.example.com", audience: a }') },
    '9:23 routes[0].bearer.issuer',
    /https/,
  ],
  [
    'an app’s token where the gateway’s is wanted',
    {
      routes: route(
        '    upstream: http://a:1\n    token: { clientCredentials: {} }\n    bearer: { issuer: "https://id.example.com", audience: a }',
      ),
    },
    '10:13 routes[0].bearer',
    /two routes/,
  ],
  [
    'a misspelt member of token',
    { routes: route('    upstream: http://a:1\n    token: { resorce: "https://a" }') },
    '9:14 routes[0].token.resorce',
    /did you mean resource\?/,
  ],
  [
    'an identity header that frames',
    { routes: route('    upstream: http://a:1\n    identityHeaders: { Content-Length: sub }') },
    '9:40 routes[0].identityHeaders.Content-Length',
    /choose another name/,
  ],
  [
    'one identity header in two spellings',
    { routes: route('    upstream: http://a:1\n    identityHeaders: { X-User: sub, x_user: sub }') },
    '9:45 routes[0].identityHeaders.x_user',
    /another spelling/,
  ],
  [
    'a header with a line break',
    { routes: route('    upstream: http://a:1\n    headers: { set: { X-A: "a\\r\\nb" } }') },
    '9:28 routes[0].headers.set.X-A',
    /no line breaks/,
  ],
]

test.each(broken)(
  '%s is refused with its place and what to write instead (CF-01, R26)',
  (_title, changes, place, message) => {
    const problems = problemsOf(file(changes))

    expect(problems.map((problem) => problem.split(': ')[0])).toEqual([place])
    expect(problems[0]).toMatch(message)
  },
)

test('at least 30 kinds of broken files are covered (R26)', () => {
  expect(broken.length).toBeGreaterThanOrEqual(30)
})

test('all problems are told at once, those below a misspelt key and those of the rules besides (CF-01)', () => {
  const text = `publicURL: https://app.example.com
providr:
  issuer: http://id.example.com
  client_id: shop
  clientSecret: ${SECRET}
  clientAuthentication: client_secret_baisc
session:
  idleTimeout: 30
  cookie: { sameSite: strict }
routes:
  - path: api
    upstream: http://orders:3000
    sesion: login
`

  expect(problemsOf(text).map((problem) => problem.split(': ')[0])).toEqual([
    '1:1 publicURL',
    '2:1 providr',
    '3:11 providr.issuer',
    '4:3 providr.client_id',
    '6:25 providr.clientAuthentication',
    '8:16 session.idleTimeout',
    '9:23 session.cookie.sameSite',
    '11:11 routes[0].path',
    '13:5 routes[0].sesion',
  ])
})

test.each([
  ['an empty client', `  clientId: ''\n  clientSecret: ${SECRET}`, '4:13 provider.clientId'],
  [
    'two scopes in one text',
    `  clientId: a\n  clientSecret: ${SECRET}\n  scopes: [openid profile]`,
    '6:12 provider.scopes[0]',
  ],
  ['a relative resource', `  clientId: a\n  clientSecret: ${SECRET}\n  resource: orders`, '6:13 provider.resource'],
  ['no time at all', `  clientId: a\n  clientSecret: ${SECRET}\n  timeout: 0s`, '6:12 provider.timeout'],
])('%s is a problem with a place, and the rules of the whole are told beside it (CF-01)', (_title, lines, place) => {
  const text = file({
    publicUrl: 'publicUrl: http://app.example.com',
    provider: `provider:\n  issuer: https://id.example.com\n${lines}`,
  })

  const problems = problemsOf(text)

  expect(problems.map((line) => line.split(': ')[0])).toEqual(['1:12 publicUrl', place])
})

test('a problem is printed as file:line:column, key path, message, line and caret', () => {
  const error = errorOf(file({ more: 'session: { idleTimeout: 30 } # was 20' }))

  expect(error.problems.map((problem) => formatProblem('sidegate.yaml', problem))).toEqual([
    `sidegate.yaml:9:25: session.idleTimeout: expected a duration such as 30s, 15m or 10h
  9 | session: { idleTimeout: 30 }
    |                         ^^`,
  ])
})

test.each([
  ['a secret beside the mistake', `provider: { issuer: "https://id.example", clientId: 1, clientSecret: ${SECRET} }`],
  ['a misspelt secret', provider(`  clientSecrt: ${SECRET}`)],
  ['a secret under a key nobody knows', provider(`  clientSecret: x\n  apiPassphrase: ${SECRET}`)],
  ['an old secret in a comment', provider(`  clientSecrt: x # ${SECRET}`)],
  ['a secret of the wrong kind', provider(`  clientSecret: [${SECRET}]`)],
  ['a secret in broken YAML', provider(`  clientSecret: "${SECRET}`)],
  ['a secret that broke the YAML', provider(`  clientSecret: %${SECRET}: @x`)],
  ['a secret over several lines', provider(`  privateKy: |\n    -----BEGIN\n    ${SECRET}\n  clientId: 1`)],
  ['a secret as a key', provider(`  ${SECRET}: x`.replace(SECRET, 'x') + `\n  clientSecrets: { a: ${SECRET} }`)],
  ['a secret as a default', provider(`  clientSecret: [ "\${NOPE:-${SECRET}}" ]`)],
  ['a secret in a URL', `${provider('  clientSecret: x')}\nstore: { redis: { url: "http://u:${SECRET}@redis" } }`],
])('%s is not printed (CF-02)', (_title, changed) => {
  const error = errorOf(file({ provider: changed }))

  expect(error.message).not.toContain(SECRET)
})

test('a secret from the environment is not printed either (CF-02)', () => {
  const text = file({
    provider: provider('  clientAuthentication: ${S}\n  clientSecret: ${S}\n  scopes: ["${S} x"]'),
    more: 'session: { keys: ["${S}"] }',
  })

  const error = errorOf(text, { S: SECRET })

  expect(error.problems.length).toBeGreaterThan(2)
  expect(error.message).not.toContain(SECRET)
})

test('a secret from a file is not printed, and the problem points at the key of the file (CF-02)', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'keys'), `${KEY}\n${SECRET}\n`)

  const error = errorOf(file({ more: `session:\n  keysFile: ${join(directory, 'keys')}` }))

  expect(error.problems).toMatchObject([{ path: ['session', 'keys', 1], line: 10, column: 13 }])
  expect(error.message).not.toContain(SECRET)
})

function errorOf(text: string, env: Record<string, string> = {}): ConfigError {
  try {
    parseConfig(text, 'sidegate.yaml', { env })
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('the configuration was taken')
}

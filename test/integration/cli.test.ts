import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { configurationReference } from '../../src/commands/reference.ts'
import { schemaText } from '../../src/commands/schema.ts'
import { parseConfig } from '../../src/config/load.ts'

const root = new URL('../..', import.meta.url).pathname
const SECRET = 'hunter2-do-not-print'

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command as an operator does, in a directory of its own with no environment of ours. */
function sidegate(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const env = { PATH: process.env['PATH'] ?? '', ...options.env }
  execFile(
    process.execPath,
    [join(root, 'src/main.ts'), ...args],
    { cwd: options.cwd ?? directory(), env },
    (error, stdout, stderr) => {
      // A code that is no number means that the process could not be started or was killed.
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr })
    },
  )
  return promise
}

function directory(files: Record<string, string> = {}): string {
  const path = mkdtempSync(join(tmpdir(), 'sidegate-cli-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(path, name), content, { mode: 0o600 })
  return path
}

const good = `publicUrl: https://app.example.com
provider:
  issuer: https://id.example.com
  clientId: shop
  clientSecretFile: client
routes:
  - path: /api/orders
    upstream: http://orders:3000
    rewrite: /v1
    headers: { set: { X-Api-Key: ${SECRET} } }
    identityHeaders: { X-Person: sub }
`
const files = { 'sidegate.yaml': good, client: `${SECRET}\n` }

describe('the command line', () => {
  test('--version and --help answer with 0', async () => {
    expect(await sidegate(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^sidegate \d+\.\d+\.\d+ /),
    })
    expect(await sidegate(['--help'])).toMatchObject({ code: 0, stdout: expect.stringContaining('check') })
  })

  test.each(['serve', 'check', 'explain', 'init', 'schema', 'keygen', 'demo', 'doctor'])(
    '%s --help says how it is used',
    async (command) => {
      expect(await sidegate([command, '--help'])).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(new RegExp(`^Usage: sidegate .*${command}`)),
        stderr: '',
      })
    },
  )

  test.each([
    [['chekc'], /unknown command "chekc"; did you mean check\?/],
    [['check', '--nope'], /Unknown option '--nope'/],
    [['check', 'sidegate.yaml'], /Unexpected argument/],
    [['check', '--config'], /config/],
    [['keygen', '--alg', 'ES256'], /goes with --client-jwk/],
    [['keygen', '--client-jwk', '--alg', 'none'], /--alg takes one of/],
    [['init', '--preset', 'nope'], /--preset takes one of/],
    [['explain', 'GET'], /method and a path/],
  ])('%j is wrong usage: 2, and one line that says so', async (args, message) => {
    const { code, stdout, stderr } = await sidegate(args)

    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
    expect(stderr).not.toContain('    at ')
  })

  test('the configuration is --config, else SIDEGATE_CONFIG, else sidegate.yaml', async () => {
    const cwd = directory({ ...files, 'other.yaml': good.replace('clientId: shop', 'clientId: other') })
    const clientId = async (args: string[], env: Record<string, string> = {}) => {
      const { stdout } = await sidegate(['check', '--json', ...args], { cwd, env })
      // `check --json` prints what is in force.
      return (JSON.parse(stdout) as { config: { provider: { clientId: string } } }).config.provider.clientId
    }

    expect(await clientId([])).toBe('shop')
    expect(await clientId([], { SIDEGATE_CONFIG: join(cwd, 'other.yaml') })).toBe('other')
    expect(await clientId(['--config', 'sidegate.yaml'], { SIDEGATE_CONFIG: 'other.yaml' })).toBe('shop')
  })

  test('serve without a configuration ends with 2 and says what to do (R26)', async () => {
    expect(await sidegate([])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/sidegate\.yaml: there is no such file; .*--config.*sidegate init/),
    })
  })

  test('serve with a broken configuration ends with 2, all problems in one message, no secret printed (R26, CF-01, CF-02)', async () => {
    const cwd = directory({
      'sidegate.yaml': `${good.replace('clientSecretFile: client', `clientSecrt: ${SECRET}`)}listn: 1\n`,
    })

    const { code, stdout, stderr } = await sidegate(['serve'], { cwd })

    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/sidegate\.yaml:5:3: provider\.clientSecrt: unknown key; did you mean clientSecret\?/)
    expect(stderr).toMatch(/sidegate\.yaml:12:1: listn: unknown key; did you mean listen\?/)
    expect(stderr).not.toContain(SECRET)
  })
})

describe('check', () => {
  test('prints what is in force with the origin of each value and no secret (CF-02)', async () => {
    const { code, stdout, stderr } = await sidegate(['check'], { cwd: directory(files) })

    expect(code).toBe(0)
    expect(stdout).toMatch(/provider\.clientSecret: \*\*\* +# file named in sidegate\.yaml:5/)
    expect(stdout).toMatch(/session\.idleTimeout: 30m +# default/)
    expect(stdout).toContain('https://app.example.com/bff/callback')
    expect(stdout + stderr).not.toContain(SECRET)
  })

  test('--json tells problems as data, with 2', async () => {
    const { code, stdout } = await sidegate(['check', '--json'], {
      cwd: directory({ 'sidegate.yaml': 'publicUrl: http://app.example.com\n' }),
    })

    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      problems: expect.arrayContaining([expect.objectContaining({ path: 'publicUrl', line: 1, column: 12 })]),
    })
  })

  test('a secret file that everybody can read is a warning, not a failure (CF-02)', async () => {
    const cwd = directory(files)
    chmodSync(join(cwd, 'client'), 0o644)

    expect(await sidegate(['check'], { cwd })).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/warning: .*clientSecretFile: .*chmod/),
    })
  })
})

describe('keygen', () => {
  test('prints one line: 32 random bytes as base64url, as session.keysFile takes them', async () => {
    const { code, stdout } = await sidegate(['keygen'])
    const again = await sidegate(['keygen'])

    expect(code).toBe(0)
    expect(stdout).toMatch(/^[A-Za-z0-9_-]{43}\n$/)
    expect(stdout).not.toBe(again.stdout)
    expect(
      parseConfig(
        `${good.replace('clientSecretFile: client', 'clientSecret: x')}session: { keys: ["${stdout.trim()}"] }`,
        'x.yaml',
        { env: {} },
      ).config.session.keys,
    ).toEqual([stdout.trim()])
  })

  test.each(['ES256', 'PS256', 'EdDSA'])(
    '--client-jwk --alg %s prints the private key apart from what is to be registered',
    async (alg) => {
      const { stdout, stderr } = await sidegate(['keygen', '--client-jwk', '--alg', alg])

      // The command prints a JWK.
      const key = JSON.parse(stdout) as Record<string, unknown>
      expect(key).toMatchObject({ alg, use: 'sig', kid: expect.any(String), d: expect.any(String) })
      expect(stderr).toContain(String(key['kid']))
      expect(stderr).not.toContain(String(key['d']))
    },
  )
})

describe('explain', () => {
  test('says route, session, token, upstream address and header, by the same code that judges requests', async () => {
    const { code, stdout } = await sidegate(['explain', 'GET', '/api/orders/7?x=1'], { cwd: directory(files) })

    expect(code).toBe(0)
    expect(stdout).toContain('http://orders:3000/v1/7?x=1')
    expect(stdout).toContain('own page, fetch with X-CSRF: 1: passes')
    expect(stdout).toContain('page of another site, fetch: 403 csrf_rejected')
    expect(stdout).toContain('authorization: Bearer (token)')
    expect(stdout).toContain('X-Person: (claim sub)')
    expect(stdout).not.toContain(SECRET)
  })

  test.each([
    [['GET', '/nothing'], '404 not_found'],
    [['TRACE', '/api/orders'], '405 method_not_allowed'],
    [['GET', '/api/orders/%2e%2e/x'], '400 invalid_request'],
    [['GET', '/bff/nothing'], '404 not_found'],
    [['GET', '/bff/backchannel-logout'], '405 method_not_allowed'],
  ])('%j would be %s', async (args, answer) => {
    expect((await sidegate(['explain', ...args], { cwd: directory(files) })).stdout).toContain(answer)
  })
})

describe('doctor', () => {
  test('ends with 1 where something is to be repaired, each with what to do; --json tells the same as data', async () => {
    const nowhere = good
      .replace('https://id.example.com', 'https://id.invalid')
      .replace('http://orders:3000', 'http://orders.invalid')
    const cwd = directory({ ...files, 'sidegate.yaml': nowhere })

    const { code, stdout } = await sidegate(['doctor'], { cwd })
    const asJson = await sidegate(['doctor', '--json'], { cwd })

    expect([code, asJson.code]).toEqual([1, 1])
    expect(stdout).toMatch(/^✖ provider: id\.invalid is not known to DNS here\n {4}→ check the name/m)
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      ok: false,
      findings: expect.arrayContaining([expect.objectContaining({ status: 'failure', about: 'route /api/orders' })]),
    })
  })

  test('a configuration that cannot be used is told as by check, with 2', async () => {
    const cwd = directory({ 'sidegate.yaml': 'publicUrl: http://app.example.com\n' })

    expect(await sidegate(['doctor'], { cwd })).toMatchObject({ code: 2, stderr: expect.stringContaining('publicUrl') })
    expect(await sidegate(['doctor', '--json'], { cwd })).toMatchObject({
      code: 2,
      stdout: expect.stringContaining('"failure"'),
    })
  })
})

describe('init', () => {
  test('writes a configuration that only lacks the secret, and prints what to register', async () => {
    const cwd = directory()

    const made = await sidegate(['init', '--preset', 'keycloak', '--public-url', 'https://app.example.com/'], { cwd })

    expect(made).toMatchObject({ code: 0, stdout: expect.stringContaining('https://app.example.com/bff/callback') })
    expect(await sidegate(['check'], { cwd })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('environment variable CLIENT_SECRET'),
    })
    expect(await sidegate(['check'], { cwd, env: { CLIENT_SECRET: SECRET } })).toMatchObject({ code: 0 })
  })

  test('never writes over a file', async () => {
    const cwd = directory(files)

    expect(await sidegate(['init'], { cwd })).toMatchObject({ code: 2 })
    expect(readFileSync(join(cwd, 'sidegate.yaml'), 'utf8')).toBe(good)
  })

  test('--output - prints it and writes nothing', async () => {
    const cwd = directory()

    expect(await sidegate(['init', '--output', '-'], { cwd })).toMatchObject({
      stdout: expect.stringContaining('publicUrl: '),
    })
    expect(existsSync(join(cwd, 'sidegate.yaml'))).toBe(false)
  })
})

describe('what is committed', () => {
  test('config/schema.json is what the schema says; if not: npm run schema', () => {
    expect(readFileSync(join(root, 'config/schema.json'), 'utf8')).toBe(schemaText())
  })

  test('docs/configuration.md is what the schema says; if not: sidegate schema --reference > docs/configuration.md', () => {
    expect(readFileSync(join(root, 'docs/configuration.md'), 'utf8')).toBe(configurationReference())
  })

  test('every key of the reference has a meaning', () => {
    expect(configurationReference()).not.toMatch(/\| +\|$/m)
  })

  test('config/sidegate.yaml passes check with the files it names, and without a warning', async () => {
    const secrets = directory({
      'client-secret': 's\n',
      'session-keys': `${'A'.repeat(43)}\n`,
      'redis-password': 'p\n',
    })

    const { code, stderr } = await sidegate(['check', '--config', join(root, 'config/sidegate.yaml')], {
      env: { SECRETS: secrets, APP_DIRECTORY: secrets },
    })

    expect([code, stderr]).toEqual([0, ''])
  })
})

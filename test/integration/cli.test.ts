import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { presets } from '../../src/commands/presets.ts'
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
    [['explain', '/api', 'GET'], /the path begins with \/, and "GET" does not/],
    [['check', '--confg', 'x'], /Unknown option '--confg'; did you mean --config\?\nTry: sidegate check --help/],
    [['doctor', '--provider', 'x'], /--provider goes with --login/],
    [
      ['doctor', '--login', '--redirect-uri', 'https://app.example.com/cb'],
      /takes an http:\/\/ address of this machine/,
    ],
    [['schema', '--json', '--reference'], /does not go with --json/],
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

  test('serve says in one line where it is, who signs in, what it serves, where sessions are and what to register', async () => {
    const yaml = good.replace(
      'publicUrl',
      'listen: { host: 127.0.0.1, port: 0 }\nmanagement: { port: 0 }\nshutdown: { delay: 0s }\npublicUrl',
    )
    const child = spawn(process.execPath, [join(root, 'src/main.ts')], {
      cwd: directory({ ...files, 'sidegate.yaml': yaml }),
      env: { PATH: process.env['PATH'] ?? '' },
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let text = ''
    for await (const chunk of child.stdout) {
      text += String(chunk)
      if (text.includes('"listening"')) break
    }
    const line = text.split('\n').find((one) => one.includes('"listening"')) ?? ''

    expect(JSON.parse(line)).toMatchObject({
      publicUrl: 'https://app.example.com',
      providers: ['https://id.example.com'],
      routes: ['/api/orders'],
      store: 'memory',
      redirectUri: 'https://app.example.com/bff/callback',
      postLogoutRedirectUri: 'https://app.example.com/bff/logout/callback',
      backchannelLogoutUri: 'https://app.example.com/bff/backchannel-logout',
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

  test.each(['check', 'doctor', 'explain', 'init', 'keygen', 'schema', 'serve', 'demo'])(
    '%s takes --json, and says so in its help',
    async (command) => {
      expect((await sidegate([command, '--json', '--help'])).stdout).toContain('--json')
    },
  )

  test('with --json a broken configuration is told as data by each command that reads one, with 2', async () => {
    const cwd = directory({ 'sidegate.yaml': 'publicUrl: http://app.example.com\n' })
    for (const args of [['check'], ['explain', 'GET', '/api'], ['serve']]) {
      const { code, stdout, stderr } = await sidegate([...args, '--json'], { cwd })

      expect([args[0], code, stderr]).toEqual([args[0], 2, ''])
      expect(JSON.parse(stdout)).toMatchObject({
        ok: false,
        problems: expect.arrayContaining([expect.objectContaining({ path: 'publicUrl' })]),
      })
    }
  })

  test('colours are for terminals alone, and NO_COLOR takes them away', async () => {
    const cwd = directory(files)
    const onTerminal = (env: Record<string, string>) =>
      new Promise<string>((resolve) => {
        // `script` of util-linux gives the command a terminal of its own.
        const command = `${process.execPath} ${join(root, 'src/main.ts')} check`
        const TERM = 'xterm-256color'
        execFile(
          'script',
          ['-qec', command, '/dev/null'],
          { cwd, env: { PATH: process.env['PATH'] ?? '', TERM, ...env } },
          (_error, stdout) => resolve(stdout),
        )
      })

    expect((await sidegate(['check'], { cwd })).stdout).not.toContain('\u001B[')
    expect(await onTerminal({})).toContain('\u001B[')
    expect(await onTerminal({ NO_COLOR: '1' })).not.toContain('\u001B[')
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

  test.each(Object.entries(presets))(
    '--preset %s: the output passes check, and the exact addresses to register are printed',
    async (name, { title }) => {
      const cwd = directory()
      const questions = [
        '--public-url',
        'https://app.example.com',
        '--issuer',
        presets[name]?.issuer ?? '',
        '--client-id',
        'web',
        '--api',
        'http://orders:3000',
      ]

      const made = await sidegate(['init', '--preset', name, ...questions], { cwd })

      expect(made).toMatchObject({ code: 0, stderr: '' })
      expect(made.stdout).toContain(`Register at ${title}:`)
      for (const path of ['callback', 'logout/callback', 'backchannel-logout', 'frontchannel-logout', 'jwks.json'])
        expect(made.stdout).toMatch(new RegExp(`^  .+ https://app\\.example\\.com/bff/${path}$`, 'm'))
      expect(made.stdout).not.toContain('Examples stand in the file')
      const { code, stdout } = await sidegate(['check'], { cwd, env: { CLIENT_SECRET: SECRET } })
      expect([code, stdout]).toEqual([0, expect.stringContaining('sidegate.yaml: fine')])
    },
  )

  test('on a terminal the four questions are asked, and what is typed stands in the file', async () => {
    const cwd = directory()
    const child = spawn('script', ['-qec', `${process.execPath} ${join(root, 'src/main.ts')} init`, '/dev/null'], {
      cwd,
      env: { PATH: process.env['PATH'] ?? '' },
    })
    const answers = new Map([
      ['Under which address', 'https://shop.example.com'],
      ['Issuer of', 'https://id.example.com/realms/acme'],
      ['Client id there?', 'web'],
      ['Where is the API?', 'http://orders:3000'],
    ])
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      for (const [question, answer] of answers) {
        // It ends with its example in brackets; a terminal may be told to draw it twice.
        if (!said.slice(said.indexOf(question)).includes('] ') || !said.includes(question)) continue
        answers.delete(question)
        child.stdin.write(`${answer}\n`)
      }
    })
    await once(child, 'exit')

    expect([...answers.keys()]).toEqual([])
    const yaml = readFileSync(join(cwd, 'sidegate.yaml'), 'utf8')
    for (const line of [
      'publicUrl: https://shop.example.com',
      'issuer: https://id.example.com/realms/acme',
      'clientId: web',
      'upstream: http://orders:3000',
    ])
      expect(yaml).toContain(line)
    expect(said).toContain('https://shop.example.com/bff/callback')
  })

  test('--json tells what was written, what to register and which values are examples', async () => {
    const cwd = directory()
    const { code, stdout } = await sidegate(['init', '--json', '--client-id', 'web'], { cwd })

    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      file: 'sidegate.yaml',
      register: { 'redirect URI': 'http://localhost:8080/bff/callback' },
      examples: ['public-url', 'issuer', 'api'],
      yaml: readFileSync(join(cwd, 'sidegate.yaml'), 'utf8'),
    })
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

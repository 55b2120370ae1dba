/** What `npm run build` makes: the same program, with everything that it needs inside. */
import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { GatewayProcess } from '../support/gateway-process.ts'

const run = promisify(execFile)
const root = new URL('../..', import.meta.url).pathname
let installed: string
let main: string

interface Package {
  readonly name: string
  readonly version: string
}

beforeAll(async () => {
  installed = await mkdtemp(join(tmpdir(), 'sidegate-built-'))
  main = join(installed, 'dist/main.js')
  await run(process.execPath, [join(root, 'scripts/build.mjs'), join(installed, 'dist')])
  await copyFile(join(root, 'package.json'), join(installed, 'package.json'))
  return () => rm(installed, { recursive: true })
}, 120_000)

async function startBuilt(...nodeOptions: string[]): Promise<{ gateway: GatewayProcess; url: string }> {
  const [port, managementPort] = [await freePort(), await freePort()]
  const url = `http://localhost:${port}`
  const gateway = await GatewayProcess.start(
    {
      // JSON is YAML.
      'sidegate.yaml': JSON.stringify({
        publicUrl: url,
        listen: { host: '127.0.0.1', port },
        management: { host: '127.0.0.1', port: managementPort },
        provider: { issuer: 'http://127.0.0.1:1', clientId: 'shop', clientSecret: 'a-secret-that-is-long-enough' },
        shutdown: { delay: '0s', grace: '1s' },
        routes: [{ path: '/api', upstream: 'http://127.0.0.1:1' }],
      }),
    },
    { command: [process.execPath, ...nodeOptions, main] },
  )
  return { gateway, url }
}

test('it serves and stops without a package beside it', async () => {
  const { gateway, url } = await startBuilt()

  const session = await fetch(`${url}/bff/session`, { headers: { 'sec-fetch-site': 'same-origin' } })
  const client = await fetch(`${url}/bff/client.js`)
  gateway.signal('SIGTERM')

  expect(await session.json()).toMatchObject({ authenticated: false })
  expect(await client.text()).toContain('export function createClient')
  expect(await gateway.exited()).toBe(0)
})

test('once it has looked for its provider and served, it has loaded one undici: its own and not also that of Node', async () => {
  const report = join(installed, 'report.cjs')
  await writeFile(
    report,
    `process.on('exit', () => {
      const nodes = process.moduleLoadList.includes('NativeModule internal/deps/undici/undici')
      console.log(JSON.stringify({ msg: 'modules', nodes, http: process.moduleLoadList.includes('NativeModule http') }))
    })`,
  )
  const { gateway, url } = await startBuilt('--require', report)

  await fetch(`${url}/bff/login`, { redirect: 'manual' })
  gateway.signal('SIGTERM')

  expect(await gateway.until(({ msg }) => msg === 'modules')).toMatchObject({ nodes: false, http: true })
})

test('the client of Redis is loaded only where sessions are in Redis', async () => {
  const report = join(installed, 'files.cjs')
  await writeFile(
    report,
    `process.on('exit', () => console.log(JSON.stringify({ msg: 'files', files: Object.keys(require.cache) })))`,
  )
  const hasClient = async (file: string) => (await readFile(file, 'utf8')).includes('node_modules/ioredis/')
  const built = (await readdir(join(installed, 'dist'))).filter((name) => name.endsWith('.cjs'))
  const { gateway } = await startBuilt('--require', report)

  gateway.signal('SIGTERM')
  const { files } = (await gateway.until(({ msg }) => msg === 'files')) as unknown as { files: string[] } // as above

  expect(files.length).toBeGreaterThan(3)
  expect(await Promise.all(files.map(hasClient))).not.toContain(true)
  expect(await Promise.all(built.map((name) => hasClient(join(installed, 'dist', name))))).toContain(true)
})

test('the global fetch is that of the one undici: it takes its dispatchers, and its answers are Responses', async () => {
  const text = `
    import { createServer } from 'node:http'
    import { useOneUndici } from ${JSON.stringify(join(root, 'src/one-undici.ts'))}
    await useOneUndici()
    const { Agent, fetch: own } = await import('undici')
    const server = createServer((request, response) => response.end('reached')).listen(0, '127.0.0.1', async () => {
      const url = 'http://127.0.0.1:' + server.address().port
      const response = await fetch(url, { dispatcher: new Agent(), headers: new Headers({ accept: 'text/plain' }) })
      const isResponse = response instanceof Response && new Response() instanceof globalThis.Response
      console.log(JSON.stringify([await response.text(), isResponse, fetch === own]))
      process.exit()
    })`
  // From where undici is found.
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', text], { cwd: root })

  expect(JSON.parse(stdout)).toEqual(['reached', true, true])
})

test.each([
  [['--version']],
  [['--help']],
  [['keygen', '--help']],
  [['schema']],
  [['schema', '--reference']],
  [['check', '--config', 'config/sidegate.yaml']],
  [['explain', 'GET', '/api/orders', '--config', 'config/demo.yaml']],
])('it answers %j as the source does', async (args) => {
  const env = { ...process.env, SIDEGATE_DEMO_CLIENT_SECRET: 'a-secret-that-is-long-enough' }
  const answer = (file: string) =>
    run(process.execPath, [file, ...args], { env, cwd: root }).then(
      ({ stdout, stderr }) => ({ stdout, stderr }),
      ({ stdout, stderr }: { stdout: string; stderr: string }) => ({ stdout, stderr }),
    )

  expect(await answer(main)).toEqual(await answer(join(root, 'src/main.ts')))
})

test('it carries the name and the licence of every library in it', async () => {
  const read = (file: string) => readFile(join(installed, 'dist', file), 'utf8')
  // The build writes it, as JSON.
  const packages = JSON.parse(await read('packages.json')) as Package[]
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>
  }
  const sections = (await read('third-party-licenses.txt')).split(`\n${'-'.repeat(80)}\n`).map((text) => text.trim())

  expect(packages.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(dependencies)))
  expect(sections).toHaveLength(packages.length)
  for (const { name, version } of packages) {
    const section = sections.find((text) => text.includes(`${name} ${version}\n`)) ?? ''
    expect(section, name).toMatch(/copyright|permission|licen[cs]e|MIT/i)
  }
})

test('it names no directory of the machine that built it', async () => {
  const files = (await readdir(join(installed, 'dist'))).filter((file) => file.endsWith('.cjs'))
  const texts = await Promise.all(files.map((file) => readFile(join(installed, 'dist', file), 'utf8')))

  expect(files).toContain('serve.cjs')
  expect(texts.filter((text) => text.includes(root))).toEqual([])
})

/** The image without Docker: the Dockerfile's own steps by hand, then run as its user from a directory it cannot change. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { parseDockerfile, perform } from '../support/dockerfile.ts'

const context = new URL('../..', import.meta.url).pathname
const user = 65_532
let directory: string
let app: string
let node: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sidegate-image-'))
  // The steps start it as its user.
  await chmod(directory, 0o755)
  const [build, runtime] = parseDockerfile(await readFile(join(context, 'Dockerfile'), 'utf8'))
  if (!build || !runtime) throw new Error('the Dockerfile has not two stages')
  const stages = { '': context, build: join(directory, 'build') }
  await perform(build, stages.build, stages, { runs: true })
  // Not its RUN: that takes npm out of the image, and here out of this machine.
  await perform(runtime, join(directory, 'runtime'), stages, { runs: false })
  app = join(directory, 'runtime/app')
  // This Node may lie where only root can go.
  node = join(directory, 'node')
  await copyFile(process.execPath, node)
  spawnSync('chmod', ['-R', 'a+rX,a-w', join(directory, 'runtime')])
}, 600_000)

afterAll(async () => {
  spawnSync('chmod', ['-R', 'u+w', directory])
  await rm(directory, { recursive: true, force: true })
})

interface Package {
  readonly name: string
  readonly version: string
}

/** As the container's user, where this process may become it. */
const identity = process.getuid?.() === 0 ? { uid: user, gid: user } : {}

function inImage(script: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn(node, [join(app, script), ...args], {
    ...identity,
    cwd: '/',
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

async function finished(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  await once(child, 'close')
  return { code: child.exitCode, output }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // a TCP server that listens
  server.close()
  await once(server, 'close')
  return port
}

test('the image holds one program: no package beside it, no source and no map', async () => {
  const files = await readdir(join(app, 'dist'), { recursive: true })

  expect(await readdir(app)).not.toContain('node_modules')
  expect(files).toEqual(expect.arrayContaining(['main.js', 'sidegate.cjs', 'serve.cjs', 'third-party-licenses.txt']))
  expect(files).toEqual(expect.arrayContaining(['browser/client.js', 'browser/client.d.ts']))
  expect(files.filter((file) => /\.map$|(?<!\.d)\.ts$/.test(file))).toEqual([])
})

test('its bill of materials (CycloneDX) names every package in it, and no other', async () => {
  // npm's own format; what is read of it is asserted.
  const bill = JSON.parse(await readFile(join(app, 'sbom.cdx.json'), 'utf8')) as {
    bomFormat: string
    metadata: { component: { 'bom-ref': string; type: string } }
    components: { purl: string; licenses?: unknown[] }[]
  }
  // The build writes it.
  const packages = JSON.parse(await readFile(join(app, 'dist/packages.json'), 'utf8')) as Package[]
  const inside = packages.map(({ name, version }) => `pkg:npm/${name.replace('@', '%40')}@${version}`)

  expect(bill.bomFormat).toBe('CycloneDX')
  expect(bill.metadata.component).toMatchObject({
    'bom-ref': expect.stringMatching(/^sidegate@/),
    type: 'application',
  })
  expect(new Set(bill.components.map(({ purl }) => purl))).toEqual(new Set(inside))
  expect(bill.components.filter(({ licenses }) => !licenses?.length)).toEqual([])
})

test('its user cannot change a file of it', () => {
  const { status, stderr } = spawnSync('/bin/sh', ['-c', `echo x >> ${app}/dist/main.js`], {
    ...identity,
    encoding: 'utf8',
  })

  expect(status).not.toBe(0)
  expect(stderr).toMatch(/denied|cannot create/)
})

test('the command says its version', async () => {
  const { code, output } = await finished(inImage('dist/main.js', ['--version']))

  expect(code).toBe(0)
  expect(output).toMatch(/\d+\.\d+\.\d+/)
})

test('it reads what V8 compiled when it was built, where its user cannot write', async () => {
  const { code, output } = await finished(
    inImage('dist/main.js', ['check', '--config', '/nowhere'], { NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }),
  )

  expect(code).toBe(2)
  expect(output).toContain('dist/sidegate.cjs was accepted')
  expect(output).toContain('dist/cookies.cjs was accepted')
})

test('the demo, whose authorization server is not in the image, says where it runs', async () => {
  const { code, output } = await finished(inImage('dist/main.js', ['demo']))

  expect(code).not.toBe(0)
  expect(output).toContain('npm run demo')
})

test('it starts without its authorization server, is healthy, and stops on SIGTERM with exit code 0 (R17, R25)', async () => {
  const [port, managementPort] = [await freePort(), await freePort()]
  const file = join(directory, 'sidegate.yaml')
  await writeFile(
    file,
    JSON.stringify({
      publicUrl: `http://localhost:${port}`,
      listen: { host: '127.0.0.1', port },
      management: { host: '127.0.0.1', port: managementPort },
      provider: {
        issuer: 'http://127.0.0.1:1',
        clientId: 'shop',
        clientSecret: 'a-secret-that-is-long-enough-for-tests',
      },
      shutdown: { delay: '0s', grace: '1s' },
      routes: [{ path: '/api', upstream: 'http://127.0.0.1:1' }],
    }),
  )
  const gateway = inImage('dist/main.js', [], { SIDEGATE_CONFIG: file })
  const health = { SIDEGATE_HEALTH_URL: `http://127.0.0.1:${managementPort}/healthz` }

  const before = await finished(inImage('healthcheck.mjs', [], { SIDEGATE_HEALTH_URL: 'http://127.0.0.1:1/healthz' }))
  await listening(gateway)
  const during = await finished(inImage('healthcheck.mjs', [], health))
  gateway.kill('SIGTERM')
  const [code] = (await once(gateway, 'exit')) as [number | null] // the `exit` event, documented by Node

  expect(before.code).toBe(1)
  expect(during).toEqual({ code: 0, output: '' })
  expect(code).toBe(0)
})

/** Resolves with the one line that says where it listens. */
async function listening(gateway: ChildProcess): Promise<void> {
  if (!gateway.stdout) throw new Error('no stdout')
  const lines = createInterface(gateway.stdout)
  for await (const line of lines) if (/listening/i.test(line)) return
  throw new Error('the gateway ended before it listened')
}

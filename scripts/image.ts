/**
 * `npm run image`: builds the Dockerfile with buildah (Debian has it; run as root) where no registry can be reached. The
 * base image is a stand-in, made of this machine's own shell, Node 24 and npm. What is built is then started.
 * CI does the steps of the Dockerfile without it (test/e2e/image.test.ts), since it takes a minute and more.
 */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseDockerfile } from '../test/support/dockerfile.ts'

const root = new URL('..', import.meta.url).pathname
const directory = mkdtempSync(join(tmpdir(), 'sidegate-image-build-'))
const store = ['--root', join(directory, 'store'), '--runroot', join(directory, 'run')]
const authorities = '/etc/ssl/certs/ca-certificates.crt'

try {
  const base = parseDockerfile(readFileSync(join(root, 'Dockerfile'), 'utf8'))[0]?.base ?? ''
  makeBase(`docker.io/library/${base}`)
  const cache = run('npm', ['config', 'get', 'cache'])
  const options = ['--pull-never', '--isolation', 'chroot', '--network', 'host', '--format', 'docker']
  const args = ['--build-arg', 'VERSION=0.0.0-test', '--build-arg', 'REVISION=test', '--volume', `${cache}:/root/.npm`]
  buildah(['bud', ...options, ...args, '--tag', 'sidegate:test', root], { shown: true })
  // buildah's own format.
  const { Docker } = JSON.parse(buildah(['inspect', '--type', 'image', 'sidegate:test'])) as {
    Docker: { config: object }
  }
  process.stdout.write(`${JSON.stringify(Docker.config, undefined, 2)}\n`)

  const container = buildah(['from', '--pull-never', 'sidegate:test'])
  const inside = (...command: string[]) => buildah(['run', '--isolation', 'chroot', container, '--', ...command])
  process.stdout.write(`${inside('node', '/app/dist/main.js', '--version')}\n`)
  const user = inside('node', '-p', 'process.getuid() + ":" + process.getgid()')
  const own = "require('fs').accessSync('/app/dist/main.js', require('fs').constants.W_OK)"
  const canWrite =
    spawnSync('buildah', [...store, 'run', '--isolation', 'chroot', container, '--', 'node', '-e', own]).status === 0
  const size = run('du', ['-sm', join(buildah(['mount', container]), 'app')]).split('\t', 1)[0]
  process.stdout.write(`user ${user}, ${canWrite ? 'CAN' : 'cannot'} write its files; /app is ${size} MB\n`)
  buildah(['umount', container])
  if (user !== '65532:65532' || canWrite) process.exitCode = 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}

/** What the Dockerfile needs of `node:24-slim`: no more than is on this machine. */
function makeBase(name: string): void {
  const base = join(directory, 'base')
  for (const folder of [
    'root',
    'tmp',
    'opt',
    'proc',
    'sys',
    'dev',
    'etc/ssl/certs',
    'usr/local/bin',
    'usr/local/etc',
  ]) {
    mkdirSync(join(base, folder), { recursive: true })
  }
  const programs = [['/bin/sh'], ['/bin/rm'], ['/usr/bin/env'], [process.execPath, '/usr/local/bin/node']]
  for (const [from = '', to = from] of programs) {
    put(from, join(base, to))
    for (const library of run('ldd', [from]).match(/\/\S+(?= \(0x)/g) ?? []) put(library, join(base, library))
  }
  for (const file of ['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf', authorities]) {
    if (existsSync(file)) put(file, join(base, file))
  }
  cpSync(join(run('npm', ['root', '--global']), 'npm'), join(base, 'usr/local/lib/node_modules/npm'), {
    recursive: true,
  })
  for (const command of ['npm', 'npx']) {
    symlinkSync(`../lib/node_modules/npm/bin/${command}-cli.js`, join(base, 'usr/local/bin', command))
  }
  writeFileSync(join(base, 'usr/local/etc/npmrc'), `cafile=${authorities}\n`)
  writeFileSync(join(base, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
  writeFileSync(join(base, 'etc/group'), 'root:x:0:\n')

  const container = buildah(['from', 'scratch'])
  buildah(['copy', '--quiet', container, base, '/'])
  buildah([
    'config',
    '--env',
    'PATH=/usr/local/bin:/usr/bin:/bin',
    '--env',
    `NODE_EXTRA_CA_CERTS=${authorities}`,
    container,
  ])
  buildah(['commit', '--quiet', container, name])
  buildah(['rm', container])
}

function put(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  copyFileSync(from, to)
}

function buildah(args: readonly string[], { shown = false } = {}): string {
  return run('buildah', [...store, ...args], shown)
}

function run(command: string, args: readonly string[], shown = false): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, STORAGE_DRIVER: 'vfs' },
    stdio: ['ignore', shown ? 'inherit' : 'pipe', shown ? 'inherit' : 'pipe'],
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
  return shown ? '' : stdout.trim()
}

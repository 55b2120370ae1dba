/** nginx and Caddy, really run, with the configurations of deploy/forward-auth. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findProgram } from '../../scripts/test-tools.mjs'

export type EdgeKind = 'nginx' | 'caddy'

/** Where the parts listen; the examples have addresses of their own. */
export interface EdgePlaces {
  readonly port: number
  readonly gateway: string
  readonly forwardAuth: string
  readonly app: string
}

const examples = new URL('../../deploy/forward-auth/', import.meta.url)

/** Runs a proxy with its example until it is disposed of. */
export async function startEdgeProxy(kind: EdgeKind, places: EdgePlaces): Promise<AsyncDisposable> {
  const program = findProgram([kind])
  if (program === undefined) throw new Error(`no ${kind} found: npm test installs it, or apt-get install ${kind}`)
  const directory = await mkdtemp(join(tmpdir(), `sidegate-${kind}-`))
  const file = kind === 'nginx' ? 'nginx.conf' : 'Caddyfile'
  const example = await readFile(new URL(file, examples), 'utf8')
  const local = example
    .replaceAll('127.0.0.1:8000', `127.0.0.1:${places.port}`)
    .replaceAll('localhost:8000', `localhost:${places.port}`)
    .replaceAll('127.0.0.1:8080', new URL(places.gateway).host)
    .replaceAll('127.0.0.1:9092', new URL(places.forwardAuth).host)
    .replaceAll('127.0.0.1:3000', new URL(places.app).host)
  const args = kind === 'nginx' ? await nginxArguments(directory, local) : await caddyArguments(directory, local)
  const child = spawn(program, args, {
    cwd: directory,
    env: { PATH: process.env['PATH'] ?? '', HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  try {
    await untilItListens(child, places.port)
  } catch (error) {
    await end(child, directory)
    throw new Error(`${kind} did not start: ${said}`, { cause: error })
  }
  return { [Symbol.asyncDispose]: () => end(child, directory) }
}

async function nginxArguments(directory: string, example: string): Promise<string[]> {
  await mkdir(join(directory, 'tmp'))
  await writeFile(join(directory, 'app.conf'), example)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path tmp/${name};`)
  const main = [
    'daemon off; master_process off; pid nginx.pid; error_log stderr;',
    'events { worker_connections 256; }',
    `http { access_log off; ${paths.join(' ')} include ${join(directory, 'app.conf')}; }`,
  ]
  await writeFile(join(directory, 'nginx.conf'), main.join('\n'))
  return ['-p', directory, '-e', 'stderr', '-c', join(directory, 'nginx.conf')]
}

async function caddyArguments(directory: string, example: string): Promise<string[]> {
  const file = join(directory, 'Caddyfile')
  await writeFile(file, `{\n\tadmin off\n\tauto_https off\n}\n${example}`)
  return ['run', '--config', file, '--adapter', 'caddyfile']
}

async function untilItListens(child: ChildProcess, port: number): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    const socket = connect(port, '127.0.0.1')
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false, // not yet
    )
    socket.destroy()
    if (isOpen) return
    await delay(25)
  }
  throw new Error('it does not listen')
}

async function end(child: ChildProcess, directory: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  await rm(directory, { recursive: true, force: true })
}

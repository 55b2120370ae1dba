/** A real Redis (or Valkey) server for one test file, in a directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** SIGSTOP and SIGCONT: a server that hangs. */
  freeze(): void
  thaw(): void
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>
  /** Ends it (frozen ones too) and removes its directory. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface RedisServerOptions {
  /** Given to the server as they are; replaces nothing but what it repeats. */
  readonly args?: readonly string[]
  /** The content of its configuration file, which it may rewrite (Sentinel does). */
  readonly configuration?: string
  /** A port that was free a moment ago, to come back on the same one. */
  readonly port?: number
  /** Spoken instead of plain TCP: the port is not probed then, the caller waits itself. */
  readonly isReady?: (port: number) => Promise<boolean>
}

/** The server's program, wherever it is on the PATH; throws with the one line that helps. */
export function redisServerPath(): string {
  for (const name of ['redis-server', 'valkey-server']) {
    for (const directory of (process.env.PATH ?? '').split(delimiter).concat('/usr/bin', '/usr/local/bin')) {
      try {
        const path = join(directory, name)
        accessSync(path, constants.X_OK)
        return path
      } catch {
        // Not here; the next directory may have it.
      }
    }
  }
  throw new Error('no redis-server or valkey-server found: apt-get install redis-server')
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port')
  return address.port
}

/** Starts a server on a free loopback port, with nothing persisted unless `args` say so. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-redis-'))
  const port = options.port ?? (await freePort())
  const defaults = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory]
  const file = join(directory, 'redis.conf')
  if (options.configuration !== undefined) await writeFile(file, options.configuration)
  const first = options.configuration === undefined ? [] : [file]
  const child = spawn(redisServerPath(), [...first, ...defaults, ...(options.args ?? [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  await untilReady(child, port, options.isReady ?? answersPing, () => output)
  return handle(child, port, directory)
}

function handle(child: ChildProcess, port: number, directory: string): RedisServer {
  const gone = () => child.exitCode !== null || child.signalCode !== null
  const kill = async () => {
    if (gone()) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  const stop = async () => {
    await kill()
    await rm(directory, { recursive: true, force: true })
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pid: child.pid as number, // it has answered, so it was spawned
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function untilReady(
  child: ChildProcess,
  port: number,
  isReady: (port: number) => Promise<boolean>,
  output: () => string,
): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) throw new Error(`redis-server ended at once:\n${output()}`)
    if (await isReady(port)) return
    await delay(25)
  }
  child.kill('SIGKILL')
  throw new Error(`redis-server did not answer:\n${output()}`)
}

/** Any answer to PING will do: `-NOAUTH` is one, too. */
async function answersPing(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    socket.write('PING\r\n')
    const [answer] = (await once(socket, 'data')) as [Buffer] // what sockets emit
    return !answer.toString().startsWith('-LOADING')
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

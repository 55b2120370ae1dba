import { createConnection } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../test/support/free-port.ts'
import { OTHER_CORE, Part, programPath } from './part.ts'

/** A Redis of the benchmark's own, in memory only. */
export interface BenchRedis extends AsyncDisposable {
  readonly url: string
  readonly part: Part
  /** How many commands were processed so far; asking counts too. */
  readonly commands: () => Promise<number>
  /** Sends one inline command and resolves the raw answer. */
  readonly ask: (command: string) => Promise<string>
}

/** @throws when there is neither redis-server nor valkey-server */
export async function startRedis(): Promise<BenchRedis> {
  const program = programPath('redis-server') ?? programPath('valkey-server')
  if (!program) throw new Error('this scenario needs redis-server or valkey-server')
  const port = await freePort()
  const command = [program, '--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const part = new Part({ name: 'redis', command, core: OTHER_CORE })
  const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await ask(port, 'INFO stats'))?.[1])
  for (let left = 200; left > 0 && !(await ask(port, 'PING').catch(() => '')).includes('PONG'); left -= 1)
    await wait(20)
  return {
    url: `redis://127.0.0.1:${port}/0`,
    part,
    commands,
    ask: (command) => ask(port, command),
    [Symbol.asyncDispose]: () => part[Symbol.asyncDispose](),
  }
}

/** Sends one inline command on a connection of its own and resolves the raw answer. */
function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1')
    let answer = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk))
    socket.on('error', reject).on('close', () => resolve(answer))
    socket.end(`${command}\r\nQUIT\r\n`)
  })
}

/** A server of Debian's as a process of its own, in a directory of its own, until it is disposed of. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findProgram } from '../../../scripts/test-tools.mjs'

export interface ServerCommand {
  readonly program: string
  /** The package to install where it is missing. */
  readonly package: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Answers 200 as soon as the server is there. */
  readonly probe: string
}

export interface ServerProcess extends AsyncDisposable {
  /** What it has said so far. */
  readonly output: () => string
}

/** An empty directory for the files of one server; `startServer` removes it. */
export function serverDirectory(name: string): Promise<string> {
  return mkdtemp(join(tmpdir(), `sidegate-${name}-`))
}

/** Runs it in that directory, and resolves once it answers. */
export async function startServer(directory: string, command: ServerCommand): Promise<ServerProcess> {
  const child = spawn(programPath(command.program, command.package), command.args, {
    cwd: directory,
    env: { PATH: process.env['PATH'] ?? '', HOME: directory, ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  const end = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await untilItAnswers(child, command.probe)
  } catch (error) {
    await end()
    throw new Error(`${command.program} did not start: ${output.slice(0, 1_500)}`, { cause: error })
  }
  return { output: () => output, [Symbol.asyncDispose]: end }
}

/** Where the program is; throws with the one line that helps. */
export function programPath(program: string, from: string): string {
  const path = findProgram([program])
  if (path === undefined)
    throw new Error(`no ${program} found: npm run test:interop installs it, or apt-get install ${from}`)
  return path
}

async function untilItAnswers(child: ChildProcess, url: string): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    const isThere = await fetch(url).then(
      ({ ok }) => ok,
      () => false, // not yet
    )
    if (isThere) return
    await delay(50)
  }
  throw new Error('it does not answer')
}

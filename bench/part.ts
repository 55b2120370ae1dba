/** A process of the benchmark: started on its own core where there are two, measured from outside by /proc. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'

/** The core of what is measured; everything else is on the other one. */
export const MEASURED_CORE = 0
export const OTHER_CORE = 1
const START_TIMEOUT_MS = 30_000

/** Whether a program is on the PATH or where Debian puts servers. */
export function programPath(name: string): string | undefined {
  for (const directory of [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/bin']) {
    try {
      accessSync(`${directory}/${name}`)
      return `${directory}/${name}`
    } catch {
      // Not here: the next directory.
    }
  }
  return undefined
}

/** Puts a command on one core, where the machine has two and `taskset`. */
export function pinned(core: number, command: readonly string[]): readonly string[] {
  return availableParallelism() > 1 && programPath('taskset') ? ['taskset', '-c', String(core), ...command] : command
}

export interface PartOptions {
  readonly name: string
  readonly command: readonly string[]
  readonly core: number
  /** Where what it prints goes: nowhere by default, so that nobody has to read it while it is measured. */
  readonly outputFile?: string
  readonly env?: NodeJS.ProcessEnv
}

export class Part implements AsyncDisposable {
  readonly name: string
  readonly #child: ChildProcess
  readonly #outputFile: string | undefined
  readonly startedAt = performance.now()

  constructor({ name, command, core, outputFile, env }: PartOptions) {
    const [program = '', ...args] = pinned(core, command)
    const output = openSync(outputFile ?? '/dev/null', 'a')
    this.name = name
    this.#outputFile = outputFile
    this.#child = spawn(program, args, { stdio: ['ignore', output, output], env: { ...process.env, ...env } })
    this.#child.on('error', () => {}) // told by `answering`, which then finds no process
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isRunning(): boolean {
    return this.pid !== 0 && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves how many milliseconds after its start the part first answered below 500 at this URL. */
  async answering(url: string): Promise<number> {
    while (performance.now() - this.startedAt < START_TIMEOUT_MS) {
      if (this.#child.exitCode !== null || this.pid === 0) break
      const status = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(1_000) }).then(
        (response) => response.status,
        () => 599,
      )
      if (status < 500) return performance.now() - this.startedAt
      await wait(10)
    }
    const output = this.#outputFile === undefined ? '' : readFileSync(this.#outputFile, 'utf8').slice(-2_000)
    throw new Error(`${this.name} does not answer at ${url} (exit code ${this.#child.exitCode})\n${output}`)
  }

  /** CPU time of the process and its children so far, in microseconds, from the scheduler's own books. */
  cpuMicroseconds(): number {
    return processTree(this.pid).reduce((sum, pid) => sum + cpuOf(pid), 0)
  }

  /** Resident memory of the process and its children in MiB. */
  residentMiB(): number {
    const kilobytes = processTree(this.pid).map((pid) => {
      const line = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
      return Number(line?.[1] ?? 0)
    })
    return kilobytes.reduce((sum, value) => sum + value, 0) / 1_024
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    await ended
    clearTimeout(timer)
  }
}

function processTree(root: number): number[] {
  const tree = [root]
  for (const pid of tree) {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    if (children !== '') tree.push(...children.split(' ').map(Number))
  }
  return tree
}

function cpuOf(pid: number): number {
  let nanoseconds = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const [running = '0'] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')
    nanoseconds += Number(running)
  }
  return nanoseconds / 1_000
}

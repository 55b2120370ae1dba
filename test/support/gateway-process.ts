/** `sidegate` as operators run it: a process with files, signals and a log. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

type Line = Record<string, unknown>

const root = new URL('../..', import.meta.url).pathname

interface StartOptions {
  /** How many files and sockets it may have open. */
  readonly descriptors?: number
  /** Left out: from source. */
  readonly command: readonly string[]
}

export class GatewayProcess {
  /** What it has logged so far. */
  readonly lines: Line[] = []
  readonly #directory: string
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  readonly #waiting = new Set<() => void>()

  private constructor(directory: string, { descriptors: mostDescriptors, command }: StartOptions) {
    this.#directory = directory
    // The shell gives its place to the gateway, which then has its limits and its pid.
    const limited = ['sh', '-c', 'ulimit -n "$0" && exec "$@"', String(mostDescriptors), ...command]
    const [program = '', ...args] = mostDescriptors === undefined ? command : limited
    this.#child = spawn(program, args, {
      cwd: directory,
      env: { PATH: process.env['PATH'] ?? '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    // An exit tells its code first, or null where a signal ended it.
    this.#exited = once(this.#child, 'exit').then(([code]) => code as number | null)
    let rest = ''
    const read = (chunk: Buffer): void => {
      const parts = (rest + chunk.toString()).split('\n')
      rest = parts.pop() ?? ''
      for (const part of parts) this.lines.push(lineOf(part))
      for (const look of this.#waiting) look()
    }
    this.#child.stdout?.on('data', read)
    this.#child.stderr?.on('data', read)
  }

  /**
   * Starts it in a directory with these files, `sidegate.yaml` among them, for one test; resolves once it listens.
   */
  static async start(
    files: Readonly<Record<string, string>>,
    options: Partial<StartOptions> = {},
  ): Promise<GatewayProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'sidegate-process-'))
    await writeAll(directory, files)
    const gateway = new GatewayProcess(directory, {
      command: [process.execPath, join(root, 'src/main.ts')],
      ...options,
    })
    // Also when the test runs out of time.
    onTestFinished(() => gateway.#end())
    await gateway.until(({ msg }) => msg === 'listening')
    return gateway
  }

  /** Changes files where it reads them. */
  write(files: Readonly<Record<string, string>>): Promise<void> {
    return writeAll(this.#directory, files)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** The code of its exit. */
  exited(): Promise<number | null> {
    return this.#exited
  }

  /** Resolves with the first such line; rejects when it ends without one. `from`: only lines after so many. */
  async until(matches: (line: Line) => boolean, from = 0): Promise<Line> {
    const found = Promise.withResolvers<Line>()
    const look = (): void => {
      const line = this.lines.slice(from).find(matches)
      if (line) found.resolve(line)
    }
    this.#waiting.add(look)
    look()
    const ended = this.#exited.then((code) => {
      throw new Error(`the gateway ended with ${code}: ${JSON.stringify(this.lines.slice(-3))}`)
    })
    try {
      return await Promise.race([found.promise, ended])
    } finally {
      this.#waiting.delete(look)
      ended.catch(() => {})
    }
  }

  async #end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL')
    await this.#exited
    await rm(this.#directory, { recursive: true, force: true })
  }
}

function lineOf(text: string): Line {
  try {
    return JSON.parse(text) as Line // a line of the log is a JSON object
  } catch {
    return { msg: text } // what Node itself writes
  }
}

/** Each file is the old one or the new one: whoever looks meanwhile sees no half of it. */
async function writeAll(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const written = join(directory, `new-${name}`)
    await writeFile(written, content, { mode: 0o600 })
    await rename(written, join(directory, name))
  }
}

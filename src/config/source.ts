/** The configuration of a running process: read again when a file of it changes, or when it is told to. */
import { statSync, watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { Log } from '../telemetry/log.ts'
import { loadConfig } from './load.ts'
import type { LoadedConfig, LoadOptions } from './load.ts'
import { ConfigError, formatPath } from './problem.ts'
import type { Problem } from './problem.ts'
import type { Config } from './schema.ts'

export interface ConfigSourceOptions extends LoadOptions {
  readonly log: Log
  /** How often the files are looked at besides; some file systems tell of no change. */
  readonly pollMs?: number
}

type Listener = (config: Config, previous: Config) => void

/** Editors and `kubectl` write in several steps; what is read between two of them would be half a file. */
const SETTLE_MS = 100
const POLL_MS = 5_000

/**
 * Holds the last configuration that was good. A changed file that cannot be used keeps the old one, and the log says
 * why: a typing mistake at noon must not end a service that runs since morning.
 *
 * Watched are the directories, not the files: Kubernetes puts new secrets in place by moving a symbolic link above
 * them. Besides, the files are looked at every few seconds, since not every file system tells of changes.
 */
export class ConfigSource {
  readonly #file: string
  readonly #options: ConfigSourceOptions
  readonly #listeners = new Set<Listener>()
  readonly #watchers = new Map<string, FSWatcher>()
  readonly #poll: NodeJS.Timeout
  #loaded: LoadedConfig
  #seen: string
  #settling: NodeJS.Timeout | undefined
  #reloading: Promise<void> | undefined
  #closed = false
  #onRefused: (() => void) | undefined

  /** @throws ConfigError when the configuration cannot be used */
  constructor(file: string, options: ConfigSourceOptions) {
    this.#file = file
    this.#options = options
    this.#loaded = loadConfig(file, options)
    this.#seen = fingerprint(this.#loaded.files)
    this.#watch()
    this.#poll = setInterval(() => this.#look(), options.pollMs ?? POLL_MS)
    this.#poll.unref()
  }

  /** The configuration in force. A new object after each change. */
  get current(): Config {
    return this.#loaded.config
  }

  get warnings(): readonly Problem[] {
    return this.#loaded.warnings
  }

  /** Called with each new configuration; returns what takes the listener away again. */
  onChange(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Called for each changed configuration that cannot be used; one listener at most. */
  onRefused(listener: () => void): void {
    this.#onRefused = listener
  }

  /**
   * Reads everything again now; calls that come while one is under way share it. Never rejects: a configuration that
   * cannot be used is logged and the old one stays.
   */
  reload(): Promise<void> {
    this.#reloading ??= Promise.resolve()
      .then(() => this.#load())
      .finally(() => {
        this.#reloading = undefined
      })
    return this.#reloading
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#poll)
    clearTimeout(this.#settling)
    for (const watcher of this.#watchers.values()) watcher.close()
    this.#watchers.clear()
    this.#listeners.clear()
  }

  #load(): void {
    if (this.#closed) return
    const { log } = this.#options
    const previous = this.#loaded
    // Before reading: a change that comes during it is seen at the next look.
    this.#seen = fingerprint(previous.files)
    let loaded: LoadedConfig
    try {
      loaded = loadConfig(this.#file, this.#options)
    } catch (error) {
      log.error(describe(error), 'the changed configuration cannot be used; the old one stays in force')
      this.#onRefused?.()
      return
    }
    if (JSON.stringify(loaded.config) === JSON.stringify(previous.config)) return
    this.#loaded = loaded
    if (loaded.files.join('\n') !== previous.files.join('\n')) {
      this.#seen = fingerprint(loaded.files)
      this.#watch()
    }
    log.info({ warnings: loaded.warnings.length }, 'configuration read again')
    for (const listener of this.#listeners) {
      try {
        listener(loaded.config, previous.config)
      } catch (error) {
        log.error({ err: error }, 'a part of the gateway could not take the new configuration')
      }
    }
  }

  #watch(): void {
    const directories = new Set(this.#loaded.files.map((file) => dirname(file)))
    for (const [directory, watcher] of this.#watchers) {
      if (directories.has(directory)) continue
      watcher.close()
      this.#watchers.delete(directory)
    }
    for (const directory of directories) {
      if (this.#watchers.has(directory)) continue
      try {
        const watcher = watch(directory, { persistent: false }, (_event, name) => {
          if (name === null || this.#concerns(directory, name)) this.#settle()
        })
        // The directory went away, or there are no more watches to be had: the poll goes on.
        watcher.on('error', () => {
          watcher.close()
          this.#watchers.delete(directory)
        })
        this.#watchers.set(directory, watcher)
      } catch (error) {
        this.#options.log.debug(
          { err: error, directory },
          'cannot watch a directory; its files are looked at from time to time',
        )
      }
    }
  }

  /** Kubernetes' `..data` is the link through which every file of a mount is reached. */
  #concerns(directory: string, name: string): boolean {
    return (
      name.startsWith('..') || this.#loaded.files.some((file) => dirname(file) === directory && basename(file) === name)
    )
  }

  #settle(): void {
    clearTimeout(this.#settling)
    this.#settling = setTimeout(() => this.#look(), SETTLE_MS)
    this.#settling.unref()
  }

  #look(): void {
    if (this.#closed || fingerprint(this.#loaded.files) === this.#seen) return
    void this.reload()
  }
}

function describe(error: unknown): object {
  if (!(error instanceof ConfigError)) return { err: error }
  const { file, problems } = error
  return { problems: problems.map(({ path, line, message }) => `${file}:${line}: ${formatPath(path)}: ${message}`) }
}

/** What changes when a file does: of a link, what it leads to. */
function fingerprint(files: readonly string[]): string {
  return files
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false, bigint: true })
      return stat ? `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}` : 'none'
    })
    .join('\n')
}

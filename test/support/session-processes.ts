/** Gateways as real processes, as far as sessions go: each has a manager over the one Redis. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RedisConfig } from '../../src/config/schema.ts'
import type { TokenSet } from '../../src/oidc/token-set.ts'
import type { SessionEvent } from '../../src/session/events.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import type { SessionSettings } from '../../src/session/manager.ts'
import type { Session } from '../../src/session/session.ts'

export interface WorkerSettings {
  readonly redis: RedisConfig
  readonly tokenServer: string
  readonly keysFile: string
  readonly session?: Partial<SessionSettings>
  readonly leaseMs?: number
}

export interface WorkerCall {
  readonly id: number
  readonly name: string
  readonly args: readonly unknown[]
}

export interface HeardEvent {
  readonly event: SessionEvent
  readonly ref: string
  /** Epoch ms by the worker's clock, which is the machine's. */
  readonly at: number
}

/** One process. A call that fails rejects with an Error whose message is the failure's code. */
export class SessionProcess {
  readonly heard: HeardEvent[] = []
  readonly #child: ChildProcess
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>()
  #calls = 0

  constructor(settings: WorkerSettings) {
    this.#child = fork(new URL('session-worker.ts', import.meta.url), {
      env: { ...process.env, SESSION_WORKER: JSON.stringify(settings) },
    })
    this.#child.on('message', (message) => this.#receive(message as Record<string, unknown>)) // sent by the worker
    this.#child.on('exit', (code, signal) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`the process ended: ${signal ?? code}`))
    })
  }

  get pid(): number {
    return this.#child.pid as number // it has been spawned
  }

  async untilReady(): Promise<this> {
    const [message] = (await once(this.#child, 'message')) as [{ isReady?: boolean }] // the first one says so
    if (!message.isReady) throw new Error('the worker spoke before it was ready')
    while (!(await this.call<boolean>('inStep'))) await new Promise((resolve) => setTimeout(resolve, 20))
    return this
  }

  create(
    sub: string,
    tokens: Partial<TokenSet> = {},
    sid?: string,
  ): Promise<{ cookieValue: string; session: Session }> {
    return this.call('create', sub, tokens, sid)
  }

  resolve(cookieValue: string, changes: object = {}): Promise<Session> {
    return this.call('resolve', cookieValue, changes)
  }

  /** So many requests at once; the access token or the failure code of each. */
  resolveMany(cookieValue: string, count: number): Promise<string[]> {
    return this.call('resolveMany', cookieValue, count)
  }

  call<T>(name: string, ...args: unknown[]): Promise<T> {
    const id = (this.#calls += 1)
    const answer = Promise.withResolvers<unknown>()
    this.#pending.set(id, answer)
    this.#child.send({ id, name, args })
    return answer.promise as Promise<T> // said by the caller, who knows the worker's calls
  }

  stop(): void {
    this.#child.kill('SIGSTOP')
  }

  wake(): void {
    this.#child.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }

  get exitCode(): number | null {
    return this.#child.exitCode
  }

  #receive(message: Record<string, unknown>): void {
    if ('event' in message) this.heard.push(message as unknown as HeardEvent) // what `watch` sends
    if (typeof message.id !== 'number') return
    const pending = this.#pending.get(message.id)
    this.#pending.delete(message.id)
    const { error } = message as { error?: { code: string } }
    if (error) pending?.reject(new Error(error.code))
    else pending?.resolve(message.result)
  }
}

export interface SessionProcesses {
  readonly processes: SessionProcess[]
  readonly keysFile: string
  readonly key: string
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts `count` processes with one key file, in step with each other. */
export async function startSessionProcesses(
  count: number,
  settings: Omit<WorkerSettings, 'keysFile'>,
): Promise<SessionProcesses> {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-keys-'))
  const keysFile = join(directory, 'keys')
  const key = KeyRing.generateKey()
  await writeFile(keysFile, `${key}\n`)
  const processes = Array.from({ length: count }, () => new SessionProcess({ ...settings, keysFile }))
  await Promise.all(processes.map((one) => one.untilReady()))
  return {
    processes,
    keysFile,
    key,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(processes.map((one) => one.kill()))
      await rm(directory, { recursive: true, force: true })
    },
  }
}

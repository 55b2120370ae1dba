/**
 * The session store that many instances share; its keys are those of `docs/sessions.md`.
 *
 * Reads are one HMGET, writes one script; each touches the keys of one hash slot, so that a Cluster works.
 */
import { randomUUID } from 'node:crypto'
import { Cluster } from 'ioredis'
import type { RedisConfig } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import {
  connectData,
  connectSubscriber,
  gatherWrites,
  type RedisClient,
  useCredentials,
  withoutCommand,
} from './redis-client.ts'
import { RedisEvents } from './redis-events.ts'
import { RedisGuard, replyCode } from './redis-guard.ts'
import { inspectRedis } from './redis-inspection.ts'
import type {
  DeleteConditions,
  ReplaceOptions,
  ReplaceOutcome,
  SharedStore,
  StoredSession,
  StoreEvent,
} from './store.ts'

const SCAN_COUNT = 500
const PROVE_MASTER_MS = 1_000
const LOG_AGAIN_MS = 30_000

export interface RedisStoreOptions {
  readonly config: RedisConfig
  /** `name` of the configuration: the prefix where none is set. */
  readonly name: string
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'storeDuration' | 'storeErrors'>
  readonly now?: () => number
}

export class RedisStore implements SharedStore {
  readonly instance = randomUUID()
  readonly #prefix: string
  readonly #channel: string
  #config: RedisConfig
  readonly #client: RedisClient
  readonly #events: RedisEvents
  readonly #log: Log
  readonly #guard: RedisGuard
  readonly #now: () => number
  readonly #masterProof: NodeJS.Timeout
  #loggedAt = Number.NEGATIVE_INFINITY
  #wasReady = false
  #isClosed = false

  constructor(options: RedisStoreOptions) {
    this.#config = options.config
    this.#prefix = options.config.prefix ?? `${options.name}:`
    this.#channel = `${this.#prefix}events`
    this.#log = options.log
    this.#now = options.now ?? Date.now
    this.#client = connectData(options.config)
    this.#guard = new RedisGuard(options.config.commandTimeout, options.metrics, gatherWrites(this.#client))
    this.#client.on('error', (error) => this.#logError(error))
    this.#client.on('ready', () => this.#onReady())
    this.#events = new RedisEvents({
      channel: this.#channel,
      instance: this.instance,
      connect: () => connectSubscriber(this.#config, this.#client),
      publish: (message) => this.#guard.run('tick', () => this.#client.publish(this.#channel, message)),
      log: options.log,
    })
    this.#events.start()
    // A write that changes nothing: a read-only replica answers READONLY, which makes the client look for the master.
    this.#masterProof = setInterval(() => {
      this.#guard.run('tick', () => this.#client.del(`${this.#prefix}probe`)).catch(() => {})
    }, PROVE_MASTER_MS)
    this.#masterProof.unref()
  }

  useCredentials(config: RedisConfig): void {
    this.#config = config
    useCredentials(this.#client, config)
  }

  async get(ref: string): Promise<StoredSession | undefined> {
    try {
      const fields = await this.#guard.run('get', () =>
        this.#client.hmgetBuffer(this.#session(ref), 'v', 'k', 'd', 't', 'c'),
      )
      return this.#record(ref, fields)
    } catch (error) {
      if (replyCode(error) !== 'WRONGTYPE') throw error
      this.#log.warn({ sessionRef: ref.slice(0, 16) }, 'what is stored under this session key is no session')
      return undefined
    }
  }

  async create(ref: string, record: StoredSession, expiresAt: number): Promise<void> {
    const { version, keyId, sealed, lastSeenAt, createdAt } = record
    const isCreated = await this.#guard.run('create', () =>
      this.#client.sgCreate(this.#session(ref), version, keyId, sealed, lastSeenAt, createdAt, this.#ttl(expiresAt)),
    )
    if (isCreated !== 1) throw new Error('a session with this ref exists already')
  }

  replace(ref: string, record: StoredSession, expiresAt: number, options: ReplaceOptions): Promise<ReplaceOutcome> {
    const { version, keyId, sealed, lastSeenAt } = record
    const event = this.#message({ type: options.announce, ref, version, from: this.instance })
    return this.#guard.run('replace', () =>
      this.#client.sgReplace(
        this.#session(ref),
        this.#lock(ref),
        options.expectedVersion,
        options.owner ?? '',
        version,
        keyId,
        sealed,
        lastSeenAt,
        this.#ttl(expiresAt),
        this.#channel,
        event,
      ),
    )
  }

  async touch(ref: string, lastSeenAt: number, expiresAt: number): Promise<boolean> {
    const ttl = this.#ttl(expiresAt)
    return (await this.#guard.run('touch', () => this.#client.sgTouch(this.#session(ref), lastSeenAt, ttl))) === 1
  }

  async delete(ref: string, reason: string, onlyIf: DeleteConditions = {}): Promise<StoredSession | undefined> {
    const fields = await this.#guard.run('delete', () =>
      this.#client.sgDeleteBuffer(
        this.#session(ref),
        onlyIf.version ?? '',
        onlyIf.lastSeenAt ?? '',
        onlyIf.createdBefore ?? '',
        this.#channel,
        this.#message({ type: 'ended', ref, reason, from: this.instance }),
      ),
    )
    if (!fields) return undefined
    // Something was there and is gone; where it was no session record, there is nothing in it to be read.
    return this.#record(ref, fields) ?? { version: 0, keyId: '', sealed: Buffer.alloc(0), lastSeenAt: 0, createdAt: 0 }
  }

  acquire(ref: string, owner: string, leaseMs: number): Promise<number> {
    return this.#guard.run('lock', () => this.#client.sgAcquire(this.#lock(ref), owner, leaseMs))
  }

  async renew(ref: string, owner: string, leaseMs: number): Promise<boolean> {
    return (await this.#guard.run('lock', () => this.#client.sgRenew(this.#lock(ref), owner, leaseMs))) === 1
  }

  async release(ref: string, owner: string, failure?: string): Promise<void> {
    const event = this.#message({
      type: 'released',
      ref,
      ...(failure !== undefined && { failure }),
      from: this.instance,
    })
    await this.#guard.run('lock', () => this.#client.sgRelease(this.#lock(ref), owner, this.#channel, event))
  }

  async addToIndex(key: string, member: string, expiresAt: number): Promise<void> {
    const ttl = this.#ttl(expiresAt)
    await this.#guard.run('index', () =>
      this.#client.sgIndexAdd(this.#prefix + key, member, expiresAt, this.#now(), ttl),
    )
  }

  async removeFromIndex(key: string, members: readonly string[]): Promise<void> {
    if (members.length > 0) await this.#guard.run('index', () => this.#client.zrem(this.#prefix + key, ...members))
  }

  readIndex(key: string): Promise<string[]> {
    return this.#guard.run('index', () => this.#client.zrangebyscore(this.#prefix + key, `(${this.#now()}`, '+inf'))
  }

  async isIndexed(key: string, member: string): Promise<boolean> {
    const end = await this.#guard.run('index', () => this.#client.zscore(this.#prefix + key, member))
    return Number(end ?? 0) > this.#now()
  }

  lastSeen(refs: readonly string[]): Promise<(number | undefined)[]> {
    return Promise.all(
      refs.map(async (ref) => {
        const seen = await this.#guard.run('get', () => this.#client.hget(this.#session(ref), 't'))
        return seen === null ? undefined : Number(seen)
      }),
    )
  }

  async *refs(): AsyncIterable<string[]> {
    const nodes = this.#client instanceof Cluster ? this.#client.nodes('master') : [this.#client]
    const start = `${this.#prefix}s:{`
    const match = `${start.replaceAll(/[\\*?[\]]/g, String.raw`\$&`)}*}`
    for (const node of nodes) {
      let cursor = '0'
      do {
        const from = cursor
        const [next, keys] = await this.#guard.run('scan', () => node.scan(from, 'MATCH', match, 'COUNT', SCAN_COUNT))
        cursor = next
        if (keys.length > 0) yield keys.map((key) => key.slice(start.length, -1))
      } while (cursor !== '0')
    }
  }

  async noteIfAbsent(key: string, value: string, ttlMs: number): Promise<string | undefined> {
    return (
      (await this.#guard.run('note', () => this.#client.sgNote(this.#prefix + key, value, whole(ttlMs)))) ?? undefined
    )
  }

  async note(key: string, value: string, ttlMs: number): Promise<void> {
    await this.#guard.run('note', () => this.#client.set(this.#prefix + key, value, 'PX', whole(ttlMs)))
  }

  async readNote(key: string): Promise<string | undefined> {
    return (await this.#guard.run('note', () => this.#client.get(this.#prefix + key))) ?? undefined
  }

  async takeNote(key: string): Promise<string | undefined> {
    return (await this.#guard.run('note', () => this.#client.sgTake(this.#prefix + key))) ?? undefined
  }

  async countUse(key: string, limit: number, windowMs: number): Promise<{ allowed: boolean; endsInMs: number }> {
    const count = this.#prefix + key
    const [allowed, endsInMs] = await this.#guard.run('count', () =>
      this.#client.sgCount(count, limit, whole(windowMs)),
    )
    return { allowed: allowed === 1, endsInMs }
  }

  publish(event: StoreEvent): void {
    this.#guard
      .run('publish', () => this.#client.publish(this.#channel, this.#message(event)))
      .catch(() => {
        // Best effort, as promised; what must not get lost is published by the script that does it.
      })
  }

  onEvent(listener: (event: StoreEvent) => void): () => void {
    return this.#events.onEvent(listener)
  }

  onDoubt(listener: () => void): () => void {
    return this.#events.onDoubt(listener)
  }

  get inStep(): boolean {
    return this.#events.inStep
  }

  async probe(): Promise<void> {
    await this.#guard.run('probe', () => this.#client.sgProbe(`${this.#prefix}probe`, this.instance, 1_000))
  }

  /** What an operator should know about this server, in whole sentences; empty when all is well or nothing can be told. */
  warnings(): Promise<string[]> {
    return inspectRedis(this.#client, this.#config)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#masterProof)
    this.#events.close()
    // Answers that are still owed come first; a server that gives none is not waited for.
    await this.#guard.bounded(() => this.#client.quit()).catch(() => {})
    this.#client.disconnect()
  }

  /** Absent, not a record, or a record. Nothing of what is found goes to the log. */
  #record(ref: string, fields: readonly (Buffer | null)[]): StoredSession | undefined {
    const [version, keyId, sealed, lastSeenAt, createdAt] = fields
    if (fields.every((field) => !field)) return undefined
    const record = {
      version: Number(version ?? Number.NaN),
      keyId: String(keyId ?? ''),
      sealed: sealed ?? Buffer.alloc(0),
      lastSeenAt: Number(lastSeenAt ?? Number.NaN),
      createdAt: Number(createdAt ?? 0),
    }
    if (Number.isSafeInteger(record.version) && Number.isFinite(record.lastSeenAt)) return record
    this.#log.warn({ sessionRef: ref.slice(0, 16) }, 'what is stored under this session key is no session')
    return undefined
  }

  #onReady(): void {
    if (this.#isClosed) return
    // After a fail-over the new master may lack the last writes; what is cached may be newer or older than it.
    if (this.#wasReady) {
      this.#log.info({}, 'connected to Redis again')
      return this.#events.doubt()
    }
    this.#wasReady = true
    void this.warnings().then((found) => {
      for (const warning of found) this.#log.warn({}, warning)
    })
  }

  #logError(error: Error): void {
    const now = performance.now()
    if (this.#isClosed || now - this.#loggedAt < LOG_AGAIN_MS) return
    this.#loggedAt = now
    this.#log.warn({ err: withoutCommand(error) }, 'the connection to Redis failed')
  }

  #message(event: StoreEvent): string {
    return JSON.stringify(event)
  }

  #session(ref: string): string {
    return `${this.#prefix}s:{${ref}}`
  }

  #lock(ref: string): string {
    return `${this.#prefix}l:{${ref}}`
  }

  /** Relative, by our own clock: the server's may differ, and one that is ahead would end sessions early. */
  #ttl(expiresAt: number): number {
    return whole(expiresAt - this.#now())
  }
}

function whole(ms: number): number {
  return Math.max(1, Math.ceil(ms))
}

/** The store that the configuration asks for. */
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { MemoryStore } from './memory-store.ts'
import type { SessionStore } from './store.ts'

export interface OpenStoreOptions {
  readonly log: Log
  readonly metrics: Metrics
  readonly now: () => number
}

/** Waits for nothing: the store need not be there yet. */
export type OpenStore = (options: OpenStoreOptions) => SessionStore

/** Redis, or the process's memory with a warning. The client of Redis is loaded where it is asked for: it takes 11 MiB. */
export async function loadStore({ name, store: { redis } }: Config): Promise<OpenStore> {
  if (redis) {
    const { RedisStore } = await import('./redis-store.ts')
    return (options) => new RedisStore({ config: redis, name, ...options })
  }
  return ({ log, now }) => {
    log.warn(
      { store: 'memory' },
      'sessions are kept in this process: they end with it, and a second instance does not know them (store.redis keeps them)',
    )
    return new MemoryStore({ now })
  }
}

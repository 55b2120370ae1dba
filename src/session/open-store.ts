/** The store that the configuration asks for. */
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { MemoryStore } from './memory-store.ts'
import { RedisStore } from './redis-store.ts'
import type { SessionStore } from './store.ts'

export interface OpenStoreOptions {
  readonly log: Log
  readonly metrics: Metrics
  readonly now: () => number
}

/** Redis, or the process's memory with a warning. Waits for nothing: the store need not be there yet. */
export function openStore({ name, store: { redis } }: Config, { log, metrics, now }: OpenStoreOptions): SessionStore {
  if (redis) return new RedisStore({ config: redis, name, log, metrics, now })
  log.warn(
    { store: 'memory' },
    'sessions are kept in this process: they end with it, and a second instance does not know them (store.redis keeps them)',
  )
  return new MemoryStore({ now })
}

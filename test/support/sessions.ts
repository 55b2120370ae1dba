/** Parts that tests of sessions are made of: configuration, clocks, login results, scripted providers. */
import { setTimeout as delay } from 'node:timers/promises'
import type { RedisConfig } from '../../src/config/schema.ts'
import type { SessionStore } from '../../src/session/store.ts'

/** The Redis part of a configuration as the loader gives it. */
export function redisConfig(redis: Partial<RedisConfig>): RedisConfig {
  return { commandTimeout: 500, ...redis }
}

/** Until the store's own events are proved to arrive. */
export async function untilInStep(store: Pick<SessionStore, 'inStep'>, patienceMs = 10_000): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!store.inStep) {
    if (performance.now() > deadline) throw new Error('the store did not get in step')
    await delay(10)
  }
}

import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { silentLog } from '../../src/telemetry/log.ts'
import { startRedis } from '../support/redis.ts'
import { IDLE_MS, LIFETIME_MS, sessionCommands, StrictProvider } from '../support/session-model.ts'
import { managerWorld, manualClock, redisConfig, untilInStep } from '../support/sessions.ts'

test('over Redis, too: no session comes back, no token is used twice or by another (R6, R13)', async () => {
  const redis = await startRedis()
  const options = { config: redisConfig({ url: redis.url, commandTimeout: 5_000 }), name: 'sidegate', log: silentLog }
  const stores = [new RedisStore(options), new RedisStore(options)] as const
  onTestFinished(async () => {
    await Promise.all(stores.map((store) => store.close()))
    await redis.stop()
  })
  await Promise.all(stores.map((store) => untilInStep(store)))
  const keyRing = new KeyRing([KeyRing.generateKey()])
  let steps = 0

  await fc.assert(
    fc.asyncProperty(sessionCommands, async (commands) => {
      const clock = manualClock()
      const provider = new StrictProvider(clock)
      const settings = { idleTimeout: IDLE_MS, maxLifetime: LIFETIME_MS }
      const managers = [
        managerWorld({ store: stores[0], keyRing, provider, clock, settings }).manager,
        managerWorld({ store: stores[1], keyRing, provider, clock, settings }).manager,
      ] as const
      try {
        await fc.asyncModelRun(
          () => ({ model: { sessions: [] }, real: { managers, stores, provider, clock } }),
          commands,
        )
        steps += 1
      } finally {
        await Promise.all(managers.map((manager) => manager.close()))
      }
    }),
    { numRuns: 40 },
  )
  expect(steps).toBeGreaterThanOrEqual(40)
}, 60_000)

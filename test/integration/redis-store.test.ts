import { setTimeout as delay } from 'node:timers/promises'
import { silentLog } from '../../src/telemetry/log.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { startRedis } from '../support/redis.ts'
import { redisConfig, untilInStep } from '../support/sessions.ts'
import { describeStoreContract } from '../support/store-contract.ts'

describeStoreContract('the Redis store', async () => {
  const redis = await startRedis()
  const options = { config: redisConfig({ url: redis.url }), name: 'sidegate', log: silentLog }
  const [store, other] = [new RedisStore(options), new RedisStore(options)]
  await Promise.all([untilInStep(store), untilInStep(other)])
  return {
    store,
    other,
    now: Date.now,
    pass: async (ms) => void (await delay(ms + 20)),
    close: async () => {
      await Promise.all([store.close(), other.close()])
      await redis.stop()
    },
  }
})

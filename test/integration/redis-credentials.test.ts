import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { startRedis } from '../support/redis.ts'
import { startWorld, until } from '../support/world.ts'

test('a password of Redis that changes while running is used by the next connections, and nobody is signed out', async () => {
  const redis = await startRedis({ args: ['--requirepass', 'one'] })
  onTestFinished(() => redis.stop())
  const admin = new Redis(redis.url, { password: 'one' })
  onTestFinished(() => admin.disconnect())
  const world = await startWorld({
    config: {
      store: { redis: { url: redis.url, password: 'one' } },
      session: { keys: [KeyRing.generateKey()], cache: { maxEntries: 0 } },
    },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { tab } = await world.signedIn()
  const { store } = world.config

  await admin.config('SET', 'requirepass', 'two')
  await world.gateway.service.update({
    ...world.config,
    store: { redis: store.redis && { ...store.redis, password: 'two' } },
  })
  // Data and subscription alike; the administrator stays.
  for (const type of ['normal', 'pubsub']) await admin.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
  await until(async () => (await tab.fetch('/api/x')).status !== 503)

  expect((await tab.fetch('/api/x')).status).toBe(200)
  await until(() => Promise.resolve(world.gateway.service.manager.store.inStep))
  expect(world.log.text).not.toContain('"two"')
})

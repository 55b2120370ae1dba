/** What a sign-in may cost, counted and not timed. */
import { Socket } from 'node:net'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test, vi } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { silentLog } from '../../src/telemetry/log.ts'
import { startRedis } from '../support/redis.ts'
import { startScriptedWorld } from '../support/scripted-world.ts'
import { redisConfig, untilInStep } from '../support/sessions.ts'

test('a sign-in takes eight commands of Redis, each on the keys of one slot', async () => {
  const redis = await startRedis()
  const operator = new Redis(redis.url)
  // Before anybody else: a command that is told in one packet with the answer to MONITOR would confuse the client.
  const monitor = await operator.monitor()
  const scripted = await startScriptedWorld({
    config: { session: { keys: [KeyRing.generateKey()] }, store: { redis: { url: redis.url } } },
  })
  const commands: string[][] = []
  // What a script does is told too, and is part of the command that ran it.
  monitor.on('monitor', (_time: string, args: string[], source: string) => {
    if (source !== 'lua') commands.push(args)
  })
  onTestFinished(async () => {
    monitor.disconnect()
    operator.disconnect()
    await scripted[Symbol.asyncDispose]()
    await redis.stop()
  })
  // The first one also says its scripts.
  await scripted.signIn(await scripted.visitor(), { sub: 'alice', claims: { sid: 'one' } })
  const tab = await scripted.visitor()
  await operator.echo('from here')

  await scripted.signIn(tab, { sub: 'bob', claims: { sid: 'two' } })

  await operator.echo('to here')
  await expect.poll(() => commands.some(([, text]) => text === 'to here')).toBe(true)
  const from = commands.findIndex(([, text]) => text === 'from here')
  const ofSignIn = commands.slice(from).filter((args) => args.some((arg) => /^sidegate:[a-z]:\{/.test(arg)))
  expect(ofSignIn.map(keyKinds)).toEqual(['t', 'u', 'p', 's', 'u', 'p', 't', 't'])
})

/** The kinds of the keys that a command names, all of one slot. */
function keyKinds(args: readonly string[]): string {
  const keys = args.filter((arg) => /^sidegate:[a-z]:\{/.test(arg))
  expect(new Set(keys.map((key) => /\{.*\}/.exec(key)?.[0])).size).toBe(1)
  return keys.map((key) => key.slice('sidegate:'.length).charAt(0)).join()
}

test('commands of one turn of the event loop leave in one write, whoever gives them', async () => {
  const redis = await startRedis()
  const store = new RedisStore({ config: redisConfig({ url: redis.url }), name: 'sidegate', log: silentLog })
  onTestFinished(async () => {
    await store.close()
    await redis.stop()
  })
  await untilInStep(store)
  const writes = [vi.spyOn(Socket.prototype, '_write'), vi.spyOn(Socket.prototype, '_writev')]
  onTestFinished(() => writes.forEach((spy) => spy.mockRestore()))

  const notes: Promise<void>[] = []
  for (let at = 0; at < 50; at += 1) {
    notes.push(store.note(`t:{${at}}`, 'value', 60_000))
    // Another task of the same turn, as the next request that has come is.
    await new Promise<void>((resolve) => process.nextTick(resolve))
  }
  await Promise.all(notes)

  // One, and the ticks of the store.
  expect(writes.reduce((sum, { mock }) => sum + mock.calls.length, 0)).toBeLessThan(10)
})

test('a sign-in verifies one signature with a key that was read before, and seals six times', async () => {
  const scripted = await startScriptedWorld({})
  onTestFinished(() => scripted[Symbol.asyncDispose]())
  await scripted.signIn(await scripted.visitor(), { sub: 'alice', claims: { sid: 'one' } })
  const tab = await scripted.visitor()
  const counted = {
    imported: vi.spyOn(crypto.subtle, 'importKey'),
    verified: vi.spyOn(crypto.subtle, 'verify'),
    sealed: vi.spyOn(KeyRing.prototype, 'seal'),
    sealedFor: vi.spyOn(KeyRing.prototype, 'sealFor'),
    sealedSessions: vi.spyOn(KeyRing.prototype, 'sealSession'),
  }
  onTestFinished(() => Object.values(counted).forEach((spy) => spy.mockRestore()))

  await scripted.signIn(tab, { sub: 'bob', claims: { sid: 'two' } })

  // Sealed: the transaction, the summary in the indexes, the current login and the outcome; leader; session.
  const counts = Object.fromEntries(Object.entries(counted).map(([name, { mock }]) => [name, mock.calls.length]))
  expect(counts).toEqual({ imported: 0, verified: 1, sealed: 4, sealedFor: 1, sealedSessions: 1 })
})

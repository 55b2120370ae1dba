import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import type { RedisConfig } from '../../src/config/schema.ts'
import type { BffError } from '../../src/errors.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { silentLog } from '../../src/telemetry/log.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { freePort, startRedis } from '../support/redis.ts'
import { startCluster, startSentinel } from '../support/redis-topologies.ts'
import { managerWorld, Recorder, redisConfig, REQUEST, untilInStep } from '../support/sessions.ts'
import { describeStoreContract } from '../support/store-contract.ts'

const realTime = Object.assign(Date.now, { advance: () => {} })
const code = (error: BffError) => error.code

async function openStore(redis: Partial<RedisConfig>, patienceMs?: number): Promise<RedisStore> {
  const store = new RedisStore({ config: redisConfig(redis), name: 'sidegate', log: new Recorder() })
  onTestFinished(() => store.close())
  await untilInStep(store, patienceMs)
  return store
}

describeStoreContract('the Redis store on a cluster of three', async () => {
  const cluster = await startCluster()
  const nodes = cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port }))
  const options = { config: redisConfig({ cluster: nodes }), name: 'sidegate', log: silentLog }
  const [store, other] = [new RedisStore(options), new RedisStore(options)]
  await Promise.all([untilInStep(store), untilInStep(other)])
  return {
    store,
    other,
    now: Date.now,
    pass: async (ms) => void (await delay(ms + 20)),
    close: async () => {
      await Promise.all([store.close(), other.close()])
      await cluster[Symbol.asyncDispose]()
    },
  }
})

test('a node of the cluster dies: its sessions are unavailable, not ended, and the others go on (R40)', async () => {
  const cluster = await startCluster()
  onTestFinished(() => cluster[Symbol.asyncDispose]())
  const [first, second, third] = cluster.servers
  const store = await openStore({
    cluster: [first, second, third].map((one) => ({ host: '127.0.0.1', port: one?.port ?? 0 })),
  })
  const { manager, provider } = managerWorld({ store, clock: realTime, settings: { cache: { maxEntries: 0, ttl: 0 } } })
  const made = await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      manager.create({ provider: 'default', result: provider.login({ sub: `user ${i}` }) }),
    ),
  )
  await manager.refreshNow(made[0]?.cookieValue ?? '')
  await second?.kill()

  const ask = () =>
    Promise.all(made.map(({ cookieValue }) => manager.resolve(cookieValue, REQUEST).then(() => 'ok', code)))
  await expect
    .poll(async () => (await ask()).filter((answer) => answer === 'ok').length, { timeout: 8_000, interval: 300 })
    .toBeGreaterThan(5)
  const answers = await ask()

  expect(answers).toContain('store_unavailable')
  expect(answers).not.toContain('session_expired')
  await manager.close()
})

test('a slot moves to another node while its session is used and refreshed: nobody notices (R40)', async () => {
  const cluster = await startCluster()
  const clients = cluster.servers.map(({ url }) => new Redis(url))
  onTestFinished(async () => {
    for (const client of clients) client.disconnect()
    await cluster[Symbol.asyncDispose]()
  })
  const store = await openStore({ cluster: cluster.servers.map(({ port }) => ({ host: '127.0.0.1', port })) })
  const { manager, provider } = managerWorld({ store, clock: realTime, settings: { cache: { maxEntries: 0, ttl: 0 } } })
  const { cookieValue, session } = await manager.create({ provider: 'default', result: provider.login() })
  const key = `sidegate:s:{${session.ref}}`
  const slot = String(await clients[0]?.cluster('KEYSLOT', key))
  const counts = await Promise.all(clients.map((client) => client.call('CLUSTER', 'COUNTKEYSINSLOT', slot)))
  const from = counts.findIndex((count) => Number(count) > 0)
  const to = (from + 1) % clients.length
  const [source, target] = [clients[from]!, clients[to]!]
  const [sourceId, targetId] = [await source.cluster('MYID'), await target.cluster('MYID')]
  const use = async () => {
    await manager.resolve(cookieValue, REQUEST)
    return (await manager.refreshNow(cookieValue)).version
  }

  await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId)
  await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId)
  const versions = [(await manager.resolve(cookieValue, REQUEST)).version]
  await source.call('MIGRATE', '127.0.0.1', String(cluster.servers[to]?.port), key, '0', '5000')
  versions.push(await use())
  for (const client of [target, source]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', targetId)
  versions.push(await use())

  expect(versions).toEqual([1, 2, 3])
  expect(await manager.end(cookieValue, 'logout')).toMatchObject({ version: 3 })
  await manager.close()
})

test('the master is killed under load: Sentinel fails over, no session is lost, and service returns by itself (R35)', async ({
  annotate,
}) => {
  const group = await startSentinel()
  onTestFinished(() => group[Symbol.asyncDispose]())
  const store = await openStore({
    sentinels: [{ host: '127.0.0.1', port: group.sentinel.port }],
    masterName: 'mymaster',
  })
  const { manager, provider } = managerWorld({ store, clock: realTime, settings: { cache: { maxEntries: 0, ttl: 0 } } })
  const login = () => manager.create({ provider: 'default', result: provider.login() })
  const made = await Promise.all(Array.from({ length: 20 }, login))
  const replica = new Redis(group.replica.url)
  onTestFinished(() => replica.disconnect())
  await expect.poll(async () => (await replica.keys('sidegate:s:*')).length).toBe(20)

  const failures: number[] = []
  const answers = new Set<string>()
  const asked: Promise<void>[] = []
  let isRunning = true
  const load = (async () => {
    for (let i = 0; isRunning; i++) {
      const { cookieValue } = made[i % made.length] ?? { cookieValue: '' }
      const answered = (answer: string) => {
        answers.add(answer)
        if (answer !== 'ok') failures.push(performance.now())
      }
      asked.push(
        manager
          .resolve(cookieValue, REQUEST)
          .then(() => 'ok', code)
          .then(answered),
      )
      await delay(20) // fifty a second
    }
  })()
  await delay(300)
  await group.master.kill()
  await expect.poll(() => login().then(() => 'ok', code), { timeout: 15_000, interval: 100 }).toBe('ok')
  await delay(500)
  isRunning = false
  await load
  await Promise.all(asked)

  expect([...answers].toSorted()).toEqual(['ok', 'store_unavailable'])
  for (const { cookieValue } of made) await expect(manager.resolve(cookieValue, REQUEST)).resolves.toBeDefined()
  const outageMs = (failures.at(-1) ?? 0) - (failures[0] ?? 0)
  await annotate(`time without service: ${Math.round(outageMs)} ms`)
  expect(outageMs).toBeLessThan(10_000)
  await untilInStep(store)
  await manager.close()
})

test('TLS with a private authority, a client certificate and a server name (R40, CF-08)', async () => {
  const authority = await createAuthority()
  onTestFinished(() => authority[Symbol.asyncDispose]())
  const server = await authority.issue('redis.internal')
  const client = await authority.issue('gateway')
  const port = await freePort()
  const args = [
    '--tls-port',
    String(port),
    '--port',
    '0',
    '--tls-auth-clients',
    'yes',
    '--tls-ca-cert-file',
    authority.caFile,
  ]
  const redis = await startRedis({
    port,
    args: [...args, '--tls-cert-file', server.certFile, '--tls-key-file', server.keyFile],
    isReady: () => delay(300, true),
  })
  onTestFinished(() => redis.stop())
  const { ca } = authority
  const { cert, key } = client
  const url = `rediss://127.0.0.1:${port}`

  const store = await openStore({ url, tls: { ca, cert, key, serverName: 'redis.internal' } })
  await expect(store.probe()).resolves.toBeUndefined()

  const refused: [string, Partial<RedisConfig>][] = [
    ['an authority that is not trusted', { url, tls: { cert, key, serverName: 'redis.internal' } }],
    ['another name in the certificate', { url, tls: { ca, cert, key, serverName: 'other.internal' } }],
    ['no client certificate', { url, tls: { ca, serverName: 'redis.internal' } }],
    ['no TLS', { url: `redis://127.0.0.1:${port}` }],
  ]
  for (const [name, redis] of refused) {
    const failing = new RedisStore({ config: redisConfig(redis), name: 'sidegate', log: silentLog })
    await delay(200)
    await expect(failing.probe(), name).rejects.toMatchObject({ code: 'store_unavailable' })
    await failing.close()
  }
})

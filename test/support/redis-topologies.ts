/** Redis as people run it: a cluster of three, and a master with a replica behind Sentinel. */
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { freePort, type RedisServer, startRedis } from './redis.ts'

const SLOTS = 16_384

export interface RedisGroup {
  readonly servers: readonly RedisServer[]
  [Symbol.asyncDispose](): Promise<void>
}

/** Three masters with a third of the slots each, once they agree about it. */
export async function startCluster(): Promise<RedisGroup> {
  const servers = await Promise.all(Array.from({ length: 3 }, startNode))
  const clients = servers.map(({ url }) => new Redis(url))
  const share = Math.ceil(SLOTS / servers.length)
  await Promise.all(
    clients.map((client, i) => {
      const slots = Array.from({ length: Math.min(share, SLOTS - i * share) }, (_, slot) => i * share + slot)
      return client.call('CLUSTER', 'ADDSLOTS', ...slots.map(String))
    }),
  )
  const busPorts = await Promise.all(clients.map(busPort))
  for (const [i, server] of servers.entries()) {
    await clients[0]?.call('CLUSTER', 'MEET', '127.0.0.1', String(server.port), String(busPorts[i]))
  }
  await Promise.all(clients.map(untilClusterIsOk))
  for (const client of clients) client.disconnect()
  return { servers, [Symbol.asyncDispose]: async () => void (await Promise.all(servers.map((one) => one.stop()))) }
}

async function startNode(): Promise<RedisServer> {
  const bus = await freePort()
  const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000', '--cluster-port', String(bus)]
  return startRedis({ args: [...cluster, '--cluster-require-full-coverage', 'no'] })
}

async function busPort(client: Redis): Promise<string> {
  const [, port] = await client.config('GET', 'cluster-port')
  return port ?? ''
}

async function untilClusterIsOk(client: Redis): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    const info = String(await client.call('CLUSTER', 'INFO'))
    if (info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3')) return
    await delay(25)
  }
  throw new Error('the cluster did not come together')
}

export interface SentinelGroup extends RedisGroup {
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly sentinel: RedisServer
}

/** A master, a replica in sync with it, and a sentinel that calls a silent master down after half a second. */
export async function startSentinel(): Promise<SentinelGroup> {
  const master = await startRedis()
  const replica = await startRedis({ args: ['--replicaof', '127.0.0.1', String(master.port)] })
  const port = await freePort()
  const sentinel = await startRedis({
    port,
    configuration: [
      `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds mymaster 500',
      'sentinel failover-timeout mymaster 3000',
      'sentinel parallel-syncs mymaster 1',
    ].join('\n'),
    args: ['--sentinel'],
  })
  const clients = [new Redis(replica.url), new Redis(sentinel.url)] as const
  await until(async () => (await clients[0].info('replication')).includes('master_link_status:up'))
  await until(async () => (await clients[1].info('sentinel')).includes('slaves=1'))
  for (const client of clients) client.disconnect()
  const servers = [master, replica, sentinel]
  const stop = async () => void (await Promise.all(servers.map((one) => one.stop())))
  return { servers, master, replica, sentinel, [Symbol.asyncDispose]: stop }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    if (await holds()) return
    await delay(25)
  }
  throw new Error('the servers did not come together')
}

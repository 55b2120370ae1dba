/** What is out of order at Redis. */
import { createServer } from 'node:tls'
import { connect } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { onTestFinished } from 'vitest'
import { createAuthority } from '../certificate-authority.ts'
import { freePort } from '../free-port.ts'
import { startRedis } from '../redis.ts'
import type { RedisServer, RedisServerOptions } from '../redis.ts'
import { until } from '../world.ts'
import { merged, written } from './ward.ts'
import type { Misconfiguration, Tree, Ward } from './ward.ts'

const REDIS = { about: 'redis', status: 'failure' } as const
const WRITES = /^keys below sidegate: can be written, read and deleted/

async function running(options: RedisServerOptions = {}): Promise<RedisServer> {
  const redis = await startRedis(options)
  onTestFinished(() => redis.stop())
  return redis
}

function withRedis(ward: Ward, redis: Tree): Tree {
  return ward.configuration({ session: { keys: ['A'.repeat(43)] }, store: { redis } })
}

/** Runs what a remedy prints after `redis-cli`, word by word. */
async function redisCli(redis: RedisServer, command: string | undefined): Promise<void> {
  const [name = '', ...words] = (command ?? '').split(' ')
  const client = new Redis(redis.url)
  try {
    await client.call(name, ...words)
  } finally {
    client.disconnect()
  }
}

async function untilClusterIsOk(redis: RedisServer): Promise<void> {
  const client = new Redis(redis.url)
  await until(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'))
  client.disconnect()
}

/** A Redis of which one setting is out of order, until the command of the remedy has been run. */
function mendedByCommand(options: RedisServerOptions, credentials = ''): Misconfiguration['state'] {
  return async (ward) => {
    const redis = await running(options)
    const config = withRedis(ward, { url: redis.url.replace('//', `//${credentials}`) })
    return {
      config,
      follow: async ([, command]) => {
        await redisCli(redis, command)
        return config
      },
    }
  }
}

/** TLS in front of a Redis that speaks in clear. */
async function behindTls(redis: RedisServer): Promise<{ port: number; ca: string }> {
  const authority = await createAuthority()
  onTestFinished(() => authority[Symbol.asyncDispose]())
  const { cert, key } = await authority.issue('127.0.0.1')
  const server = createServer({ cert, key }, (client) => {
    const inner = connect(redis.port, '127.0.0.1')
    client.on('error', () => inner.destroy()).on('close', () => inner.destroy())
    inner.on('error', () => client.destroy())
    client.pipe(inner).pipe(client)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  // A TCP server that listens on a port has an AddressInfo.
  return { port: (server.address() as AddressInfo).port, ca: authority.ca }
}

export const atRedis: readonly Misconfiguration[] = [
  {
    ...REDIS,
    title: 'a Redis that is not running',
    finding: /refuses connections/,
    remedy: /^start the server/,
    fine: WRITES,
    state: async (ward) => {
      const port = await freePort()
      const config = withRedis(ward, { url: `redis://127.0.0.1:${port}` })
      return {
        config,
        follow: async () => {
          await running({ port })
          return config
        },
      }
    },
  },
  {
    ...REDIS,
    title: 'a password that is wrong',
    finding: /^Redis refuses the password \(WRONGPASS\)$/,
    remedy: /^correct store\.redis\.passwordFile/,
    fine: WRITES,
    state: async (ward) => {
      const { url } = await running({ args: ['--requirepass', 'right'] })
      return {
        config: withRedis(ward, { url, password: 'wrong' }),
        follow: () => withRedis(ward, { url, password: 'right' }),
      }
    },
  },
  {
    ...REDIS,
    title: 'a password that is missing',
    finding: /^Redis refuses the password \(NOAUTH\)$/,
    remedy: /^correct store\.redis\.(password)File/,
    fine: WRITES,
    state: async (ward) => {
      const { url } = await running({ args: ['--requirepass', 'right'] })
      return { config: withRedis(ward, { url }), follow: ([, key = '']) => withRedis(ward, { url, [key]: 'right' }) }
    },
  },
  {
    ...REDIS,
    title: 'a Redis that throws sessions away when memory is short (R37)',
    finding: /maxmemory-policy allkeys-lru .*signed out at random$/,
    remedy: /^redis-cli (CONFIG SET maxmemory-policy noeviction), and the same in redis\.conf$/,
    fine: /^no session is evicted$/,
    state: mendedByCommand({ args: ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'] }),
  },
  {
    ...REDIS,
    title: 'a Redis that is full',
    finding: /^Redis is full/,
    remedy: /^redis-cli (CONFIG SET maxmemory 256mb), or what it needs/,
    fine: /^no session is evicted$/,
    state: mendedByCommand({ args: ['--maxmemory', '100kb', '--maxmemory-policy', 'noeviction'] }),
  },
  {
    ...REDIS,
    title: 'a Redis that forgets everything at a restart',
    status: 'warning',
    finding: /^Redis may persist nothing/,
    remedy: /^redis-cli (CONFIG SET appendonly yes), and the same in redis\.conf/,
    fine: /^a restart of Redis keeps the sessions$/,
    state: mendedByCommand({}),
  },
  {
    ...REDIS,
    title: 'a Redis that waits for replicas which are not there',
    finding: /^Redis takes no writes, since too few replicas follow$/,
    remedy: /or redis-cli (CONFIG SET min-replicas-to-write 0)$/,
    fine: WRITES,
    state: mendedByCommand({ args: ['--min-replicas-to-write', '1'] }),
  },
  {
    ...REDIS,
    title: 'an ACL user that may not use the keys',
    finding: /^the ACL user may not do what sessions need .* below sidegate:$/,
    remedy:
      /redis-cli (ACL SETUSER app resetkeys ~sidegate:\* resetchannels &sidegate:\* \+@all -@dangerous \+info), and/,
    fine: WRITES,
    state: mendedByCommand({ args: ['--user', 'app', 'on', '>pw', '~other:*', '&*', '+@all'] }, 'app:pw@'),
  },
  {
    ...REDIS,
    title: 'an ACL user that may not run scripts',
    finding: /^the ACL user may not do what sessions need/,
    remedy: /redis-cli (ACL SETUSER app [^,]+), and/,
    fine: WRITES,
    state: mendedByCommand({ args: ['--user', 'app', 'on', '>pw', '~*', '&*', '+@all', '-@scripting'] }, 'app:pw@'),
  },
  {
    ...REDIS,
    title: 'an ACL user that may not hear the events',
    finding: /^the ACL user may not do what sessions need/,
    remedy: /redis-cli (ACL SETUSER app [^,]+), and/,
    fine: WRITES,
    state: mendedByCommand({ args: ['--user', 'app', 'on', '>pw', '~*', 'resetchannels', '+@all'] }, 'app:pw@'),
  },
  {
    ...REDIS,
    title: 'a replica in place of the master (R36)',
    finding: /^this server is a replica: it takes no writes$/,
    remedy: /^write the address of the master \((\S+)\)/,
    fine: WRITES,
    state: async (ward) => {
      const master = await running()
      const replica = await running({ args: ['--replicaof', '127.0.0.1', String(master.port)] })
      return {
        config: withRedis(ward, { url: replica.url }),
        follow: ([, address]) => withRedis(ward, { url: `redis://${address}` }),
      }
    },
  },
  {
    ...REDIS,
    title: 'one node of a cluster in place of the cluster',
    finding: /^this server is a node of a Redis Cluster/,
    remedy: /^write (cluster: \[\{ host: \S+, port: \d+ \}\]) in place of url$/,
    fine: WRITES,
    state: async (ward) => {
      const bus = await freePort()
      // A node that has no neighbours does not know its own address.
      const own = ['--cluster-announce-ip', '127.0.0.1', '--cluster-port', String(bus)]
      const redis = await running({ args: ['--cluster-enabled', 'yes', ...own] })
      await redisCli(redis, 'CLUSTER ADDSLOTSRANGE 0 16383')
      await untilClusterIsOk(redis)
      return {
        config: withRedis(ward, { url: redis.url }),
        follow: ([, yaml]) => withRedis(ward, written(yaml)),
      }
    },
  },
  {
    ...REDIS,
    title: 'TLS to a Redis that speaks in clear',
    finding: /TLS does not come about/,
    remedy: /then the address begins with http:\/\/ or (redis:\/\/)$/,
    fine: WRITES,
    state: async (ward) => {
      const redis = await running()
      return {
        config: withRedis(ward, { url: redis.url.replace('redis:', 'rediss:') }),
        follow: ([, scheme]) => withRedis(ward, { url: `${scheme}127.0.0.1:${redis.port}` }),
      }
    },
  },
  {
    ...REDIS,
    title: 'no TLS to a Redis that speaks nothing else',
    finding: /speaks TLS, and the gateway speaks to it in clear$/,
    remedy: /^write (url: rediss:\S+)$/,
    fine: WRITES,
    state: async (ward) => {
      const { port, ca } = await behindTls(await running())
      return {
        config: withRedis(ward, { url: `redis://127.0.0.1:${port}` }),
        // Whom to trust is the next remedy, which has a test of its own.
        follow: ([, yaml]) => withRedis(ward, merged(written(yaml), { tls: { ca } })),
      }
    },
  },
  {
    ...REDIS,
    title: 'a certificate of Redis by an authority that is not trusted',
    finding: /the certificate is not signed by an authority that is trusted here/,
    remedy: /^put the certificate of its authority into store\.redis\.(tls)\.(ca)File/,
    fine: WRITES,
    state: async (ward) => {
      const { port, ca } = await behindTls(await running())
      const url = `rediss://127.0.0.1:${port}`
      return {
        config: withRedis(ward, { url }),
        follow: ([, section = '', key = '']) => withRedis(ward, { url, [section]: { [key]: ca } }),
      }
    },
  },
]

/** Connections to Redis as people run it: one server, Sentinel, Cluster; TCP, TLS or a unix socket. */
import type { ConnectionOptions } from 'node:tls'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { RedisConfig } from '../config/schema.ts'
import { type ScriptCommands, scripts } from './redis-scripts.ts'

const CONNECT_TIMEOUT_MS = 2_000
/** A connection that owes answers for so long is dead, even if nobody has closed it (half-open, black-holed). */
const SILENCE_MS = 2_000

export type RedisClient = (Redis | Cluster) & ScriptCommands

/** Where one server is, as a URL or the parts of the configuration say it. Passwords only ever go to ioredis. */
interface Endpoint {
  readonly host?: string
  readonly port?: number
  readonly path?: string
  readonly db?: number
  readonly username?: string
  readonly password?: string
  readonly isTls: boolean
}

/** Soon at first, then once a second: an outage ends within a second or so of its cause. */
function retryDelayMs(times: number): number {
  return Math.min(1_000, 50 * 2 ** Math.min(times, 6)) * (0.75 + Math.random() / 4)
}

/**
 * What keeps an outage short and bounded (by default ioredis waits for ever): nothing is queued while
 * there is no connection, nothing is sent twice, every command has an end.
 *
 * Not resent, because a lock that was taken by a command whose answer got lost would then look like another's.
 */
function commonOptions(config: RedisConfig) {
  return {
    protocol: 2,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: config.commandTimeout,
    connectTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: Math.max(SILENCE_MS, 2 * config.commandTimeout),
    disconnectTimeout: 100,
    keepAlive: 10_000,
    // A master that became a replica (fail-over) answers so; the next connection finds the new master.
    reconnectOnError: (error: Error) => (error.message.includes('READONLY') ? 1 : false),
  } satisfies RedisOptions
}

/** The connection for data. It connects by itself, again and again, and never throws outside of a command. */
export function connectData(config: RedisConfig): RedisClient {
  const { commandTimeout, ...common } = commonOptions(config)
  if (config.cluster) {
    const redisOptions = { ...common, commandTimeout }
    const cluster = new Cluster(
      config.cluster.map(({ host, port }) => ({ host, port })),
      {
        scripts: { ...scripts },
        enableAutoPipelining: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: retryDelayMs,
        slotsRefreshTimeout: 1_000,
        slotsRefreshInterval: 10_000,
        retryDelayOnFailover: 100,
        // As announced: a name stays a name, so that a certificate can be checked against it.
        dnsLookup: (address, callback) => callback(null, address),
        redisOptions: { ...redisOptions, ...credentials(config), ...tlsOptions(config, endpointOf(config)) },
      },
    )
    return cluster as Cluster & ScriptCommands // ioredis makes a method of each script it is given
  }
  // Without ioredis' own time limit: the guard has one for each command, and silence ends the connection.
  const redis = new Redis({
    ...common,
    scripts: { ...scripts },
    ...serverOptions(config),
    retryStrategy: retryDelayMs,
  })
  return redis as Redis & ScriptCommands // as above
}

/**
 * To be called before each command: those of one turn of the event loop leave together, in one write.
 *
 * ioredis' auto-pipelining does that too, for twice the CPU of a command, and holds the next commands back until all
 * of the last were answered. A Cluster keeps it: nobody else knows which node a command goes to.
 */
export function gatherWrites(client: RedisClient): () => void {
  if (client instanceof Cluster) return () => {}
  let gathering: Redis['stream'] | undefined
  return () => {
    const { stream } = client
    // Before the first connection there is none of either.
    if (stream === gathering) return
    gathering = stream
    stream.cork()
    setImmediate(() => {
      if (gathering === stream) gathering = undefined
      stream.uncork()
    })
  }
}

/** From the next connection on; those that there are stay. */
export function useCredentials(client: RedisClient, config: RedisConfig): void {
  const changed = { username: undefined, password: undefined, ...credentials(config) }
  const tls = tlsOptions(config, endpointOf(config))
  // Both keep these objects and read them at each connection.
  if (client instanceof Cluster) Object.assign(client.options.redisOptions ?? {}, changed, tls)
  else {
    const { username: sentinelUsername, password: sentinelPassword } = changed
    const sentinels = config.sentinels && { sentinelUsername, sentinelPassword, sentinelTLS: tls.tls }
    Object.assign(client.options, changed, tls, sentinels)
  }
}

/** A connection for one subscription. It does not reconnect: its owner makes a new one and knows that there was a gap. */
export function connectSubscriber(config: RedisConfig, data: RedisClient): Redis {
  const once = {
    ...commonOptions(config),
    lazyConnect: true,
    enableOfflineQueue: true,
    autoResubscribe: false,
    commandTimeout: SILENCE_MS,
    retryStrategy: () => null,
    reconnectOnError: () => false,
  } satisfies RedisOptions
  if (!(data instanceof Cluster)) return new Redis({ ...once, ...serverOptions(config) })
  // Any node hears what any node publishes.
  const known = data.nodes('all').flatMap(({ options: { host, port } }) => (host && port ? [{ host, port }] : []))
  const nodes = known.length > 0 ? known : (config.cluster ?? [])
  const node = nodes[Math.floor(Math.random() * nodes.length)]
  return new Redis({ ...once, ...node, ...credentials(config), ...tlsOptions(config, endpointOf(config)) })
}

/** Takes the failed command off an error of ioredis: its arguments are sealed records, or the password where it was AUTH. */
export function withoutCommand(error: unknown): unknown {
  if (error instanceof Error) Reflect.deleteProperty(error, 'command')
  return error
}

/** Whether the way to the server leaves this machine without TLS. */
export function isInClear(config: RedisConfig): boolean {
  const endpoint = endpointOf(config)
  if (endpoint.isTls || endpoint.path !== undefined) return false
  const hosts = (config.sentinels ?? config.cluster)?.map(({ host }) => host) ?? [endpoint.host ?? 'localhost']
  return !hosts.every((host) => host === 'localhost' || host === '::1' || host.startsWith('127.'))
}

function serverOptions(config: RedisConfig): Omit<RedisOptions, 'replyMapping'> {
  const endpoint = endpointOf(config)
  const common = { ...credentials(config), ...tlsOptions(config, endpoint), ...(endpoint.db && { db: endpoint.db }) }
  if (!config.sentinels) {
    const { host, port, path } = endpoint
    return { ...common, ...(path === undefined ? { host: host ?? 'localhost', port: port ?? 6_379 } : { path }) }
  }
  const { username, password } = credentials(config)
  return {
    ...common,
    sentinels: config.sentinels.map(({ host, port }) => ({ host, port })),
    name: config.masterName ?? 'mymaster',
    sentinelRetryStrategy: retryDelayMs,
    ...(username !== undefined && { sentinelUsername: username }),
    ...(password !== undefined && { sentinelPassword: password }),
    ...(endpoint.isTls && { enableTLSForSentinelMode: true, sentinelTLS: tlsOptions(config, endpoint).tls ?? {} }),
  }
}

function credentials(config: RedisConfig): { username?: string; password?: string } {
  const endpoint = endpointOf(config)
  const username = config.username ?? endpoint.username
  const password = config.password ?? endpoint.password
  return { ...(username !== undefined && { username }), ...(password !== undefined && { password }) }
}

function tlsOptions(config: RedisConfig, endpoint: Endpoint): { tls?: ConnectionOptions } {
  if (!endpoint.isTls) return {}
  const { ca, cert, key, serverName } = config.tls ?? {}
  return {
    tls: {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(serverName !== undefined && { servername: serverName }),
    },
  }
}

function endpointOf(config: RedisConfig): Endpoint {
  const hasTls = config.tls !== undefined
  if (config.url === undefined) return { isTls: hasTls }
  if (config.url.startsWith('/')) return { path: config.url, isTls: false }
  const url = new URL(config.url)
  if (url.protocol === 'unix:') return { path: decodeURIComponent(url.pathname), isTls: false }
  const db = Number.parseInt(url.pathname.slice(1), 10)
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    ...(url.port && { port: Number(url.port) }),
    ...(db > 0 && { db }),
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
    isTls: hasTls || url.protocol === 'rediss:',
  }
}

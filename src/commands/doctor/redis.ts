/** The session store as it is run: reachable, writable, master, not evicting, not full, persistent. */
import { randomBytes } from 'node:crypto'
import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import type { Config, RedisConfig } from '../../config/schema.ts'
import { connectData, connectSubscriber, isInClear } from '../../session/redis-client.ts'
import type { RedisClient } from '../../session/redis-client.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'
import { reach, speaksTls } from './reach.ts'

const READY_MS = 3_000
const OLDEST = 6
/** Of its memory; a Redis that evicts nothing refuses writes when it is full. */
const NEARLY_FULL = 0.85

const ADVICE = {
  authority: 'put the certificate of its authority into store.redis.tls.caFile',
  serverName: 'store.redis.tls.serverName',
}

/** Looks at Redis with the gateway's own settings. */
export async function examineRedis(config: Config, redis: RedisConfig): Promise<Finding[]> {
  const findings = new Findings('redis')
  if (isInClear(redis)) {
    findings.warn(
      'sessions travel to Redis without TLS',
      'write rediss://, or make sure that nobody else is on that network',
    )
  }
  const urls = addressesOf(redis)
  for (const url of urls) {
    const isThere = await reach(url, findings, ADVICE, redis.tls)
    // Of several nodes one is enough to go on.
    if (!isThere && urls.length === 1) return findings.list
  }
  const client = connectData(redis)
  let lastError = 'no connection'
  client.on('error', (error: Error) => (lastError = firstWord(error.message)))
  try {
    if (await becomesReady(client)) await examine(client, config, redis, findings)
    else await explainRefusal(lastError, urls[0], findings)
  } finally {
    client.disconnect()
  }
  return findings.list
}

/** Every server that the configuration names; a unix socket has no address. */
function addressesOf({ url, sentinels, cluster, tls }: RedisConfig): URL[] {
  const nodes = sentinels ?? cluster
  if (nodes)
    return nodes.map(
      ({ host, port }) => new URL(`${tls ? 'rediss' : 'redis'}://${host.includes(':') ? `[${host}]` : host}:${port}`),
    )
  const single = url === undefined || /^(\/|unix:)/.test(url) ? null : URL.parse(url)
  return single ? [single] : []
}

function becomesReady(client: RedisClient): Promise<boolean> {
  if (client.status === 'ready') return Promise.resolve(true)
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), READY_MS)
  client.once('ready', () => resolve(true))
  // It would try again and again; a refusal stays one.
  client.on('error', (error: Error) => {
    if (/WRONGPASS|NOAUTH|NOPERM/.test(error.message)) resolve(false)
  })
  return promise.finally(() => clearTimeout(timer))
}

async function explainRefusal(reason: string, url: URL | undefined, findings: Findings): Promise<void> {
  if (/WRONGPASS|NOAUTH|invalid password/i.test(reason)) {
    findings.fail(
      `Redis refuses the password (${reason})`,
      'correct store.redis.passwordFile, and username if an ACL user is meant',
    )
  } else if (/NOPERM/.test(reason)) {
    findings.fail('the ACL user may not connect as it has to', 'allow the user +@connection +info')
  } else if (url?.protocol === 'redis:' && (await speaksTls(url))) {
    findings.fail(`${url.host} speaks TLS, and the gateway speaks to it in clear`, `write url: rediss://${url.host}`)
  } else {
    findings.fail(
      `Redis does not become ready (${reason})`,
      'check address, TLS and password; with sentinels, check masterName',
    )
  }
}

async function examine(client: RedisClient, config: Config, redis: RedisConfig, findings: Findings): Promise<void> {
  const node: Redis | undefined = client instanceof Cluster ? client.nodes('master')[0] : client
  const info = parsed((await node?.info().catch(() => '')) ?? '')
  const version = info.get('redis_version')
  const name = info.has('valkey_version')
    ? `Valkey ${info.get('valkey_version') ?? ''}`
    : `Redis ${version ?? '(version unknown)'}`
  if (version !== undefined && Number.parseInt(version, 10) < OLDEST)
    findings.fail(`${name} is too old`, 'run Redis 6 or newer, or Valkey')
  else findings.ok(`${name} answers`)
  if (info.get('role') === 'slave') {
    findings.fail(
      'this server is a replica: it takes no writes',
      `write the address of the master${info.has('master_host') ? ` (${info.get('master_host')}:${info.get('master_port')})` : ''}, or sentinels with masterName`,
    )
    return
  }
  if (info.get('cluster_enabled') === '1' && !(client instanceof Cluster)) {
    const { host, port } = client.options
    findings.fail(
      'this server is a node of a Redis Cluster: it sends most keys to its neighbours',
      `write cluster: [{ host: ${host}, port: ${port} }] in place of url`,
    )
    return
  }
  if (await probe(client, config, redis, findings)) {
    judgeMemory(info, findings)
    // An ACL may forbid CONFIG; INFO then has to do.
    const savePoints = (await node?.config('GET', 'save').then(String, () => '')) ?? ''
    judgePersistence(info, /\d/.test(savePoints), findings)
  }
}

/** Writes, reads and deletes as sessions do, by script, and hears events: what an ACL may forbid. */
async function probe(client: RedisClient, config: Config, redis: RedisConfig, findings: Findings): Promise<boolean> {
  const prefix = redis.prefix ?? `${config.name}:`
  const key = `${prefix}s:{doctor-${randomBytes(8).toString('hex')}}`
  const subscriber = connectSubscriber(redis, client)
  subscriber.on('error', () => {
    // Told by the command that fails.
  })
  try {
    await client.sgCreate(key, 1, 'doctor', 'probe', Date.now(), Date.now(), 10_000)
    await client.hget(key, 'v')
    await client.del(key)
    await client.zadd(`${prefix}u:{${key}}`, Date.now(), 'doctor')
    await client.del(`${prefix}u:{${key}}`)
    await client.publish(`${prefix}events`, '')
    await subscriber.subscribe(`${prefix}events`)
    findings.ok(`keys below ${prefix} can be written, read and deleted, and events heard`)
    return true
  } catch (error) {
    explainFailedProbe(error instanceof Error ? error.message : '', { prefix, user: userOf(redis) }, findings)
    return false
  } finally {
    subscriber.disconnect()
  }
}

function userOf({ username, url }: RedisConfig): string {
  const named = username ?? URL.parse(url ?? '')?.username
  return named === undefined || named === '' ? 'default' : decodeURIComponent(named)
}

function explainFailedProbe(
  reason: string,
  { prefix, user }: { prefix: string; user: string },
  findings: Findings,
): void {
  if (reason.includes('NOPERM')) {
    findings.fail(
      `the ACL user may not do what sessions need with keys and channel below ${prefix}`,
      `give the gateway a user of its own: redis-cli ACL SETUSER ${user} resetkeys ~${prefix}* resetchannels &${prefix}* +@all -@dangerous +info, and the same in its ACL file`,
    )
  } else if (reason.includes('OOM')) {
    findings.fail(
      'Redis is full: it takes no new session',
      'redis-cli CONFIG SET maxmemory 256mb, or what it needs, and the same in redis.conf',
    )
  } else if (reason.includes('MISCONF')) {
    findings.fail(
      'Redis takes no writes, since it cannot save to its disk',
      'see the log of Redis for the reason (a full disk, rights); redis-cli CONFIG SET stop-writes-on-bgsave-error no lets it go on meanwhile',
    )
  } else if (reason.includes('NOREPLICAS')) {
    findings.fail(
      'Redis takes no writes, since too few replicas follow',
      'start the replicas, or redis-cli CONFIG SET min-replicas-to-write 0',
    )
  } else findings.fail(`a test key cannot be written (${firstWord(reason)})`, 'see the log of Redis')
}

function judgeMemory(info: ReadonlyMap<string, string>, findings: Findings): void {
  const policy = info.get('maxmemory_policy') ?? ''
  const most = Number(info.get('maxmemory') ?? '0')
  if (policy !== '' && policy !== 'noeviction' && most > 0) {
    findings.fail(
      `with maxmemory-policy ${policy} Redis throws sessions away when memory is short: users are signed out at random`,
      'redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf',
    )
    return
  }
  const used = Number(info.get('used_memory') ?? '0')
  if (most > 0 && used > NEARLY_FULL * most) {
    findings.warn(
      `Redis is nearly full (${Math.round((100 * used) / most)} % of maxmemory): then it takes no new session`,
      `give it more memory: redis-cli CONFIG SET maxmemory ${2 * Math.ceil(most / 1_048_576)}mb, and the same in redis.conf`,
    )
  } else findings.ok('no session is evicted')
}

function judgePersistence(info: ReadonlyMap<string, string>, hasSavePoints: boolean, findings: Findings): void {
  const replicas = Number(info.get('connected_slaves') ?? '0')
  if (info.get('aof_enabled') === '1' || replicas > 0 || hasSavePoints) {
    findings.ok('a restart of Redis keeps the sessions')
  } else {
    findings.warn(
      'Redis may persist nothing: a restart would sign everybody out',
      'redis-cli CONFIG SET appendonly yes, and the same in redis.conf; or run a replica',
    )
  }
}

function parsed(info: string): Map<string, string> {
  const lines = info.split(/\r?\n/).filter((line) => line.includes(':'))
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}

/** The code of a Redis error; the rest may hold names. */
function firstWord(message: string): string {
  return /^[A-Z]{4,}/.exec(message)?.[0] ?? /E[A-Z]{4,}/.exec(message)?.[0] ?? 'connection failed'
}

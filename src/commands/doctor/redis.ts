/** The session store as it is run: reachable, writable, master, not evicting, persistent. */
import { randomBytes } from 'node:crypto'
import type { Config, RedisConfig } from '../../config/schema.ts'
import { connectData, isInClear } from '../../session/redis-client.ts'
import type { RedisClient } from '../../session/redis-client.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'
import { reach } from './reach.ts'

const READY_MS = 3_000
const OLDEST = 6

/** Looks at Redis with the gateway's own settings. */
export async function examineRedis(config: Config, redis: RedisConfig): Promise<Finding[]> {
  const findings = new Findings('redis')
  if (isInClear(redis)) {
    findings.warn(
      'sessions travel to Redis without TLS',
      'write rediss://, or make sure that nobody else is on that network',
    )
  }
  const url = redis.url === undefined || /^(\/|unix:)/.test(redis.url) ? null : URL.parse(redis.url)
  const ca = 'put the certificate of its authority into store.redis.tls.caFile'
  if (url && !(await reach(url, findings, ca, redis.tls))) return findings.list

  const client = connectData(redis)
  let lastError = 'no connection'
  client.on('error', (error: Error) => (lastError = firstWord(error.message)))
  try {
    if (await becomesReady(client)) await examine(client, config, redis, findings)
    else explainRefusal(lastError, findings)
  } finally {
    client.disconnect()
  }
  return findings.list
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

function explainRefusal(reason: string, findings: Findings): void {
  if (/WRONGPASS|NOAUTH|invalid password/i.test(reason)) {
    findings.fail(
      `Redis refuses the password (${reason})`,
      'correct store.redis.passwordFile, and username if an ACL user is meant',
    )
  } else if (/NOPERM/.test(reason)) {
    findings.fail('the ACL user may not connect as it has to', 'allow the user +@connection +info')
  } else {
    findings.fail(
      `Redis does not become ready (${reason})`,
      'check address, TLS and password; with sentinels, check masterName',
    )
  }
}

async function examine(client: RedisClient, config: Config, redis: RedisConfig, findings: Findings): Promise<void> {
  const info = parsed(await client.info().catch(() => ''))
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
      'write the address of the master, or sentinels with masterName',
    )
    return
  }
  await probe(client, redis.prefix ?? `${config.name}:`, findings)
  judgeMemory(info.get('maxmemory_policy') ?? '', info.get('maxmemory') ?? '0', findings)
  // An ACL may forbid CONFIG; INFO then has to do.
  const savePoints = await client.config('GET', 'save').then(String, () => '')
  judgePersistence(info, /\d/.test(savePoints), findings)
}

/** Writes, reads and deletes as sessions do, and publishes as events do: what an ACL may forbid. */
async function probe(client: RedisClient, prefix: string, findings: Findings): Promise<void> {
  const key = `${prefix}s:{doctor-${randomBytes(8).toString('hex')}}`
  try {
    await client.set(key, 'probe', 'PX', 10_000)
    await client.get(key)
    await client.del(key)
    await client.publish(`${prefix}events`, '')
    findings.ok(`keys below ${prefix} can be written, read and deleted`)
  } catch (error) {
    const reason = error instanceof Error ? error.message : ''
    if (reason.startsWith('NOPERM')) {
      findings.fail(
        `the ACL user may not use keys below ${prefix}`,
        `allow it: ACL SETUSER … ~${prefix}* &${prefix}* +@all -@dangerous +info`,
      )
    } else if (reason.startsWith('OOM')) {
      findings.fail('Redis is full', 'give it more memory (maxmemory)')
    } else findings.fail(`a test key cannot be written (${firstWord(reason)})`, 'see the log of Redis')
  }
}

function judgeMemory(policy: string, maxmemory: string, findings: Findings): void {
  if (policy === '' || policy === 'noeviction' || maxmemory === '0') {
    findings.ok('no session is evicted')
    return
  }
  findings.fail(
    `with maxmemory-policy ${policy} Redis throws sessions away when memory is short: users are signed out at random`,
    'redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf',
  )
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

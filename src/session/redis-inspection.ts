/** A look at the server's settings, for what would cost sessions or show them. */
import { Cluster, type Redis } from 'ioredis'
import type { RedisConfig } from '../config/schema.ts'
import { isInClear, type RedisClient } from './redis-client.ts'

/** Warnings in whole sentences; what cannot be told (managed servers, limited users) is no warning. */
export async function inspectRedis(client: RedisClient, config: RedisConfig): Promise<string[]> {
  const found: string[] = []
  if (isInClear(config)) found.push('the connection to Redis leaves this machine without TLS')
  const node = client instanceof Cluster ? client.nodes('master')[0] : client
  if (!node) return found
  const policy = (await setting(node, 'maxmemory-policy')) ?? (await info(node, 'memory', 'maxmemory_policy'))
  if (policy !== undefined && policy !== 'noeviction') {
    found.push(`Redis may evict sessions: maxmemory-policy is ${policy}, and should be noeviction`)
  }
  const appendsOnly = await setting(node, 'appendonly')
  const saves = await setting(node, 'save')
  if (appendsOnly === 'no' && saves === '') {
    found.push('Redis persists nothing: a restart ends all sessions (set appendonly yes)')
  }
  return found
}

async function setting(node: Redis, name: 'maxmemory-policy' | 'appendonly' | 'save'): Promise<string | undefined> {
  try {
    const [, value] = await node.config('GET', name)
    return value
  } catch {
    return undefined // managed servers and limited users have no CONFIG
  }
}

async function info(node: Redis, section: string, field: string): Promise<string | undefined> {
  try {
    return new RegExp(`^${field}:(.*?)\r?$`, 'm').exec(await node.info(section))?.[1]
  } catch {
    return undefined // nor INFO
  }
}

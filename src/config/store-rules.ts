/** What the keys of the session store and of the key ring mean to each other. */
import { checkPair } from './rules.ts'
import type { Report } from './problem.ts'
import type { ConfigValues } from './shape.ts'

const KEY = /^[A-Za-z0-9_-]{43}$/

/** Redis and the keys that seal what is stored there. */
export function checkStore(config: ConfigValues, report: Report): void {
  checkKeys(config, report)
  checkRedis(config, report)
}

function checkKeys(config: ConfigValues, report: Report): void {
  const { keys, keysFile } = config.session
  if (config.store.redis && keys === undefined && keysFile === undefined) {
    report(
      ['session', 'keys'],
      'is missing: with Redis every instance needs the same keys; write keysFile, and make a key with `sidegate keygen`',
    )
  }
  const seen = new Set<string>()
  for (const [index, key] of (keys ?? []).entries()) {
    // 43 characters hold 258 bits: the last character's two low bits must be zero, or two spellings were one key.
    if (!KEY.test(key) || Buffer.from(key, 'base64url').toString('base64url') !== key) {
      report(
        ['session', 'keys', index],
        'is not 32 bytes of base64url (43 characters): make one with `sidegate keygen`',
      )
    } else if (seen.has(key)) {
      report(['session', 'keys', index], 'is there twice: each key once, the one that seals first')
    }
    seen.add(key)
  }
}

function checkRedis(config: ConfigValues, report: Report): void {
  const { redis } = config.store
  if (!redis) return
  const at = (...rest: string[]) => ['store', 'redis', ...rest]
  const given = [redis.url ?? redis.urlFile, redis.sentinels, redis.cluster].filter(
    (value) => value !== undefined,
  ).length
  if (given === 0) report(at('url'), 'is missing: write url, or sentinels with masterName, or cluster')
  if (given > 1) report(at(), 'has more than one of url, sentinels and cluster: write exactly one')
  if (redis.sentinels && redis.masterName === undefined)
    report(at('masterName'), 'is missing: Sentinels are asked for a master by its name')
  if (redis.masterName !== undefined && !redis.sentinels)
    report(at('masterName'), 'is for sentinels only: remove it, or write sentinels')
  checkPair(redis.tls, at('tls'), report)
  if (redis.url === undefined) return

  // A unix socket: nothing of a host to judge.
  if (redis.url.startsWith('/') || redis.url.startsWith('unix:///')) return
  const url = URL.parse(redis.url)
  if (!url || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '') {
    report(at('url'), 'expected an address such as rediss://redis:6379/0')
    return
  }
  if (url.password !== '' && (redis.password ?? redis.passwordFile) !== undefined) {
    report(at('password'), 'is in url already: write it once')
  }
  if (url.username !== '' && redis.username !== undefined) report(at('username'), 'is in url already: write it once')
  if (redis.tls && url.protocol === 'redis:')
    report(at('url'), 'begins with redis://, which is without TLS, while tls is configured: write rediss://')
  if (!/^\/?\d{0,5}$/.test(url.pathname))
    report(at('url'), 'expected the number of a database after the host, or nothing')
}

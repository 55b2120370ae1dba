/** What of a changed configuration a running process can take over, and what holds until it starts anew. */
import { isRecord } from './explain.ts'
import type { Config, RedisConfig } from './schema.ts'

export interface TakenOver {
  /** The changed configuration, with the old value wherever that cannot change. */
  readonly config: Config
  /** The keys that were changed to no effect, such as `listen.port`. Never a value. */
  readonly kept: readonly string[]
}

/**
 * Fixed is what sockets, the store and cookies hang on: where something listens, where sessions are kept, what the
 * browser knows the gateway by; and what is made once for the whole process.
 */
export function takeOver(running: Config, changed: Config): TakenOver {
  const { listen, admin, session } = running
  const config: Config = {
    ...changed,
    name: running.name,
    publicUrl: running.publicUrl,
    basePath: running.basePath,
    // Certificates change; whether there is TLS at all does not.
    listen: { ...listen, tls: listen.tls && (changed.listen.tls ?? listen.tls) },
    management: running.management,
    admin: admin && { ...admin, token: changed.admin?.token ?? admin.token },
    forwardAuth: running.forwardAuth,
    log: { ...running.log, level: changed.log.level },
    session: {
      ...changed.session,
      // From random keys to configured ones: what is there could not be opened any more.
      keys: session.keys && (changed.session.keys ?? session.keys),
      outageGrace: session.outageGrace,
      cache: session.cache,
      cookie: { ...changed.session.cookie, insecure: session.cookie.insecure },
    },
    store: { redis: redisOf(running.store.redis, changed.store.redis) },
  }
  return { config, kept: differences(changed, config) }
}

/** The same Redis with whatever credentials it now takes, which the next connection uses; never another Redis. */
function redisOf(running: RedisConfig | undefined, changed: RedisConfig | undefined): RedisConfig | undefined {
  if (!running || !changed) return running
  return differences(withoutCredentials(running), withoutCredentials(changed)).length === 0 ? changed : running
}

function withoutCredentials(redis: RedisConfig): object {
  const { url, urlFile: _, username: _user, password: _password, passwordFile: _file, tls, ...place } = redis
  return { ...place, url: url?.replace(/^([a-z]+:\/\/)[^/@]*@/, '$1'), hasTls: tls !== undefined }
}

/** The keys under which two configurations differ, as an operator writes them. */
export function differences(one: unknown, other: unknown, path: readonly string[] = []): string[] {
  if (!isRecord(one) || !isRecord(other)) return JSON.stringify(one) === JSON.stringify(other) ? [] : [path.join('.')]
  const keys = new Set([...Object.keys(one), ...Object.keys(other)])
  return [...keys].flatMap((key) => differences(one[key], other[key], [...path, key]))
}

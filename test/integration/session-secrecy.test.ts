import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { startRedis } from '../support/redis.ts'
import { managerWorld, Recorder, redisConfig, REQUEST, untilInStep } from '../support/sessions.ts'

/** A text in every form in which it might lie about. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const hash = createHash('sha256').update(secret).digest()
  const unpadded = (text: string) => text.replace(/=+$/, '').slice(0, -1) // the last character depends on what follows
  return [
    secret,
    encodeURIComponent(secret),
    bytes.toString('hex'),
    // base64 of a text in the middle of others has one of three alignments.
    ...[0, 1, 2].map((shift) =>
      unpadded(Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')).slice(shift && 4),
    ),
    ...[0, 1, 2].map((shift) =>
      unpadded(Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64url')).slice(shift && 4),
    ),
    hash.toString('hex'),
    hash.toString('base64'),
    hash.toString('base64url'),
    hash.toString('latin1'),
  ]
}

test('neither the dump of Redis nor what went over the wire nor the log holds a token, cookie, subject or address (TK-09, TK-10, R70)', async () => {
  const redis = await startRedis({ args: ['--rdbcompression', 'no'] })
  const log = new Recorder()
  const key = KeyRing.generateKey()
  const store = new RedisStore({ config: redisConfig({ url: redis.url }), name: 'sidegate', log })
  const keyRing = new KeyRing([key])
  const world = managerWorld({ store, keyRing, clock: Object.assign(Date.now, { advance: () => {} }) })
  const { manager, provider } = world
  const operator = new Redis(redis.url)
  const monitor = await operator.monitor()
  const seen: string[] = []
  monitor.on('monitor', (_time: string, args: string[]) => seen.push(args.join(' ')))
  onTestFinished(async () => {
    monitor.disconnect()
    operator.disconnect()
    await manager.close()
    await store.close()
    await redis.stop()
  })
  await untilInStep(store)

  const person = {
    sub: 'auth0|alice-0815',
    email: 'alice.liddell@example.com',
    sid: 'provider-session-4711',
    name: 'Alice Liddell',
  }
  const login = async () => {
    const result = { ...provider.login(), claims: { iss: provider.issuer, ...person } }
    const tokens = {
      ...result.tokens,
      accessToken: `at-${'x'.repeat(40)}`,
      refreshToken: `rt-${'y'.repeat(40)}`,
      idToken: `it-${'z'.repeat(40)}`,
    }
    return manager.create({ provider: 'default', result: { ...result, tokens }, userAgent: 'Firefox of Alice' })
  }
  const [kept, ended] = [await login(), await login()]
  const before = kept.session.tokens
  const refreshed = await manager.refreshNow(kept.cookieValue)
  await manager.resolve(kept.cookieValue, REQUEST)
  await manager.list(kept.session)
  await manager.end(ended.cookieValue, 'logout')
  await operator.save()
  const [, directory] = await operator.config('GET', 'dir')
  const dump = await readFile(join(directory ?? '', 'dump.rdb'), 'latin1')
  monitor.disconnect()
  await once(monitor, 'end')

  // It is the right dump, and the wire was really listened to.
  expect(dump).toContain(kept.session.ref)
  expect(seen.join('\n')).toContain(`sidegate:s:{${kept.session.ref}}`)
  const secrets = [
    ...Object.values(person),
    'Firefox of Alice',
    ...[before, refreshed.tokens].flatMap(({ accessToken, refreshToken, idToken }) => [
      accessToken,
      refreshToken ?? '',
      idToken ?? '',
    ]),
    key,
  ]
  const cookies = [kept.cookieValue, ended.cookieValue]
  // A cookie's SHA-256 is its ref by contract: that yields no cookie. Every other form of it must be absent.
  const forms = [
    ...secrets.flatMap(formsOf),
    ...cookies.flatMap((cookie) => formsOf(cookie).slice(0, 9)),
    ...[key, ...cookies].map((text) => Buffer.from(text, 'base64url').toString('latin1')),
  ]
  const everything = { dump, wire: seen.join('\n'), log: JSON.stringify([...log.lines, ...world.log.lines]) }
  for (const [where, text] of Object.entries(everything)) {
    expect(
      forms.filter((form) => text.includes(form)),
      where,
    ).toEqual([])
  }

  // Nor do dump and key ring together open what only the cookie opens.
  const stored = await store.get(kept.session.ref)
  expect(stored && keyRing.openSession(kept.session.ref, kept.session.ref, stored)).toEqual({ failure: 'unreadable' })
  expect(stored && keyRing.openSession(kept.cookieValue, kept.session.ref, stored)).toHaveProperty('json')
})

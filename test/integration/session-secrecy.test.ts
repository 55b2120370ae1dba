import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { startRedis } from '../support/redis.ts'
import { startScriptedWorld } from '../support/scripted-world.ts'
import { managerWorld, Recorder, redisConfig, REQUEST, untilInStep } from '../support/sessions.ts'

/** A text in every form in which it might lie about; not those so short that anything might hold them by chance. */
function formsOf(secret: string): string[] {
  return allFormsOf(secret).filter((form) => form.length >= 8)
}

function allFormsOf(secret: string): string[] {
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
  // Before anybody else: a command that is told in one packet with the answer to MONITOR would confuse the client.
  const operator = new Redis(redis.url)
  const monitor = await operator.monitor()
  const log = new Recorder()
  const key = KeyRing.generateKey()
  const store = new RedisStore({ config: redisConfig({ url: redis.url }), name: 'sidegate', log })
  const keyRing = new KeyRing([key])
  const world = managerWorld({ store, keyRing, clock: Object.assign(Date.now, { advance: () => {} }) })
  const { manager, provider } = world
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
  // Long enough that no part of them is found by chance.
  const fresh = {
    accessToken: `at-${'u'.repeat(40)}`,
    refreshToken: `rt-${'v'.repeat(40)}`,
    idToken: `it-${'w'.repeat(40)}`,
  }
  provider.script.push(() => provider.succeed(fresh))
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

test('nor does a whole gateway leave there a code, verifier, state, way back, ticket, logout token or address (TK-09, TK-10, R70)', async () => {
  const redis = await startRedis({ args: ['--rdbcompression', 'no'] })
  const operator = new Redis(redis.url)
  const monitor = await operator.monitor()
  const scripted = await startScriptedWorld({
    provider: { scopes: ['openid', 'email', 'offline_access'] },
    config: {
      session: { keys: [KeyRing.generateKey()] },
      store: { redis: { url: redis.url } },
      rateLimits: { login: '20/min' },
    },
  })
  const { server, world } = scripted
  const wire: string[] = []
  monitor.on('monitor', (_time: string, args: string[]) => wire.push(args.join(' ')))
  onTestFinished(async () => {
    monitor.disconnect()
    operator.disconnect()
    await scripted[Symbol.asyncDispose]()
    await redis.stop()
  })
  const issued: string[] = []
  server.tokenResponse = (body) => {
    for (const name of ['access_token', 'refresh_token', 'id_token']) issued.push(String(body[name]))
    return body
  }
  const person = { sub: 'auth0|alice-0815', email: 'alice.liddell@example.com', sid: 'provider-session-4711' }
  const { sub, ...claims } = person
  const returnTo = `/orders?customer=${'somebody-'.repeat(40)}`
  const addresses: URL[] = []

  const browser = world.browser()
  const tab = browser.newTab()
  await tab.navigate(`${scripted.url}/`)
  for (let login = 0; login < 2; login += 1) {
    const asked = await scripted.begin(tab, `?returnTo=${encodeURIComponent(returnTo)}`)
    addresses.push(asked, server.authorize(asked, { sub, claims }))
    await tab.navigate(addresses.at(-1) ?? '', { from: server.origin })
    await tab.fetch('/api/orders')
    await tab.fetch('/bff/session/refresh', { method: 'POST' })
    await tab.fetch('/bff/sessions')
    if (login === 0)
      addresses.push(new URL((await tab.fetch('/bff/logout', { method: 'POST' })).member('redirectUrl'), scripted.url))
  }
  const jti = 'the-id-of-a-logout-token'
  const logoutToken = await server.logoutToken({ sub, sid: person.sid, jti })
  const told = await fetch(`${scripted.url}/bff/backchannel-logout`, {
    method: 'POST',
    body: new URLSearchParams({ logout_token: logoutToken }),
  })
  expect(told.status).toBe(200)
  // Another one, which is never finished: its way back is still there.
  addresses.push(await scripted.begin(browser.newTab(), `?returnTo=${encodeURIComponent(returnTo)}`))
  await operator.save()
  const [, directory] = await operator.config('GET', 'dir')
  const dump = await readFile(join(directory ?? '', 'dump.rdb'), 'latin1')
  monitor.disconnect()
  await once(monitor, 'end')

  // Every kind of key was there: the search is of the right things.
  const kinds = new Set([...wire.join(' ').matchAll(/sidegate:([a-z]):\{/g)].map(([, kind]) => kind))
  expect(kinds).toEqual(new Set('cejlprstu'))
  expect(dump).toContain('sidegate:r:{')
  const named = ['state', 'nonce', 'code', 'code_challenge', 'ticket', 't']
  const secrets = [
    ...Object.values(person),
    ...issued,
    'somebody-somebody',
    jti,
    logoutToken,
    ...server.requests.flatMap(({ form }) => [form.get('code_verifier') ?? '', form.get('code') ?? '']),
    ...addresses.flatMap(({ searchParams }) => named.map((name) => searchParams.get(name) ?? '')),
    ...browser.jar.history.map(({ value }) => value),
  ].filter((secret) => secret.length >= 8)
  expect(secrets.length).toBeGreaterThan(30)
  // A session's ref is the hash of its cookie by contract, and yields no cookie.
  const sessions = browser.jar.history.filter(({ name }) => name === '__Host-Http-sidegate')
  const refs = new Set(sessions.map(({ value }) => createHash('sha256').update(value).digest('base64url')))
  const forms = secrets.flatMap(formsOf).filter((form) => !refs.has(form))
  for (const [where, text] of Object.entries({ dump, wire: wire.join('\n') })) {
    expect(
      forms.filter((form) => text.includes(form)),
      where,
    ).toEqual([])
  }
})

import { decodeJwt } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { startRedis } from '../support/redis.ts'
import { startWorld } from '../support/world.ts'

const ORDERS = 'urn:test:orders'

test('each route gets the token that it asks for, and a route whose token is refused gets none (TK-12, PX-16)', async () => {
  const world = await startWorld({
    provider: { resources: { [ORDERS]: 'orders.read orders.write' } },
    config: ({ upstream }) => ({
      provider: { scopes: ['openid', 'orders.read', 'orders.write'], resource: [ORDERS] },
      routes: [
        { path: '/api', upstream },
        { path: '/orders', upstream, token: { resource: ORDERS, scopes: ['orders.read'] } },
        { path: '/nowhere', upstream, token: { resource: 'urn:test:unknown' } },
        { path: '/public', upstream, token: 'none' },
        { path: '/', spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname }, session: 'none' },
      ],
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { tab } = await world.signedIn()
  const sent = () => world.upstream.last.headers.authorization?.replace('Bearer ', '')

  expect((await tab.fetch('/api/1')).status).toBe(200)
  const user = sent()
  expect((await tab.fetch('/orders/1')).status).toBe(200)
  const orders = sent()
  expect((await tab.fetch('/orders/2')).status).toBe(200)
  const again = sent()
  expect((await tab.fetch('/public/1')).status).toBe(200)
  expect(sent()).toBeUndefined()
  const asked = world.upstream.requests.length
  const refused = await tab.fetch('/nowhere/1')

  expect(orders).not.toBe(user)
  expect(again).toBe(orders)
  expect(decodeJwt(orders ?? '')).toMatchObject({ aud: ORDERS, scope: 'orders.read' })
  expect(decodeJwt(user ?? '')).toMatchObject({ aud: ORDERS, scope: 'orders.read orders.write' })
  expect([refused.status, refused.headers['sidegate-error']]).toEqual([503, 'provider_unavailable'])
  expect(world.upstream.requests).toHaveLength(asked)
  expect((await tab.fetch('/api/2')).status).toBe(200)
})

test('forty calls at once over four instances get the token of a route once; a refresh forgets it, and a logout takes it along (TK-12, RF-03)', async () => {
  await using redis = await startRedis()
  await using world = await startWorld({
    peers: 3,
    provider: { resources: { [ORDERS]: 'orders.read orders.write' } },
    config: ({ upstream }) => ({
      provider: { scopes: ['openid', 'orders.read', 'orders.write'], resource: [ORDERS] },
      session: { keys: [KeyRing.generateKey()] },
      store: { redis: { url: redis.url } },
      routes: [
        { path: '/orders', upstream, token: { resource: ORDERS, scopes: ['orders.read'] } },
        { path: '/', upstream, session: 'none' },
      ],
    }),
  })
  const { browser, tab } = await world.signedIn()
  const cookie = browser.jar.get('__Host-Http-sidegate')?.value ?? ''
  const grants = () => world.provider.count('refresh_token')
  const sent = () => world.upstream.requests.map(({ headers }) => headers.authorization).filter(Boolean)

  const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => tab.fetch(`/orders/${n}`)))

  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect([grants(), new Set(sent()).size, sent().length]).toEqual([1, 1, 40])

  expect((await tab.fetch('/bff/session/refresh', { method: 'POST' })).status).toBe(200)
  await Promise.all(Array.from({ length: 8 }, (_, n) => tab.fetch(`/orders/${n}`)))
  expect([grants(), new Set(sent()).size, sent().length]).toEqual([3, 2, 48])

  await tab.fetch('/bff/logout?local=true', { method: 'POST' })
  browser.jar.set(`__Host-Http-sidegate=${cookie}; Secure; HttpOnly; Path=/`, new URL(world.url), 'strict')
  const after = await Promise.all(Array.from({ length: 8 }, (_, n) => tab.fetch(`/orders/${n}`)))
  expect(new Set(after.map(({ status }) => status))).toEqual(new Set([401]))
  expect([grants(), sent().length]).toEqual([3, 48])
})

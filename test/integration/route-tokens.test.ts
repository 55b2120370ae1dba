import { decodeJwt } from 'jose'
import { expect, onTestFinished, test } from 'vitest'
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

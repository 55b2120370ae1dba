/** WebSockets and event streams of a whole gateway: opened with the session, ended with it, wherever that ends. */
import { once } from 'node:events'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { KeyRing } from '../../src/session/key-ring.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisServer } from '../support/redis.ts'
import { startWorld } from '../support/world.ts'
import type { World } from '../support/world.ts'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

/** Two gateways on one Redis, with a user signed in. */
async function start(name: string, session: object = {}) {
  const world = await startWorld({
    peers: 1,
    config: { name, session: { keys: [KeyRing.generateKey()], ...session }, store: { redis: { url: redis.url } } },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { browser, tab } = await world.signedIn()
  return { world, tab, cookie: browser.jar.header(new URL(world.url), 'strict') ?? '' }
}

/** A browser's WebSocket to one of the gateways. */
function open({ url, instances }: World, instance: number, headers: Record<string, string>): WebSocket {
  const address = instances[instance]?.address.replace('http:', 'ws:') ?? ''
  const socket = new WebSocket(`${address}/api/live`, { headers: { origin: url, ...headers } })
  socket.on('error', () => {}) // what becomes of a refused one is looked at by the tests
  onTestFinished(() => socket.terminate())
  return socket
}

test('a logout at one instance closes the WebSockets of every instance with 4401 (PX-19, CS-08)', async () => {
  const { world, tab, cookie } = await start('ws-logout')
  const sockets = [open(world, 0, { cookie }), open(world, 1, { cookie })]
  await Promise.all(sockets.map((socket) => once(socket, 'open')))
  const closes = Promise.all(sockets.map((socket) => once(socket, 'close')))

  const answer = await tab.fetch(`${world.url}/bff/logout?local=true`, { method: 'POST' })

  expect(answer.status).toBe(204)
  expect((await closes).map(([code]) => code)).toEqual([4401, 4401])
  expect(await world.metric('sidegate_open_streams{kind="websocket"}')).toBe(0)
})

test('a session that grows idle closes its WebSocket, whose bytes do not keep it alive (PX-19)', async () => {
  const { world, cookie } = await start('ws-idle', { idleTimeout: '2s' })
  const socket = open(world, 0, { cookie })
  await once(socket, 'open')
  const talk = setInterval(() => socket.send('still here'), 100)
  onTestFinished(() => clearInterval(talk))

  const [code] = await once(socket, 'close')

  expect(code).toBe(4401)
})

test.each([
  ['without a session', 401, {}],
  ['with a session of nobody', 401, { cookie: `__Host-Http-ws-refused=${'A'.repeat(43)}` }],
])('a handshake %s is a %i, and no upstream is asked (PX-12)', async (_, status, headers) => {
  const { world } = await start('ws-refused')
  const before = world.upstream.requests.length

  const [, response] = await once(open(world, 0, headers), 'unexpected-response')

  expect((response as { statusCode: number }).statusCode).toBe(status)
  expect(world.upstream.requests).toHaveLength(before)
})

test('a handshake from another site is refused although it carries the cookie, and no upstream is asked (CS-08)', async () => {
  const { world, cookie } = await start('ws-foreign')
  const before = world.upstream.requests.length

  const [, response] = await once(open(world, 0, { cookie, origin: 'https://evil.example' }), 'unexpected-response')

  expect((response as { statusCode: number }).statusCode).toBe(403)
  expect(world.upstream.requests).toHaveLength(before)
})

test('a proxied event stream ends when its session does, on whatever instance (PX-19)', async () => {
  const { world, tab, cookie } = await start('sse-logout')
  world.upstream.respond = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: 1\n\n')
  }
  const answer = await fetch(`${world.instances[1]?.address}/api/events`, {
    headers: { cookie, 'sec-fetch-site': 'same-origin' },
  })
  const reader = answer.body!.getReader()
  await reader.read()

  await tab.fetch(`${world.url}/bff/logout?local=true`, { method: 'POST' })

  expect((await reader.read()).done).toBe(true)
})

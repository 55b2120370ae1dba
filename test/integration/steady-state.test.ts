/** What a request may cost, counted and not timed: work that the hot path must not do comes back unnoticed otherwise. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Pool } from 'undici'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startWorld, type World } from '../support/world.ts'

const CONNECTIONS = 8

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void // the function that the flag brings

let redis: RedisServer

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

interface Steady {
  readonly world: World
  readonly opened: { readonly count: number }
  /** Makes so many calls with the session, a few at a time; each must be answered 200. */
  readonly call: (count: number) => Promise<void>
}

let steady: Steady

beforeEach(async () => {
  const open = vi.spyOn(KeyRing.prototype, 'openSession')
  onTestFinished(() => open.mockRestore())
  steady = await start({}, open)
})

async function start(session: object, open: { mock: { calls: unknown[] } }): Promise<Steady> {
  const world = await startWorld({
    config: { store: { redis: { url: redis.url } }, session: { keys: [KeyRing.generateKey()], ...session } },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { browser } = await world.signedIn()
  const cookie = browser.jar.header(new URL(`${world.url}/api/x`), 'strict') ?? ''
  const pool = new Pool(world.gateway.address, { connections: CONNECTIONS })
  onTestFinished(() => pool.destroy())
  const headers = { host: new URL(world.url).host, cookie, 'sec-fetch-site': 'same-origin' }
  const one = async (): Promise<void> => {
    const { statusCode, body } = await pool.request({ path: '/api/x', method: 'GET', headers })
    await body.dump()
    if (statusCode !== 200) throw new Error(`a call was answered ${statusCode}`)
  }
  const call = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= CONNECTIONS) {
      await Promise.all(Array.from({ length: Math.min(left, CONNECTIONS) }, one))
    }
    world.upstream.requests.length = 0
  }
  // What is made once is made: connections, the cached session, code that the engine compiles late.
  await call(200)
  return {
    world,
    opened: {
      get count() {
        return open.mock.calls.length
      },
    },
    call,
  }
}

const reads = (world: World): Promise<number> => world.metric('sidegate_store_duration_seconds_count{operation="get"}')

const lookUps = (world: World, outcome: string): Promise<number> =>
  world.metric(`sidegate_session_cache_total{outcome="${outcome}"}`)

test('a call with a cached session reads nothing from the store and opens nothing', async () => {
  const { world, opened, call } = steady
  const outcomes = ['hit', 'miss', 'bypass']
  const counts = async () => ({
    reads: await reads(world),
    opened: opened.count,
    lookUps: await Promise.all(outcomes.map((outcome) => lookUps(world, outcome))),
  })
  const before = await counts()

  await call(400)

  const after = await counts()
  const [hits = 0, misses = 0, bypassed = 0] = after.lookUps.map((count, at) => count - (before.lookUps[at] ?? 0))
  expect(hits + misses + bypassed).toBe(400)
  // On a machine that stands still for a second the cache is in doubt, and once it is trusted again what it held is read anew.
  expect(after.reads - before.reads).toBeLessThanOrEqual(misses + bypassed)
  expect(after.opened - before.opened).toBeLessThanOrEqual(misses + bypassed)
  expect(misses).toBeLessThanOrEqual(bypassed === 0 ? 0 : CONNECTIONS)
  expect(hits).toBeGreaterThan(0)
})

test('without the cache, calls one after the other cost one read and one opening each', async () => {
  const open = vi.spyOn(KeyRing.prototype, 'openSession')
  onTestFinished(() => open.mockRestore())
  const { world, call } = await start({ cache: { maxEntries: 0 } }, open)
  const [readsBefore, openedBefore] = [await reads(world), open.mock.calls.length]

  for (let turn = 0; turn < 50; turn += 1) await call(1)

  expect(await reads(world)).toBe(readsBefore + 50)
  expect(open.mock.calls.length).toBe(openedBefore + 50)
})

test('calls leave no timer and no listener behind', async () => {
  const { world, call } = steady
  const sockets = new Set<Socket>()
  const port = Number(new URL(world.gateway.address).port)
  const watch = (message: unknown): void => {
    const { socket } = message as { socket: Socket } // as Node documents this channel
    if (socket.localPort === port) sockets.add(socket)
  }
  subscribe('http.server.request.start', watch)
  onTestFinished(() => void unsubscribe('http.server.request.start', watch))
  await call(CONNECTIONS)
  const listeners = () =>
    [...sockets].map((socket) => socket.eventNames().reduce((sum, event) => sum + socket.listenerCount(event), 0))
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const [listenersBefore, timersBefore] = [listeners(), timers()]

  await call(400)

  expect(sockets.size).toBe(CONNECTIONS)
  expect(listeners()).toEqual(listenersBefore)
  // A timer of the machinery around (a flush, a tick) may just be due or not.
  expect(timers()).toBeLessThanOrEqual(timersBefore + 2)
})

test('an idle connection holds no request, whether that had a body or none', async () => {
  const { world } = steady
  const { browser } = await world.signedIn()
  const cookie = browser.jar.header(new URL(`${world.url}/api/x`), 'strict') ?? ''
  const { host, origin } = new URL(world.url)
  const fields = `Host: ${host}\r\nOrigin: ${origin}\r\nSec-Fetch-Site: same-origin\r\nCookie: ${cookie}\r\n`
  const heads = [`GET /api/x HTTP/1.1\r\n${fields}\r\n`, `POST /api/x HTTP/1.1\r\n${fields}Content-Length: 2\r\n\r\n{}`]
  const { port } = new URL(world.gateway.address)
  const requests: WeakRef<IncomingMessage>[] = []
  const watch = (message: unknown): void => {
    const { request, socket } = message as { request: IncomingMessage; socket: Socket } // as Node documents this channel
    if (socket.localPort === Number(port)) requests.push(new WeakRef(request))
  }
  subscribe('http.server.request.start', watch)
  onTestFinished(() => void unsubscribe('http.server.request.start', watch))

  for (let turn = 0; turn < 20; turn += 1) {
    const socket = connect(Number(port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write(heads[turn % 2] ?? '')
    const [answer] = (await once(socket, 'data')) as [Buffer] // of a socket without an encoding
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200/)
  }

  expect(requests.length).toBe(20)
  await vi.waitFor(() => {
    collect()
    // The engine may still have the last one at hand.
    expect(requests.filter((request) => request.deref()).length).toBeLessThanOrEqual(2)
  })
})

test('two thousand calls leave nothing in memory', async () => {
  const { call } = steady
  const used = (): number => {
    collect()
    return process.memoryUsage().heapUsed
  }
  // As many as are measured: what the engine makes once for so many is there.
  await call(2_000)
  const before = used()

  await call(2_000)

  // A hundred bytes for each call would be 200 kB: what the engine itself keeps is of that order.
  expect(used() - before).toBeLessThan(1_000_000)
})

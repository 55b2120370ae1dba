/** An event loop that is really late: the whole gateway, with its work blocked by something else in the process. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { fastify } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Config } from '../../src/config/schema.ts'
import { BffError } from '../../src/errors.ts'
import { registerErrorHandler } from '../../src/http/error-handler.ts'
import { FrontDoor } from '../../src/http/front-door.ts'
import { Pages } from '../../src/http/pages.ts'
import { SecurityHeaders } from '../../src/http/security-headers.ts'
import { ForwardAuth } from '../../src/routes/forward-auth.ts'
import type { ForwardAuthOptions } from '../../src/routes/forward-auth.ts'
import { startWorld, until } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { HeldUpstream } from '../support/held-upstream.ts'

/** Each turn of the loop takes so long from now on. */
function stall(ms: number): { readonly stop: () => void } {
  const timer = setInterval(() => {
    const until = performance.now() + ms
    while (performance.now() < until) continue
  })
  onTestFinished(() => clearInterval(timer))
  return { stop: () => clearInterval(timer) }
}

async function started(): Promise<{ world: World; upstream: HeldUpstream }> {
  const upstream = await HeldUpstream.start()
  const world = await startWorld({ config: { routes: [{ path: '/open', upstream: upstream.url, session: 'none' }] } })
  onTestFinished(async () => {
    upstream.close()
    await world[Symbol.asyncDispose]()
  })
  return { world, upstream }
}

test('a late event loop sheds new requests with 503, ends what it has begun, answers for its health, and recovers (R63)', async () => {
  const { world, upstream } = await started()
  const ask = () => fetch(`${world.gateway.address}/open/x`)
  // Fewer than these are never refused.
  const accepted = Array.from({ length: 64 }, ask)
  await upstream.arrived(64)

  const { stop } = stall(300)
  // Those that are taken wait for the upstream, which holds them; far fewer than it has places.
  const left = new AbortController()
  const refusals: Response[] = []
  await until(async () => {
    fetch(`${world.gateway.address}/open/y`, { signal: left.signal }).then(
      (answer) => answer.status === 503 && refusals.push(answer),
      () => {},
    )
    return refusals.length > 0
  })
  const [refused] = refusals
  expect(refused?.headers.get('sidegate-error')).toBe('overloaded')
  expect(refused?.headers.get('retry-after')).toBe('1')
  expect(await refused?.json()).toMatchObject({ status: 503, code: 'overloaded' })
  expect((await fetch(`${world.gateway.managementUrl}/healthz`)).status).toBe(200)
  expect((await fetch(`${world.gateway.managementUrl}/readyz`)).status).toBe(200)
  left.abort()
  upstream.release()
  for (const answer of await Promise.all(accepted)) expect(await answer.text()).toBe('done')

  stop()
  await until(async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, ask))
    return answers.every(({ status }) => status === 200)
  })
  await world.log.until(({ msg }) => msg === 'no longer overloaded: every request is taken')
  expect(world.log.lines().filter(({ msg }) => msg === 'overloaded: requests are refused')).toHaveLength(1)
}, 40_000)

describe('at the door, while nobody is taken', () => {
  const config = Config.parse({
    publicUrl: 'https://app.example',
    provider: { issuer: 'https://id.example', clientId: 'shop', clientSecret: 'secret' },
    cors: { origins: ['https://spa.app.example'] },
    routes: [{ path: '/', upstream: 'http://127.0.0.1:9' }],
  })
  const failures = {
    publicUrl: new URL(config.publicUrl),
    basePath: config.basePath,
    pages: new Pages(config),
    security: new SecurityHeaders(config),
  }

  async function closedDoor(isDraining = false): Promise<{ port: number; refused: number[]; sockets: Socket[] }> {
    const refused: number[] = []
    const sockets: Socket[] = []
    const door = new FrontDoor({
      overload: { admits: () => false },
      failures,
      corsOrigins: config.cors.origins,
      isDraining: () => isDraining,
      onRefused: (_raw, _requestId, status) => void refused.push(status),
    })
    const server = createServer((raw, response) => {
      if (door.lets(raw, response)) response.end('in')
    }).listen(0, '127.0.0.1')
    server.on('connection', (socket) => sockets.push(socket))
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    return { port: (server.address() as AddressInfo).port, refused, sockets } // listens on TCP
  }

  test('the answer is a problem, and the connection stays (R63)', async () => {
    const { port, refused } = await closedDoor()

    const answer = await exchange(port, get('/api/x'))

    expect(statusOf(answer)).toBe(503)
    expect(valuesOf(answer, 'retry-after')).toEqual(['1'])
    expect(valuesOf(answer, 'sidegate-error')).toEqual(['overloaded'])
    expect(valuesOf(answer, 'cache-control')).toEqual(['no-store'])
    expect(valuesOf(answer, 'content-type')).toEqual(['application/problem+json'])
    expect(valuesOf(answer, 'connection')).toEqual(['keep-alive'])
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      status: 503,
      code: 'overloaded',
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    })
    expect(refused).toEqual([503])
  })

  test('who was refused and asks again at once is not read for a while, and then is (R63)', async () => {
    const { port, refused, sockets } = await closedDoor()
    using client = await RawClient.connect(port)
    await client.send(get('/api/1')).read(1)

    expect(sockets[0]?.isPaused()).toBe(true)
    const answers = await client.send(get('/api/2')).read(2)
    expect(answers.map(statusOf)).toEqual([503, 503])
    expect(refused).toEqual([503, 503])
  })

  test('so is one whose upstream has no place left', async () => {
    const sockets: Socket[] = []
    const app = fastify()
    onTestFinished(() => app.close())
    registerErrorHandler(app, failures)
    app.get('/full', () => {
      throw new BffError('overloaded', 'all places and the queue are taken')
    })
    app.get('/gone', () => {
      throw new BffError('upstream_unavailable')
    })
    app.server.on('connection', (socket) => sockets.push(socket))
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as AddressInfo // listens on TCP
    using full = await RawClient.connect(port)
    await full.send(get('/full')).read(1)
    using gone = await RawClient.connect(port)
    await gone.send(get('/gone')).read(1)

    expect(sockets.map((socket) => socket.isPaused())).toEqual([true, false])
  })

  test('a navigation gets a page, a HEAD no body, a listed origin may read it, and a drain closes', async () => {
    const { port } = await closedDoor(true)

    const page = await exchange(port, get('/a', 'Sec-Fetch-Mode: navigate', 'Accept: text/html'))
    const head = await exchange(port, get('/a').replace('GET', 'HEAD'), { isHead: true })
    const foreign = await exchange(port, get('/a', 'Origin: https://spa.app.example'))

    expect(valuesOf(page, 'content-type')).toEqual(['text/html; charset=utf-8'])
    expect(statusOf(head)).toBe(503)
    expect(head.body).toHaveLength(0)
    expect(valuesOf(foreign, 'access-control-allow-origin')).toEqual(['https://spa.app.example'])
    expect(valuesOf(page, 'connection')).toEqual(['close'])
  })

  test.each([
    ['framing', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['path', get('/a/../b'), 400],
    ['an authority that is not ours', get('http://evil.example/a'), 421],
  ])('%s is judged first', async (_, bytes, status) => {
    const { port } = await closedDoor()

    expect(statusOf(await exchange(port, bytes))).toBe(status)
  })

  test('a check of forward-auth is refused before it is judged (R63)', async () => {
    const forwardAuth = new ForwardAuth({ overload: { admits: () => false } } as ForwardAuthOptions) // needs no more

    const judged = forwardAuth.judge(Object.create(null) as never, { method: 'GET', target: '/', dialect: 'forwarded' })

    await expect(judged).rejects.toMatchObject({ code: 'overloaded', statusCode: 503, retryAfterSeconds: 1 })
  })
})

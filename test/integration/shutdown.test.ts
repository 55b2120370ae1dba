import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import { HeldUpstream } from '../support/held-upstream.ts'
import { startWorld, type World } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

async function start(upstream: HeldUpstream): Promise<World> {
  const world = await startWorld({
    config: {
      shutdown: { delay: '1500ms', grace: '5s' },
      routes: [{ path: '/api', upstream: upstream.url, session: 'none' }],
    },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

async function heldUpstream(): Promise<HeldUpstream> {
  const upstream = await HeldUpstream.start()
  onTestFinished(() => upstream.close())
  return upstream
}

/** A client that reads one answer from a raw connection, with its header fields. */
async function exchange(socket: Socket, path: string): Promise<string> {
  socket.write(`GET ${path} HTTP/1.1\r\nHost: app.example\r\n\r\n`)
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk)
    if (text.includes('\r\n0\r\n\r\n') || /content-length: (\d+)/i.test(text)) break
  }
  return text
}

async function connected(world: World): Promise<Socket> {
  const { hostname, port } = new URL(world.gateway.address)
  const socket = connect(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

test('while it drains everything is served, readiness says no, and every answer asks to connect anew (R21, CF-09)', async () => {
  const upstream = await heldUpstream()
  const world = await start(upstream)
  upstream.release()
  const before = await exchange(await connected(world), '/api/before')

  const drained = world.gateway.service.drain()
  const ready = await fetch(`${world.gateway.managementUrl}/readyz`)
  const during = await exchange(await connected(world), '/api/during')
  const endpoint = await exchange(await connected(world), '/bff/session')
  await drained

  expect(before).not.toMatch(/connection: close/i)
  expect([ready.status, await ready.json()]).toEqual([503, { status: 'unready', reasons: ['draining'] }])
  expect(during).toMatch(/^HTTP\/1\.1 200/)
  expect(during).toMatch(/connection: close/i)
  expect(endpoint).toMatch(/connection: close/i)
})

test('a hundred requests in flight are all answered before it stops (R21, CF-09)', async () => {
  const upstream = await heldUpstream()
  const world = await start(upstream)
  const answers = Array.from({ length: 100 }, (_, n) => fetch(`${world.url}/api/${n}`))
  await upstream.arrived(100)

  const drained = world.gateway.service.drain()
  await world.log.until(({ msg }) => msg === 'draining: still serving')
  upstream.release()
  const statuses = (await Promise.all(answers)).map(({ status }) => status)
  await drained

  expect(statuses).toEqual(Array(100).fill(200))
})

test('event streams end and WebSockets are closed with 1001, so that nothing keeps it from stopping (R22)', async () => {
  const upstream = await heldUpstream()
  const world = await startWorld({
    config: { routes: [{ path: '/api', upstream: upstream.url, session: 'required' }] },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { browser } = await world.signedIn()
  const cookie = `${SESSION}=${browser.jar.get(SESSION)?.value ?? ''}`
  const sockets = Array.from({ length: 10 }, () => {
    const socket = new WebSocket(`${world.gateway.address.replace('http', 'ws')}/api/socket`, {
      headers: { cookie, origin: world.url },
    })
    return { socket, closed: once(socket, 'close') }
  })
  await Promise.all(sockets.map(({ socket }) => once(socket, 'open')))
  const stream = await fetch(`${world.url}/bff/session/events`, {
    headers: { cookie, 'sec-fetch-site': 'same-origin' },
  })
  const told = stream.text()

  await world.gateway.service.stop()

  expect(await told).toContain('event: session')
  for (const { closed } of sockets) expect((await closed)[0]).toBe(1001)
})

test('a client that never ends its request does not keep it from stopping after the grace', async () => {
  const upstream = await heldUpstream()
  const world = await startWorld({
    config: {
      shutdown: { delay: '0s', grace: '200ms' },
      routes: [{ path: '/api', upstream: upstream.url, session: 'none' }],
    },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const hanging = fetch(`${world.url}/api/never`).catch((error: unknown) => error)
  await upstream.arrived(1)

  await world.gateway.service.stop()

  expect(await hanging).toBeInstanceOf(TypeError)
})

test('a WebSocket whose client reads nothing does not keep it from stopping after the grace (R22)', async () => {
  const upstream = await heldUpstream()
  const world = await startWorld({
    config: {
      shutdown: { delay: '0s', grace: '200ms' },
      routes: [{ path: '/api', upstream: upstream.url, session: 'none' }],
    },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const socket = await connected(world)
  const fields = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13'
  socket.write(`GET /api/socket HTTP/1.1\r\nHost: a\r\n${fields}\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`)
  const [head] = (await once(socket, 'data')) as [Buffer] // what a socket without encoding emits
  socket.pause()

  await world.gateway.service.stop()

  expect(String(head)).toMatch(/^HTTP\/1\.1 101 /)
  socket.resume()
  await once(socket, 'close')
})

test('stopping twice is stopping once (R25)', async () => {
  const upstream = await heldUpstream()
  const world = await start(upstream)

  await Promise.all([world.gateway.service.stop(), world.gateway.service.stop()])

  expect(world.log.lines().filter(({ msg }) => msg === 'stopped')).toHaveLength(1)
})

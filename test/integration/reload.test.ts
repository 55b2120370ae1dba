import { once } from 'node:events'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import type { Config } from '../../src/config/schema.ts'
import { HeldUpstream } from '../support/held-upstream.ts'
import { RecordingUpstream } from '../support/recording-upstream.ts'
import { startWorld, type World, type WorldOptions } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

async function start(config: NonNullable<WorldOptions['config']> = {}): Promise<World> {
  const world = await startWorld({ config })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

/** The routes of a configuration with its API elsewhere. */
function movedTo(config: Config, upstream: string): Config['routes'] {
  return config.routes.map((route) => (route.path === '/api' ? { ...route, upstream } : route))
}

function messages(world: World): unknown[] {
  return world.log.lines().map(({ msg }) => msg)
}

test('a request that has begun ends at the upstream of before, and the next goes to the new one', async () => {
  const held = await HeldUpstream.start()
  onTestFinished(() => held.close())
  const world = await start({ routes: [{ path: '/api', upstream: held.url, session: 'none' }] })
  const before = fetch(`${world.url}/api/before`)
  await held.arrived(1)

  await world.gateway.service.update({ ...world.config, routes: movedTo(world.config, world.upstream.url) })
  const after = await fetch(`${world.url}/api/after`)
  held.release()

  expect(await after.json()).toEqual({ method: 'GET', url: '/api/after' })
  expect(await (await before).text()).toBe('done')
})

test('a connection that is kept alive meets the new configuration with its next request', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  await tab.fetch('/api/one')

  await world.gateway.service.update({
    ...world.config,
    routes: world.config.routes.map((route) => ({ ...route, methods: ['POST'] })),
  })

  expect((await tab.fetch('/api/two')).status).toBe(405)
})

test('sessions, their WebSockets and event streams outlast the change, and still end with the session (R22)', async () => {
  const world = await start()
  const { browser, tab } = await world.signedIn()
  const cookie = `${SESSION}=${browser.jar.get(SESSION)?.value ?? ''}`
  const socket = new WebSocket(`${world.gateway.address.replace('http', 'ws')}/api/socket`, {
    headers: { cookie, origin: world.url },
  })
  await once(socket, 'open')
  const closed = once(socket, 'close')
  const stream = await fetch(`${world.url}/bff/session/events`, {
    headers: { cookie, 'sec-fetch-site': 'same-origin' },
  })
  const told = stream.text()
  const upstream = await RecordingUpstream.start()
  onTestFinished(() => upstream.close())

  await world.gateway.service.update({ ...world.config, routes: movedTo(world.config, upstream.url) })
  socket.send('still here')
  const [echo] = (await once(socket, 'message')) as [Buffer] // what a WebSocket emits
  await tab.fetch('/api/after')
  await tab.fetch('/bff/logout', { method: 'POST' })

  expect(echo.toString()).toBe('still here')
  expect(upstream.last.headers.authorization).toMatch(/^Bearer /)
  expect((await closed)[0]).toBe(4401)
  expect(await told).toContain('event: ended')
})

test('a new admin token is asked for at once, and the old one opens nothing any more (SC-13)', async () => {
  const [old, next] = ['an-admin-token-of-before-that-is-long', 'an-admin-token-of-after-that-is-long']
  const world = await start({ admin: { port: 0, token: old } })
  const ask = async (token: string) =>
    (await fetch(`${world.gateway.adminUrl}/sessions?sub=alice`, { headers: { authorization: `Bearer ${token}` } }))
      .status
  const before = [await ask(old), await ask(next)]

  await world.gateway.service.update({
    ...world.config,
    admin: world.config.admin && { ...world.config.admin, token: next },
  })

  expect([before, [await ask(old), await ask(next)]]).toEqual([
    [200, 401],
    [401, 200],
  ])
})

test('a shorter idle timeout counts for the sessions that there are', async () => {
  const world = await start()
  const { tab } = await world.signedIn()

  await world.gateway.service.update({
    ...world.config,
    session: { ...world.config.session, idleTimeout: 60_000 },
  })
  world.clock.advance(61_000)

  expect((await tab.fetch('/api/late')).status).toBe(401)
})

test('a provider more can be signed in at, and one less is not offered any more', async () => {
  const world = await start()
  const { provider, ...rest } = world.config
  if (!provider) throw new Error('the world has one provider')
  const login = (name: string) =>
    world.browser().newTab().navigate(`${world.url}/bff/login?provider=${name}`, { from: 'none', follow: false })

  await world.gateway.service.update({ ...rest, provider: undefined, providers: { staff: provider } })

  expect((await login('staff')).headers.location).toContain(provider.issuer)
  expect((await login('default')).status).toBe(400)
})

test('what cannot change while running keeps its value and is named in the log', async () => {
  const world = await start()

  await world.gateway.service.update({
    ...world.config,
    listen: { ...world.config.listen, port: 1 },
    routes: movedTo(world.config, 'http://127.0.0.1:1'),
  })

  const warned = world.log.lines().find(({ settings, level }) => Array.isArray(settings) && level === 'warn')
  expect(warned?.['settings']).toEqual(['listen.port'])
  expect((await fetch(`${world.url}/bff/session`)).status).toBe(200)
  expect(messages(world)).toContain('the changed configuration is in force')
})

test('what cannot be used leaves the old configuration in force as a whole, and the log says so', async () => {
  const world = await start()
  const { tab } = await world.signedIn()

  await world.gateway.service.update({
    ...world.config,
    session: { ...world.config.session, idleTimeout: 1_000 },
    provider: world.config.provider && { ...world.config.provider, issuer: 'https://elsewhere.example' },
    // No gateway can be built with two routes of one path.
    routes: [...world.config.routes, ...world.config.routes],
  })
  world.clock.advance(5_000)

  expect(messages(world)).toContain('the changed configuration cannot be used; the old one stays in force')
  expect((await tab.fetch('/api/still')).status).toBe(200)
  expect((await tab.fetch('/bff/session')).text).toContain('"authenticated":true')
})

test('a reload while it drains does not undo that', async () => {
  const world = await start({ shutdown: { delay: '2s', grace: '1s' } })
  const drained = world.gateway.service.drain()

  await world.gateway.service.update({
    ...world.config,
    headers: { ...world.config.headers, frameAncestors: "'self'" },
  })
  const answer = await fetch(`${world.url}/bff/session`)
  await drained

  expect(answer.headers.get('connection')).toBe('close')
})

/** An authorization server that fails at a refresh, before a whole gateway: a fault signs nobody out (R3, R5, R8). */
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ProviderConfig } from '../../src/config/schema.ts'
import type { Tab } from '../support/browser.ts'
import { SERVER } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import type { Fault } from '../support/scripted-provider.ts'
import { type ScriptedWorld, type ScriptedWorldOptions, startScriptedWorld } from '../support/scripted-world.ts'
import { until, untilReady } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'

/** Time passes for the gateway, for browsers, and for the server. */
function pass({ world, server }: ScriptedWorld, ms: number): void {
  world.clock.advance(ms)
  server.clockOffsetSeconds += ms / 1_000
}

async function start(options: ScriptedWorldOptions = {}): Promise<ScriptedWorld> {
  const scripted = await startScriptedWorld(options)
  onTestFinished(() => scripted[Symbol.asyncDispose]())
  return scripted
}

async function signedIn(scripted: ScriptedWorld): Promise<{ tab: Tab; cookie: () => string | undefined }> {
  const browser = scripted.world.browser()
  const tab = browser.newTab()
  await tab.navigate(`${scripted.url}/`)
  await scripted.signIn(tab)
  return { tab, cookie: () => browser.jar.get(SESSION)?.value }
}

describe('every kind of fault of the token endpoint', () => {
  let scripted: ScriptedWorld
  let untrusted: string
  beforeAll(async () => {
    scripted = await startScriptedWorld()
    const tls = createServer(SERVER, (_request, response) => void response.end('{}')).listen(0, '127.0.0.1')
    await once(tls, 'listening')
    untrusted = `https://127.0.0.1:${(tls.address() as AddressInfo).port}` // a TCP server that listens
    return async () => {
      tls.close()
      await scripted[Symbol.asyncDispose]()
    }
  })

  /** The server fails so, or its token endpoint is there, until the function returned is called. */
  async function breaks(kind: Fault | string): Promise<() => Promise<void>> {
    const { world, server } = scripted
    const provider = world.config.provider as ProviderConfig // the world has one
    if (typeof kind !== 'string') {
      server.faults.token = kind
      return async () => {
        delete server.faults.token
        server.release()
      }
    }
    // Another issuer in between, so that nothing of the metadata of before is used.
    const reload = async (changes: Partial<ProviderConfig>) => {
      await world.gateway.service.update({ ...world.config, provider: { ...provider, ...changes } })
    }
    const move = async (changes: Partial<ProviderConfig>) => {
      await reload({ issuer: 'http://127.0.0.1:1' })
      await reload(changes)
      await untilReady(world.gateway)
    }
    await move({ metadata: { token_endpoint: kind } })
    return () => move({})
  }

  test.each<[string, () => Fault | string | Promise<string>]>([
    ['500', () => ({ kind: 'status', status: 500 })],
    ['502', () => ({ kind: 'status', status: 502 })],
    ['503', () => ({ kind: 'status', status: 503 })],
    ['429 with Retry-After', () => ({ kind: 'status', status: 429, headers: { 'retry-after': '7' } })],
    ['404', () => ({ kind: 'status', status: 404 })],
    ['a page with 200', () => ({ kind: 'html' })],
    ['nothing with 200', () => ({ kind: 'empty' })],
    ['JSON cut short', () => ({ kind: 'truncated' })],
    ['a reset', () => ({ kind: 'reset' })],
    ['nobody there', async () => `http://127.0.0.1:${await freePort()}/token`],
    ['a name that nobody knows', () => 'https://no-such-host.invalid/token'],
    ['a certificate that nobody vouches for', () => `${untrusted}/token`],
    ['400 invalid_client', () => ({ kind: 'oauthError', error: 'invalid_client' })],
    ['401 invalid_client', () => ({ kind: 'oauthError', error: 'invalid_client', status: 401 })],
    ['302', () => ({ kind: 'redirect', location: '/elsewhere' })],
  ])('%s: the old token while it is good, then 503, and the next good answer heals (R3)', async (_name, fault) => {
    const { tab, cookie } = await signedIn(scripted)
    const before = cookie() ?? ''
    const mend = await breaks(await fault())
    onTestFinished(mend)
    pass(scripted, 275_000)

    const stale = await tab.fetch('/api/orders')
    const { authorization } = scripted.world.upstream.last.headers
    pass(scripted, 30_000)
    const expired = await tab.fetch('/api/orders')

    expect([stale.status, expired.status]).toEqual([200, 503])
    expect(expired.headers).toMatchObject({
      'content-type': expect.stringContaining('application/problem+json'),
      'sidegate-error': 'provider_unavailable',
      'retry-after': expect.stringMatching(/^[1-9]\d?$/),
    })
    expect([stale.headers['set-cookie'], expired.headers['set-cookie']]).toEqual([undefined, undefined])
    expect(cookie()).toBe(before)
    expect(await scripted.world.gateway.service.manager.peek(before)).toMatchObject({ sub: 'alice' })
    await mend()
    pass(scripted, 11_000)
    expect((await tab.fetch('/api/orders')).status).toBe(200)
    expect(scripted.world.upstream.last.headers.authorization).not.toBe(authorization)
  })

  test('no answer: nobody waits longer than five seconds, and what comes of it later counts (R3)', async () => {
    const { tab, cookie } = await signedIn(scripted)
    const mend = await breaks({ kind: 'hang' })
    onTestFinished(mend)
    pass(scripted, 301_000)

    const expired = await tab.fetch('/api/orders')

    expect([expired.status, expired.headers['sidegate-error']]).toEqual([503, 'provider_unavailable'])
    expect(cookie()).toBeDefined()
    await mend()
    await expect.poll(async () => (await tab.fetch('/api/orders')).status).toBe(200)
  })
})

describe('an answer that got lost after the server had rotated', () => {
  test('at a strict server is two calls, one clean end and one login that comes back to where it was asked for (R5)', async () => {
    const scripted = await start({
      config: { routes: [{ path: '/orders', upstream: 'http://127.0.0.1:1', session: 'login' }] },
    })
    const { server, world } = scripted
    const tab = world.browser().newTab()
    await scripted.comeBack(tab, await scripted.begin(tab))
    const calls = server.calls('token')
    pass(scripted, 301_000)
    server.faults.token = { kind: 'lost' }
    const lost = await tab.fetch('/orders', { from: scripted.url })
    delete server.faults.token

    const again = await tab.fetch('/orders', { from: scripted.url })
    const page = await tab.navigate(`${scripted.url}/orders?page=2`, { follow: false })

    expect([lost.status, again.status, page.status]).toEqual([503, 401, 302])
    expect(server.calls('token') - calls).toBe(2)
    expect(await world.metric('sidegate_sessions_ended_total{reason="refresh_lost"}')).toBe(1)
    const end = await tab.navigate(server.authorize(new URL(page.headers.location ?? '')), {
      from: server.origin,
      follow: false,
    })
    expect(end.headers.location).toBe('/orders?page=2')
  })

  test('at one that takes the old token again is healed by the second call (R5)', async () => {
    const scripted = await start({ script: (server) => void (server.rotatesRefreshTokens = false) })
    const { tab } = await signedIn(scripted)
    const calls = scripted.server.calls('token')
    pass(scripted, 301_000)
    scripted.server.faults.token = { kind: 'lost' }
    const lost = await tab.fetch('/api/orders')
    delete scripted.server.faults.token

    expect([lost.status, (await tab.fetch('/api/orders')).status]).toEqual([503, 200])
    expect(scripted.server.calls('token') - calls).toBe(2)
  })
})

test('a hundred times over the client goes away while its tokens are refreshed: a hundred new records, none asked for twice (R8)', async () => {
  const scripted = await start()
  const { server, world } = scripted
  const { cookie } = await signedIn(scripted)
  const { manager } = world.gateway.service
  const session = () => manager.peek(cookie() ?? '')
  const calls = server.calls('token')
  const { hostname, port } = new URL(world.gateway.address)
  const headers = { cookie: `${SESSION}=${cookie()}`, 'sec-fetch-site': 'same-origin' }
  const agent = new Agent({ keepAlive: false })

  for (let n = 1; n <= 100; n += 1) {
    pass(scripted, 301_000)
    const gate = Promise.withResolvers<void>()
    server.tokenGate = gate.promise
    const client = request({ hostname, port, path: '/api/orders', headers, agent })
    client.on('error', () => {}).end()
    await server.called('token', calls + n)
    client.destroy()
    gate.resolve()
    await until(async () => (await session())?.version === n + 1)
  }

  expect(await session()).not.toHaveProperty('refreshInDoubt')
  expect(server.calls('token') - calls).toBe(100)
})

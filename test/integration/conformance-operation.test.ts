/** How a gateway runs: what it shows where, what it survives, with whom it speaks. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { describe, expect, onTestFinished, test } from 'vitest'
import { BackChannel } from '../../src/oidc/back-channel.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { ProxyApp } from '../support/proxy-app.ts'
import { exchange, get } from '../support/raw-client.ts'
import { statusOf } from '../support/raw-http.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import { startScriptedWorld } from '../support/scripted-world.ts'
import { RawUpstream } from '../support/upstream.ts'
import { startWorld } from '../support/world.ts'

describe('health and metrics (CF-08)', () => {
  test.each(['/healthz', '/readyz', '/metrics', '/bff/healthz', '/bff/readyz', '/bff/metrics'])(
    '%s is not on the public listener, whatever the routes are',
    async (path) => {
      const world = await startWorld()
      onTestFinished(() => world[Symbol.asyncDispose]())

      const answer = await fetch(`${world.url}${path}`)

      expect(answer.status).toBe(404)
      expect(await answer.text()).not.toMatch(/sidegate_|ready/)
    },
  )

  test('are on the management listener, which has nothing else and changes nothing', async () => {
    const world = await startWorld()
    onTestFinished(() => world[Symbol.asyncDispose]())
    const { managementUrl } = world.gateway

    for (const path of ['/healthz', '/readyz', '/metrics'])
      expect([path, (await fetch(`${managementUrl}${path}`)).status]).toEqual([path, 200])
    for (const path of ['/', '/sessions', '/bff/session', '/api/orders'])
      expect([path, (await fetch(`${managementUrl}${path}`)).status]).toEqual([path, 404])
    expect((await fetch(`${managementUrl}/healthz`, { method: 'DELETE' })).status).not.toBe(200)
  })
})

test('garbage on one connection, or on many, is an answer or an end there and nothing to anybody else (CF-09)', async () => {
  const world = await startWorld()
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { hostname, port } = new URL(world.gateway.address)
  const pieces = [
    'GARBAGE\r\n\r\n',
    '\0\0\0\0',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'GET / HTTP/9.9\r\n\r\n',
    'GET /api HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
    'POST /bff/callback HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'POST /bff/backchannel-logout HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{',
    `GET /bff/login?returnTo=${'%'.repeat(200)} HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n`,
    `GET /bff/session HTTP/1.1\r\nHost: a\r\nCookie: ${'='.repeat(500)}\r\n\r\n`,
  ]

  await Promise.all(
    pieces.map(async (piece) => {
      const socket = connect(Number(port), hostname)
      const closed = once(socket, 'close')
      socket.on('error', () => {}) // an end like any other
      socket.resume().end(Buffer.from(piece, 'latin1'))
      await closed
    }),
  )

  expect((await fetch(`${world.url}/bff/session`)).status).toBe(200)
  expect(world.log.lines().filter(({ code }) => code === 'internal')).toEqual([])
})

test('while the authorization server is away logins are 503, sessions go on, and it is back by itself (AS-04)', async () => {
  const scripted = await startScriptedWorld({
    script: (server) => {
      server.accessTokenSeconds = 3_600
    },
  })
  onTestFinished(() => scripted[Symbol.asyncDispose]())
  const tab = await scripted.visitor()
  await scripted.signIn(tab)
  const callback = scripted.server.authorize(await scripted.begin(tab))
  scripted.server.faults.token = { kind: 'status', status: 503 }

  const login = await tab.navigate(callback, { from: scripted.server.origin })
  const call = await tab.fetch(`${scripted.url}/api/orders`, { from: scripted.url })
  const during = await scripted.world.metric('sidegate_provider_up{provider="default"}')
  delete scripted.server.faults.token

  expect(login.status).toBe(503)
  expect(login.headers['sidegate-error']).toBe('provider_unavailable')
  expect(Number(login.headers['retry-after'])).toBeGreaterThan(0)
  expect(call.status).toBe(200)
  expect((await scripted.signIn(tab)).url).toBe(`${scripted.url}/`)
  expect([during, await scripted.world.metric('sidegate_provider_up{provider="default"}')]).toEqual([0, 1])
})

test('a whole sign-in and sign-out are lines of JSON in UTC, one event each, with hashed names (CF-06)', async () => {
  const world = await startWorld()
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { tab } = await world.signedIn({ user: 'alice' })
  await tab.fetch('/bff/logout?local=true', { method: 'POST', from: world.url })

  const events = world.log.lines().filter(({ event }) => typeof event === 'string')

  expect(events.map(({ event }) => event)).toEqual(['login.succeeded', 'session.ended'])
  for (const { time, sessionRef } of events) {
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/)
    expect(sessionRef).toMatch(/^[\w-]{16}$/)
  }
  expect(events[0]?.['sub']).toMatch(/^[\w-]{16}$/)
  expect(world.log.text).not.toMatch(/"sub":"alice"/)
})

test('an answer of the provider is read up to 256 KiB and not a byte further (TK-06)', async () => {
  await using provider = await startScriptedProvider()
  const channel = new BackChannel({ timeoutMs: 5_000, publicOrigin: provider.origin })
  onTestFinished(() => channel.close())
  const read = async (bytes: number): Promise<number> => {
    provider.faults.userinfo = { kind: 'status', status: 200, body: 'x'.repeat(bytes) }
    const answer = channel.exchange('userinfo').fetch(`${provider.origin}/userinfo`, { method: 'GET', headers: {} })
    return (await (await answer).text()).length
  }

  expect(await read(262_144)).toBe(262_144)
  await expect(read(262_145)).rejects.toThrow(/too large/)
})

describe('an upstream that speaks TLS', () => {
  async function upstreamWith(versions: { minVersion: 'TLSv1' | 'TLSv1.2'; maxVersion: 'TLSv1.1' | 'TLSv1.2' }) {
    const authority = await createAuthority()
    const { cert, key } = await authority.issue('localhost')
    const server = createTlsServer({ cert, key, ciphers: 'DEFAULT@SECLEVEL=0', ...versions })
    const upstream = await RawUpstream.start(undefined, server, undefined, 'secureConnection')
    const routes = [{ path: '/api', upstream: `https://localhost:${upstream.port}`, tls: { ca: authority.ca } }]
    const proxy = await ProxyApp.start({ routes })
    onTestFinished(async () => {
      await proxy[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
      await authority[Symbol.asyncDispose]()
    })
    return { upstream, status: statusOf(await exchange(proxy.port, get('/api/x'))) }
  }

  test('1.1 is not spoken with (F2-08)', async () => {
    const { upstream, status } = await upstreamWith({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })

    expect(status).toBe(502)
    expect(upstream.requests).toEqual([])
  })

  test('1.2 is (F2-08)', async () => {
    const { status } = await upstreamWith({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })

    expect(status).toBe(200)
  })
})

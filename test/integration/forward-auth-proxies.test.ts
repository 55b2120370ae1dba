import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import { parse } from 'yaml'
import type { Browser, Tab } from '../support/browser.ts'
import { type EdgeKind, startEdgeProxy } from '../support/edge-proxy.ts'
import { freePort } from '../support/free-port.ts'
import type { RecordedRequest } from '../support/recording-upstream.ts'
import { startWorld, type World } from '../support/world.ts'

const SESSION = '__Host-Http-sidegate'
const text = readFileSync(new URL('../../deploy/forward-auth/sidegate.yaml', import.meta.url), 'utf8')
// Our own file, whose routes are used as they stand there.
const { routes } = parse(text) as { routes: Record<string, unknown>[] }

/** A world behind a real proxy with its example configuration. */
async function start(kind: EdgeKind): Promise<World> {
  const port = await freePort()
  const publicUrl = `http://localhost:${port}`
  const world = await startWorld({
    provider: { redirectUris: [`${publicUrl}/bff/callback`] },
    config: ({ upstream }) => ({
      publicUrl,
      listen: { port: 0 },
      forwardAuth: { host: '127.0.0.1', port: 0 },
      trustedProxies: ['127.0.0.1'],
      routes: routes.map((route) => ({ ...route, upstream })),
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const proxy = await startEdgeProxy(kind, {
    port,
    gateway: world.gateway.address,
    forwardAuth: world.gateway.forwardAuthUrl ?? '',
    app: world.upstream.url,
  })
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return world
}

/** A browser that comes in by the proxy, like everybody. */
function browserOf(world: World): Browser {
  const browser = world.browser()
  browser.connectTo = (origin) => origin
  return browser
}

/** Opens a page of the app, is led to the sign-in and comes back to it. */
async function signIn(world: World, path = '/orders/7?tab=notes'): Promise<{ tab: Tab; cookie: string; page: string }> {
  const browser = browserOf(world)
  const tab = browser.newTab()
  await tab.navigate(`${world.url}${path}`, { from: 'none' })
  const page = await tab.submit('alice')
  const value = browser.jar.get(SESSION)?.value ?? ''
  return { tab, cookie: `${SESSION}=${value}`, page: page.url }
}

async function ask(
  world: World,
  path: string,
  headers: Record<string, string>,
  { method = 'GET', body }: { method?: string; body?: string } = {},
): Promise<{ status: number; error: string | undefined; text: string }> {
  const { port } = new URL(world.url)
  const sent = request({ host: '127.0.0.1', port, path, method, headers: { host: `localhost:${port}`, ...headers } })
  sent.end(body)
  const [answer] = (await once(sent, 'response')) as [IncomingMessage] // what a client emits
  let text = ''
  for await (const chunk of answer) text += String(chunk)
  const error = answer.headers['sidegate-error']
  return { status: answer.statusCode ?? 0, error: typeof error === 'string' ? error : undefined, text }
}

function credentialsOf({ headers }: RecordedRequest): unknown {
  const { authorization, 'x-user': user, cookie } = headers
  // An empty field is none to an application.
  return { authorization: authorization || undefined, user: user || undefined, cookie: cookie || undefined }
}

describe.each(['nginx', 'caddy'] as const)('%s', (kind) => {
  test('leads a visitor to the sign-in and back, and then passes token and user on, and no session cookie', async () => {
    const world = await start(kind)

    const { cookie, page } = await signIn(world)
    world.upstream.requests.length = 0
    for (const sent of [cookie, `a=1; ${cookie}`, `${cookie}; b=2`, `a=1; ${cookie}; b=2`]) {
      expect((await ask(world, '/api/orders?page=2', { cookie: sent, 'sec-fetch-site': 'same-origin' })).status).toBe(
        200,
      )
    }

    expect(page).toBe(`${world.url}/orders/7?tab=notes`)
    expect(world.upstream.requests.map(({ url }) => url)).toEqual(Array(4).fill('/api/orders?page=2'))
    const own = { authorization: `Bearer ${world.provider.issued[0]}`, user: 'alice' }
    expect(world.upstream.requests.map(credentialsOf)).toEqual([
      { ...own, cookie: undefined },
      { ...own, cookie: 'a=1' },
      { ...own, cookie: 'b=2' },
      { ...own, cookie: 'a=1; b=2' },
    ])
  })

  test('passes bodies and methods as they came', async () => {
    const world = await start(kind)
    const { cookie } = await signIn(world)
    const body = JSON.stringify({ note: 'x'.repeat(100_000) })

    const answer = await ask(
      world,
      '/api/orders',
      { cookie, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' },
      { method: 'POST', body },
    )

    expect(answer.status).toBe(200)
    expect([world.upstream.last.method, world.upstream.last.body]).toEqual(['POST', body])
  })

  test('lets a client say nothing of itself, neither with a session nor without', async () => {
    const world = await start(kind)
    const { cookie } = await signIn(world)
    const forged = { authorization: 'Bearer forged', 'x-user': 'root', x_user: 'root' }

    await ask(world, '/api/orders', { cookie, 'sec-fetch-site': 'same-origin', ...forged })
    const signedIn = credentialsOf(world.upstream.last)
    await ask(world, '/assets/app.js', forged)

    expect(signedIn).toMatchObject({ authorization: `Bearer ${world.provider.issued[0]}`, user: 'alice' })
    expect(world.upstream.last.url).toBe('/assets/app.js')
    expect(credentialsOf(world.upstream.last)).toEqual({ authorization: undefined, user: undefined, cookie: undefined })
    expect(world.upstream.requests.map(({ headers }) => headers['x_user'])).toEqual(
      world.upstream.requests.map(() => undefined),
    )
  })

  test('refuses what Sidegate refuses, and the application hears nothing of it', async () => {
    const world = await start(kind)
    const { cookie } = await signIn(world)
    world.upstream.requests.length = 0

    const anonymous = await ask(world, '/api/orders', { 'sec-fetch-site': 'same-origin' })
    const forged = await ask(world, '/api/orders', { cookie, 'sec-fetch-site': 'cross-site' }, { method: 'POST' })
    const twice = await ask(world, '/assets/..%2fapi/orders', { cookie, 'sec-fetch-site': 'same-origin' })

    expect([anonymous.status, anonymous.error]).toEqual([401, 'login_required'])
    expect(JSON.parse(anonymous.text)).toMatchObject({ status: 401, code: 'login_required', loginUrl: '/bff/login' })
    expect([forged.status, forged.error]).toEqual([403, 'csrf_rejected'])
    expect([twice.status, twice.error]).toEqual([kind === 'nginx' ? 403 : 400, 'invalid_request'])
    expect(world.upstream.requests).toEqual([])
  })

  test.each([
    { 'x-forwarded-uri': '/assets/app.js' },
    { 'x-original-uri': '/assets/app.js' },
    { 'x-original-url': '/assets/app.js' },
    { 'x-forwarded-method': 'GET', 'x-forwarded-uri': '/assets/app.js' },
    { 'x-original-method': 'GET', 'x-original-uri': '/assets/app.js' },
  ])('lets no client choose what it is judged by: %j', async (described) => {
    const world = await start(kind)
    world.upstream.requests.length = 0

    const answer = await ask(world, '/api/orders', { 'sec-fetch-site': 'same-origin', ...described })

    expect([401, 403]).toContain(answer.status)
    expect(world.upstream.requests).toEqual([])
  })

  test('joins WebSockets of those who may, and of nobody else', async () => {
    const world = await start(kind)
    const { cookie } = await signIn(world)
    const open = (headers: Record<string, string>) =>
      new WebSocket(`${world.url.replace('http', 'ws')}/api/socket`, { headers })
    const socket = open({ cookie, origin: world.url })
    onTestFinished(() => socket.terminate())

    await once(socket, 'open')
    socket.send('hello')
    const [echo] = (await once(socket, 'message')) as [Buffer] // what a WebSocket emits
    const foreign = open({ cookie, origin: 'https://evil.example' })
    const [refusal] = (await once(foreign, 'error')) as [Error] // what a WebSocket emits

    expect(echo.toString()).toBe('hello')
    expect(refusal.message).toContain('403')
    expect(credentialsOf(world.upstream.last)).toMatchObject({ authorization: `Bearer ${world.provider.issued[0]}` })
  })

  test('passes nothing while Sidegate is gone', async () => {
    const world = await start(kind)
    const { cookie } = await signIn(world)
    world.upstream.requests.length = 0

    await world.gateway.service.stop()
    const answer = await ask(world, '/api/orders', { cookie, 'sec-fetch-site': 'same-origin' })

    expect(answer.status).toBe(kind === 'nginx' ? 503 : 502)
    expect(world.upstream.requests).toEqual([])
  })

  test('ends a session by the endpoints of Sidegate, which it leads to', async () => {
    const world = await start(kind)
    const { tab, cookie } = await signIn(world)

    const signedIn = await tab.fetch('/bff/session')
    const signedOut = await tab.fetch('/bff/logout?local=true', { method: 'POST' })

    expect(signedIn.json()).toMatchObject({ authenticated: true })
    expect(signedOut.status).toBe(204)
    expect((await ask(world, '/api/orders', { cookie, 'sec-fetch-site': 'same-origin' })).status).toBe(401)
  })
})

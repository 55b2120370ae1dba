/** One gateway for browser and app: routes that take a native app's own tokens beside sessions. */
import { once } from 'node:events'
import { request } from 'node:http'
import { onTestFinished, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { TestProviderOptions } from '../support/provider.ts'
import { nativeClient, nativeSignIn } from '../support/native-app.ts'
import { type ConfigInput, startWorld, type World } from '../support/world.ts'

const API = 'https://orders.example.com'
const SCOPE = 'openid orders.read'

async function bearerWorld(
  options: { more?: ConfigInput; route?: ConfigInput; routes?: ConfigInput[]; provider?: TestProviderOptions } = {},
) {
  const world = await startWorld({
    provider: { resources: { [API]: 'orders.read' }, otherClients: [nativeClient], ...options.provider },
    config: ({ issuer, upstream }) => ({
      ...options.more,
      routes: [
        {
          path: '/api',
          upstream,
          bearer: { issuer, audience: API },
          identityHeaders: { 'X-User': 'sub', 'X-Client': 'access_token:client_id' },
          ...options.route,
        },
        { path: '/closed', upstream },
        ...(options.routes ?? []).map((route) => ({ upstream, bearer: { issuer, audience: API }, ...route })),
      ],
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

interface Reply {
  readonly status: number
  readonly headers: Headers
  readonly code: string | null
}

/** A request as an app sends it: no cookie, no origin, no Fetch Metadata. */
async function call(world: World, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Reply> {
  const answer = await fetch(`${world.url}${path}`, { method, headers, redirect: 'manual' })
  await answer.arrayBuffer()
  return { status: answer.status, headers: answer.headers, code: answer.headers.get('sidegate-error') }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

test('an app gets in with its own token, which goes upstream with what it says, and needs no CSRF header', async () => {
  const world = await bearerWorld()
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })

  const answer = await call(world, '/api/orders', { ...bearer(accessToken), 'x-user': 'root' }, 'POST')

  expect(answer.status).toBe(200)
  expect(world.upstream.last.headers).toMatchObject({
    authorization: `Bearer ${accessToken}`,
    'x-user': 'alice',
    'x-client': 'mobile',
  })
  expect(world.upstream.requests).toHaveLength(1)
  expect(answer.headers.get('set-cookie')).toBeNull()
  expect(world.log.text).not.toContain(accessToken)
})

test('on the same route a browser goes on with its session, and what it sends as Authorization is dropped', async () => {
  const world = await bearerWorld()
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE, user: 'bob' })
  const { tab } = await world.signedIn()

  const answer = await tab.fetch('/api/orders', { headers: bearer(accessToken) })

  expect(answer.status).toBe(200)
  expect(world.upstream.last.headers['x-user']).toBe('alice')
  expect(world.upstream.last.headers.authorization).not.toContain(accessToken)
})

test.each([
  ['its own name', '__Host-Http-sidegate=garbage'],
  ['twice', `__Host-Http-sidegate=${'a'.repeat(43)}; __Host-Http-sidegate=${'b'.repeat(43)}`],
  ['another spelling', `__host-http-sidegate=${'a'.repeat(43)}`],
])('with our cookie by %s a good token counts for nothing', async (_name, cookie) => {
  const world = await bearerWorld()
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })

  expect(await call(world, '/api/orders', { ...bearer(accessToken), cookie })).toMatchObject({ status: 401 })
  expect(world.upstream.requests).toEqual([])
  expect((await call(world, '/api/orders', { ...bearer(accessToken), cookie: 'theme=dark' })).status).toBe(200)
})

test('a token that is no good is 401 with a challenge and a problem document, and no upstream hears of it', async () => {
  const world = await bearerWorld()
  const { accessToken, idToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })
  const [head, payload] = accessToken.split('.')
  const bad = [`${head}.${payload}.AAAA`, idToken, 'opaque', 'not a token', '']

  for (const token of bad) {
    const answer = await fetch(`${world.url}/api/orders`, { headers: bearer(token) })

    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(await answer.json()).toMatchObject({ status: 401, code: 'login_required' })
  }
  const none = await call(world, '/api/orders')
  expect([none.status, none.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
  const basic = await call(world, '/api/orders', { authorization: 'Basic dXNlcjpwYXNz' })
  expect([basic.status, basic.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
  expect(world.upstream.requests).toEqual([])
})

test('two Authorization fields are none that could be believed', async () => {
  const world = await bearerWorld()
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })
  const asked = request(`${world.url}/api/orders`)
  asked.setHeader('authorization', [`Bearer ${accessToken}`, 'Bearer other'])
  const [answer] = await once(asked.end(), 'response')

  expect(answer.statusCode).toBe(401)
  answer.resume()
})

test('a route without the rule takes no token, and neither do our own endpoints', async () => {
  const world = await bearerWorld()
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })

  expect((await call(world, '/closed/orders', bearer(accessToken))).status).toBe(401)
  expect((await call(world, '/bff/user', bearer(accessToken))).status).toBe(401)
  expect(world.upstream.requests).toEqual([])
})

test('rules are judged on the claims of the token, and a stronger sign-in is asked for in its own words (ID-10)', async () => {
  const world = await bearerWorld({
    routes: [
      { path: '/mobile', allow: { client_id: 'mobile' } },
      { path: '/desktop', allow: { client_id: 'desktop' } },
      { path: '/roles', allow: { 'access_token:realm_access.roles': 'buyer' } },
      { path: '/strong', acr: 'urn:example:gold "1"', maxAge: '5m' },
      { path: '/recent', maxAge: '5m' },
    ],
  })
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE, acr_values: 'loa1' })
  const sent = bearer(accessToken)

  expect((await call(world, '/mobile', sent)).status).toBe(200)
  expect(await call(world, '/desktop', sent)).toMatchObject({ status: 403, code: 'forbidden' })
  expect(await call(world, '/roles', sent)).toMatchObject({ status: 403, code: 'forbidden' })
  const strong = await call(world, '/strong', sent)
  expect([strong.status, strong.code]).toEqual([401, 'step_up_required'])
  expect(strong.headers.get('www-authenticate')).toBe(
    String.raw`Bearer error="insufficient_user_authentication", acr_values="urn:example:gold \"1\"", max_age="300"`,
  )
})

test('session: none with a rule is for apps alone, optional lets nobody in with a bad token', async () => {
  const world = await bearerWorld({
    routes: [
      { path: '/apps', session: 'none' },
      { path: '/silent', session: 'none', token: 'none' },
      { path: '/open', session: 'optional' },
    ],
  })
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })
  const { tab } = await world.signedIn()

  expect((await call(world, '/apps', bearer(accessToken))).status).toBe(200)
  expect(world.upstream.last.headers.authorization).toBe(`Bearer ${accessToken}`)
  expect((await call(world, '/silent', bearer(accessToken))).status).toBe(200)
  expect(world.upstream.last.headers.authorization).toBeUndefined()
  expect((await call(world, '/apps')).status).toBe(401)
  expect((await tab.fetch('/apps', { headers: bearer(accessToken) })).status).toBe(401)
  expect((await call(world, '/open')).status).toBe(200)
  expect((await call(world, '/open', bearer('bad'))).status).toBe(401)
})

test('an opaque token is introspected at the provider, and one for another API or revoked opens nothing (RF-09)', async () => {
  const opaque = (_ctx: unknown, resource: string) => ({
    scope: 'orders.read',
    audience: resource,
    accessTokenFormat: 'opaque',
  })
  const world = await bearerWorld({
    provider: {
      resources: { [API]: 'orders.read', 'https://other.example.com': 'orders.read' },
      configuration: {
        features: {
          resourceIndicators: { enabled: true, useGrantedResource: () => true, getResourceServerInfo: opaque },
        },
      },
    },
  })
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })
  const other = await nativeSignIn(world.provider, { resource: 'https://other.example.com', scope: SCOPE })

  expect(accessToken).not.toContain('.')
  expect((await call(world, '/api/orders', bearer(accessToken))).status).toBe(200)
  expect(world.upstream.last.headers).toMatchObject({ 'x-user': 'alice', 'x-client': 'mobile' })
  expect((await call(world, '/api/orders', bearer(other.accessToken))).status).toBe(401)
  world.provider.revokeTokens('alice')
  world.clock.advance(30_001)
  expect((await call(world, '/api/orders', bearer(accessToken))).status).toBe(401)
})

test('another proxy that asks gets the app’s token and what it says', async () => {
  const world = await bearerWorld({
    more: { forwardAuth: { host: '127.0.0.1', port: 0 }, trustedProxies: ['127.0.0.1'] },
  })
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })
  const check = async (token: string) => {
    const asked = { 'x-forwarded-method': 'POST', 'x-forwarded-uri': '/api/orders', ...bearer(token) }
    return await fetch(world.gateway.forwardAuthUrl ?? '', { headers: asked })
  }

  const answer = await check(accessToken)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('authorization')).toBe(`Bearer ${accessToken}`)
  expect(answer.headers.get('x-user')).toBe('alice')
  expect((await check('bad')).status).toBe(401)
})

test('without the keys of the issuer it is 503, and with them again it goes on', async () => {
  const world = await bearerWorld()
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })
  world.provider.breakDown('/jwks', 500)

  const answer = await call(world, '/api/orders', bearer(accessToken))
  expect([answer.status, answer.code]).toEqual([503, 'provider_unavailable'])
  expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
  world.provider.breakDown('/jwks', undefined)
  expect((await call(world, '/api/orders', bearer(accessToken))).status).toBe(200)
})

test('a WebSocket opened with a token carries it, and closes when it expires (PX-19)', async () => {
  const world = await bearerWorld({ provider: { accessTokenSeconds: 2 } })
  const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: SCOPE })
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/api/live`, { headers: bearer(accessToken) })
  onTestFinished(() => socket.terminate())
  await once(socket, 'open')

  expect(world.upstream.last.headers.authorization).toBe(`Bearer ${accessToken}`)
  const [code, reason] = await once(socket, 'close')
  expect([code, String(reason)]).toEqual([4401, 'the token has expired'])

  const refused = new WebSocket(`${world.url.replace('http', 'ws')}/api/live`, { headers: bearer('bad') })
  refused.on('error', () => {})
  const [, response] = await once(refused, 'unexpected-response')
  expect(response.statusCode).toBe(401)
})

/** An API that refuses a token which looks good here: another token and one more attempt, at a real gateway (PX-13). */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { DEMO_USERS } from '../../src/demo/users.ts'
import type { TestProviderOptions } from '../support/provider.ts'
import { type ConfigInput, startWorld, until, type World } from '../support/world.ts'

const ORDERS = 'urn:test:orders'
const INVALID = 'Bearer realm="api", error="invalid_token", error_description="The token was revoked, sorry"'

interface Options {
  readonly provider?: TestProviderOptions
  readonly config?: ConfigInput
  readonly route?: ConfigInput
}

/** Alice is signed in; the API refuses what `refuses` says, in its own words, and counts what it hears. */
async function refusingWorld({ provider, config, route }: Options = {}) {
  const world = await startWorld({
    ...(provider && { provider }),
    config: ({ upstream }) => ({ ...config, routes: [{ path: '/api', upstream, ...route }] }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const signedIn = await world.signedIn()
  const api = { refuses: (_token: string): boolean => false, heard: () => world.upstream.requests.map(tokenOf) }
  world.upstream.respond = (request, response) => {
    if (api.refuses(tokenOf(request))) refuse(response)
    else response.end(`taken: ${request.method} ${request.url}`)
  }
  const refreshes = () => world.provider.count('refresh_token')
  return { world, api, refreshes, ...signedIn }
}

function tokenOf({ headers }: { headers: { authorization?: string | undefined } }): string {
  return headers.authorization?.split(' ')[1] ?? ''
}

function refuse(response: ServerResponse, body = 'the API’s own words'): void {
  response.writeHead(401, { 'www-authenticate': [INVALID, 'Basic realm="api"'], 'x-api': 'yes' }).end(body)
}

/** Refuses every token that it has seen before the call of this. */
const onlyNewTokens = ({ upstream }: World) => {
  const old = new Set(upstream.requests.map(tokenOf))
  return (token: string) => {
    if (old.size === 0) old.add(token)
    return old.has(token)
  }
}

describe('a token that the API has refused as invalid', () => {
  test.each(['GET', 'HEAD', 'DELETE', 'POST'])(
    '%s without a body: one refresh, one more attempt (R57)',
    async (method) => {
      const { world, api, refreshes, tab } = await refusingWorld()
      api.refuses = onlyNewTokens(world)

      const answer = await tab.fetch('/api/orders?a=b', { method })

      expect(answer.status).toBe(200)
      if (method !== 'HEAD') expect(answer.text).toBe(`taken: ${method} /api/orders?a=b`)
      expect(new Set(api.heard()).size).toBe(2)
      expect([api.heard().length, refreshes()]).toEqual([2, 1])
      await tab.fetch('/api/orders')
      expect([api.heard().length, refreshes()]).toEqual([3, 1])
    },
  )

  test('of twenty calls at once costs one refresh, and each is made once more (RF-03)', async () => {
    const { world, api, refreshes, tab } = await refusingWorld()
    api.refuses = onlyNewTokens(world)

    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => tab.fetch(`/api/orders/${index}`)))

    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200))
    expect(new Set(api.heard()).size).toBe(2)
    expect(refreshes()).toBe(1)
    expect(world.upstream.requests.length).toBeLessThanOrEqual(40)
  })

  test('costs nothing where the session has a newer one by then', async () => {
    const { world, api, refreshes, tab } = await refusingWorld()
    const slow = Promise.withResolvers<ServerResponse>()
    const answers = world.upstream.respond
    world.upstream.respond = (_request, response) => {
      world.upstream.respond = answers
      slow.resolve(response)
    }
    const late = tab.fetch('/api/slow')
    const unanswered = await slow.promise
    api.refuses = onlyNewTokens(world)
    await tab.fetch('/api/quick')
    expect(refreshes()).toBe(1)

    refuse(unanswered)

    expect((await late).text).toBe('taken: GET /api/slow')
    expect(refreshes()).toBe(1)
  })

  test('an API that refuses the new one, too, is heard; for a while it causes no refresh, elsewhere it may', async () => {
    const { world, api, refreshes, tab } = await refusingWorld()
    api.refuses = () => true

    const answer = await tab.fetch('/api/orders')

    expect([answer.status, answer.text]).toEqual([401, 'the API’s own words'])
    expect(answer.headers).toMatchObject({ 'www-authenticate': INVALID, 'x-api': 'yes' })
    expect(answer.headers['sidegate-error']).toBeUndefined()
    expect([api.heard().length, refreshes()]).toEqual([2, 1])
    await Promise.all([tab.fetch('/api/orders'), tab.fetch('/api/orders')])
    expect([api.heard().length, refreshes()]).toEqual([4, 1])
    world.clock.advance(30_000)
    await tab.fetch('/api/orders')
    expect([api.heard().length, refreshes()]).toEqual([6, 2])
  })

  test('a body has gone and is not kept: the 401 is handed on, with the body that it has', async () => {
    const { api, refreshes, tab } = await refusingWorld()
    api.refuses = () => true

    const answer = await tab.fetch('/api/orders', { method: 'PUT', body: 'twelve' })

    expect([answer.status, answer.text]).toEqual([401, 'the API’s own words'])
    expect([api.heard().length, refreshes()]).toEqual([1, 0])
  })

  test.each<[string, number, string]>([
    ['403 insufficient_scope', 403, 'Bearer error="insufficient_scope", scope="orders.write"'],
    ['a 401 without an error', 401, 'Bearer realm="api"'],
    ['the error in a Basic challenge', 401, 'Basic realm="api", error="invalid_token"'],
    ['the error in a text', 401, 'Bearer realm="error=\\"invalid_token\\", Bearer error=invalid_token"'],
  ])('%s is none: it passes, and nothing is asked again', async (_what, status, challenge) => {
    const { world, refreshes, tab } = await refusingWorld()
    world.upstream.respond = (_request, response) => {
      response.writeHead(status, { 'www-authenticate': challenge }).end('the API’s own words')
    }

    const answer = await tab.fetch('/api/orders')

    expect([answer.status, answer.text]).toEqual([status, 'the API’s own words'])
    expect([world.upstream.requests.length, refreshes()]).toEqual([1, 0])
  })
})

describe('where no other token is to be had', () => {
  const large = 'x'.repeat(300_000)

  test('a session without a refresh token: the 401 is handed on, once', async () => {
    const { api, refreshes, tab } = await refusingWorld({
      provider: { client: { grant_types: ['authorization_code'] } },
    })
    api.refuses = () => true

    const answer = await tab.fetch('/api/orders')

    expect([answer.status, answer.text]).toEqual([401, 'the API’s own words'])
    expect([api.heard().length, refreshes()]).toEqual([1, 0])
  })

  test.each(['GET', 'HEAD'])('an outage of the provider: the 401 to a %s is handed on whole', async (method) => {
    const { world, tab } = await refusingWorld()
    world.upstream.respond = (_request, response) => refuse(response, large)
    world.provider.breakDown('/token', 503)

    const answer = await tab.fetch('/api/orders', { method })

    expect([answer.status, answer.headers['x-api']]).toEqual([401, 'yes'])
    expect(answer.text).toBe(method === 'HEAD' ? '' : large)
    expect(world.upstream.requests).toHaveLength(1)
    // The gateway is done with it, too.
    await world.log.until((line) => line['path'] === '/api/orders' && line['status'] === 401)
    world.provider.breakDown('/token', undefined)
    expect((await tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: true })
  })

  test('a refresh token that is dead, too: the session ends by our own 401 (RF-04)', async () => {
    const { world, api, tab } = await refusingWorld()
    api.refuses = () => true
    world.provider.revokeTokens('alice')

    const answer = await tab.fetch('/api/orders')

    expect([answer.status, answer.headers['sidegate-error']]).toEqual([401, 'session_expired'])
    expect(answer.text).not.toContain('own words')
    expect(api.heard()).toHaveLength(1)
    expect((await tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: false })
  })
})

describe('while another token is got', () => {
  test('an answer that breaks off is no answer: 502 if it was to be handed on', async () => {
    const { world, tab } = await refusingWorld()
    const refused = Promise.withResolvers<ServerResponse>()
    world.upstream.respond = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': INVALID, 'content-length': '9' }).write('half')
      refused.resolve(response)
    }
    world.provider.breakDown('/token', 503)
    const release = world.provider.hold('/token')
    const call = tab.fetch('/api/orders')
    await world.provider.arrived('/token', 2)

    const { socket } = await refused.promise
    socket?.resetAndDestroy()
    await world.log.until(({ msg }) => msg === 'an answer was broken off while it was held')
    release()

    expect((await call).headers['sidegate-error']).toBe('upstream_unavailable')
  })

  test('a client that leaves takes nothing along: the refresh is stored, and nothing is asked again', async () => {
    const { world, api, refreshes, tab } = await refusingWorld({ route: { maxInFlight: 1 } })
    api.refuses = onlyNewTokens(world)
    const release = world.provider.hold('/token')
    const gone = new AbortController()
    const { promise: left, resolve: leaves } = Promise.withResolvers<void>()
    const answers = world.upstream.respond
    world.upstream.respond = (request, response) => {
      world.upstream.respond = answers
      response.socket?.once('close', leaves)
      answers(request, response)
    }
    const call = tab.fetch('/api/left', { signal: gone.signal })
    await world.provider.arrived('/token', 2)

    gone.abort()
    await expect(call).rejects.toThrow()
    await left
    release()
    const answer = await tab.fetch('/api/orders')

    expect(answer.status).toBe(200)
    expect(world.upstream.requests.filter(({ url }) => url === '/api/left')).toHaveLength(1)
    expect(refreshes()).toBe(1)

    // Its place at the upstream was given back once: there is one, and one in the queue.
    const held: ServerResponse[] = []
    world.upstream.respond = (_request, response) => void held.push(response)
    const first = tab.fetch('/api/1')
    await until(async () => held.length === 1)
    const calls = [tab.fetch('/api/2'), tab.fetch('/api/3')]
    const refused = await Promise.race(calls)
    expect([refused.headers['sidegate-error'], held.length]).toEqual(['overloaded', 1])
    world.upstream.respond = (_request, response) => response.end()
    held[0]?.end()
    await Promise.all([first, ...calls])
  })

  test('claims that the refresh has brought are judged before anything is asked again', async () => {
    const groups = ['sales']
    const findAccount = (_ctx: unknown, sub: string) => ({
      accountId: sub,
      claims: () => ({ sub, ...DEMO_USERS[0]?.claims, groups: [...groups] }),
    })
    const { world, api, tab } = await refusingWorld({
      provider: { configuration: { findAccount } },
      route: { allow: { groups: ['sales'] }, identityHeaders: { 'X-Groups': 'groups' } },
    })
    api.refuses = onlyNewTokens(world)
    groups.push('admin')
    expect((await tab.fetch('/api/orders')).status).toBe(200)
    expect(world.upstream.requests.map(({ headers }) => headers['x-groups'])).toEqual(['sales', 'sales,admin'])

    groups.splice(0)
    api.refuses = onlyNewTokens(world)
    const answer = await tab.fetch('/api/orders')

    expect([answer.status, answer.headers['sidegate-error']]).toEqual([403, 'forbidden'])
    expect(api.heard()).toHaveLength(3)
  })
})

test('the token of a route is got anew, and the user’s is left alone (TK-12)', async () => {
  const { world, api, refreshes, tab } = await refusingWorld({
    provider: { resources: { [ORDERS]: 'orders.read' } },
    config: { provider: { scopes: ['openid', 'orders.read'], resource: [ORDERS] } },
    route: { token: { clientCredentials: { resource: ORDERS, scopes: ['orders.read'] } } },
  })
  api.refuses = onlyNewTokens(world)
  const own = () => world.provider.count('client_credentials')

  const answers = await Promise.all([tab.fetch('/api/1'), tab.fetch('/api/2')])

  expect(answers.map(({ status }) => status)).toEqual([200, 200])
  expect(new Set(api.heard()).size).toBe(2)
  expect([own(), refreshes()]).toEqual([2, 0])
  api.refuses = () => true
  expect((await tab.fetch('/api/3')).status).toBe(401)
  expect([own(), refreshes()]).toEqual([3, 0])
})

test('a WebSocket handshake that is refused so is made again with another token, and opens', async () => {
  const { world, refreshes, browser } = await refusingWorld()
  const refuses = onlyNewTokens(world)
  world.upstream.refuseUpgrade = (request) =>
    refuses(tokenOf(request)) ? ['HTTP/1.1 401 No', `WWW-Authenticate: ${INVALID}`] : undefined
  const cookie = browser.jar.header(new URL(world.url), 'strict') ?? ''
  const socket = new WebSocket(`${world.url.replace('http:', 'ws:')}/api/live`, {
    headers: { origin: world.url, cookie },
  })
  onTestFinished(() => socket.terminate())

  await once(socket, 'open')
  socket.send('hello')
  const [echo] = (await once(socket, 'message')) as [Buffer]

  expect(echo.toString()).toBe('hello')
  expect([world.upstream.requests.length, refreshes()]).toEqual([2, 1])
})

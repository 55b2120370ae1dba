/** What an API that refuses a token brings about: one refresh, one more attempt, a stronger sign-in, and no circles. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { startWorld } from '../support/world.ts'
import type { World } from '../support/world.ts'

async function start(): Promise<World> {
  const world = await startWorld()
  onTestFinished(() => world[Symbol.asyncDispose]())
  return world
}

/** The API takes no token that it has seen before this moment. */
function refuseOldTokens(world: World, old: ReadonlySet<string | undefined>, error = 'invalid_token'): void {
  world.upstream.respond = ({ headers }, response) => {
    if (old.has(headers.authorization))
      response.writeHead(401, { 'www-authenticate': `Bearer error="${error}"` }).end('no')
    else response.writeHead(200).end('yes')
  }
}

describe('a token that the API calls invalid (PX-13)', () => {
  test('is refreshed once for all calls with it, and each is sent once more', async () => {
    const world = await start()
    const { tab } = await world.signedIn()
    await tab.fetch('/api/first', { from: world.url })
    refuseOldTokens(world, new Set([world.upstream.last.headers.authorization]))

    const calls = Array.from({ length: 5 }, (_, n) => tab.fetch(`/api/${n}`, { from: world.url }))
    const statuses = (await Promise.all(calls)).map(({ status }) => status)

    expect(statuses).toEqual([200, 200, 200, 200, 200])
    expect(world.provider.count('refresh_token')).toBe(1)
  })

  test('and the next one, too, is one refresh and two attempts: the refusal is handed on', async () => {
    const world = await start()
    const { tab } = await world.signedIn()
    world.upstream.respond = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('no')
    }

    const answers = [await tab.fetch('/api/x', { from: world.url }), await tab.fetch('/api/y', { from: world.url })]

    expect(answers.map(({ status, text }) => [status, text])).toEqual([
      [401, 'no'],
      [401, 'no'],
    ])
    expect(world.provider.count('refresh_token')).toBe(1)
    expect(world.upstream.requests.filter(({ url }) => url === '/api/x')).toHaveLength(2)
  })

  test('with a body that has gone is handed on: nothing is sent twice (PX-11)', async () => {
    const world = await start()
    const { tab } = await world.signedIn()
    await tab.fetch('/api/first', { from: world.url })
    refuseOldTokens(world, new Set([world.upstream.last.headers.authorization]))

    const answer = await tab.fetch('/api/orders', { method: 'POST', body: 'one order', from: world.url })

    expect(answer.status).toBe(401)
    expect(world.upstream.requests.filter(({ method }) => method === 'POST')).toHaveLength(1)
  })

  test('is no matter of ours when the scope is what is missing: 403 is handed on, once', async () => {
    const world = await start()
    const { tab } = await world.signedIn()
    world.upstream.respond = (_request, response) => {
      response.writeHead(403, { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' }).end('no')
    }

    const answer = await tab.fetch('/api/x', { from: world.url })

    expect([answer.status, answer.text]).toEqual([403, 'no'])
    expect(world.provider.count('refresh_token')).toBe(0)
    expect(world.upstream.requests).toHaveLength(1)
  })
})

test('an API that wants a stronger sign-in gets it asked for: the application has the address of the login (PX-14)', async () => {
  const world = await start()
  const { tab } = await world.signedIn()
  world.upstream.respond = (_request, response) => {
    const wanted = 'error="insufficient_user_authentication", acr_values="gold", max_age="60"'
    response.writeHead(401, { 'www-authenticate': `Bearer ${wanted}` }).end('no')
  }

  const answer = await tab.fetch('/api/x', { from: world.url })

  expect(answer.status).toBe(401)
  expect(answer.json()).toMatchObject({ code: 'step_up_required', acr_values: 'gold', max_age: 60 })
  const login = new URL(answer.member('loginUrl'), world.url)
  expect(login.pathname).toBe('/bff/login')
  expect(login.searchParams.get('acr_values')).toBe('gold')
  expect(login.searchParams.get('max_age')).toBe('60')
  expect(world.provider.count('refresh_token')).toBe(0)
})

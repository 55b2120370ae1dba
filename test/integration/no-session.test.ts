/** What becomes of a request without a session: it depends on who looks at the answer, and on the route. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { exchange, get } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { startWorld, type World } from '../support/world.ts'

let world: World
let port: number

beforeAll(async () => {
  world = await startWorld({
    config: ({ upstream }) => ({
      routes: (['required', 'login', 'optional', 'none'] as const).map((session) => ({
        path: `/${session}`,
        upstream,
        session,
      })),
    }),
  })
  port = Number(new URL(world.gateway.address).port)
})
afterAll(() => world[Symbol.asyncDispose]())

const askers = {
  'a call of a script': ['Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty', 'Sec-Fetch-Site: same-origin', 'Accept: */*'],
  'a call of an old browser’s script': ['Accept: application/json, text/plain, */*'],
  'a navigation': ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Sec-Fetch-Site: same-origin'],
  'a navigation of an old browser': ['Accept: text/html,application/xhtml+xml,*/*;q=0.8'],
  'an image': ['Sec-Fetch-Mode: no-cors', 'Sec-Fetch-Dest: image', 'Sec-Fetch-Site: same-origin', 'Accept: image/*'],
  'a classic script': [
    'Sec-Fetch-Mode: no-cors',
    'Sec-Fetch-Dest: script',
    'Sec-Fetch-Site: same-origin',
    'Accept: */*',
  ],
}

test.each(
  Object.entries(askers).flatMap(([asker, lines]) =>
    ['required', 'login', 'optional', 'none'].map((session) => ({ asker, lines, session })),
  ),
)('$asker without a session on a route with `session: $session` (R50)', async ({ asker, lines, session }) => {
  const seen = world.upstream.requests.length

  const answer = await exchange(port, get(`/${session}/x`, ...lines))

  const isNavigation = asker.includes('navigation')
  const needsSomebody = session === 'required' || session === 'login'
  const status = !needsSomebody ? 200 : session === 'login' && isNavigation ? 302 : 401
  expect(statusOf(answer)).toBe(status)
  expect(world.upstream.requests.length - seen).toBe(needsSomebody ? 0 : 1)
  expect(valuesOf(answer, 'set-cookie')).toHaveLength(status === 302 ? 1 : 0)
  if (status === 302) expect(valuesOf(answer, 'location')[0]?.startsWith(world.provider.issuer)).toBe(true)
  if (status === 401) {
    expect(valuesOf(answer, 'sidegate-error')).toEqual(['login_required'])
    expect(valuesOf(answer, 'content-type')).toEqual([
      isNavigation ? 'text/html; charset=utf-8' : 'application/problem+json',
    ])
  }
})

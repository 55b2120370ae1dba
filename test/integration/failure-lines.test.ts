import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWorld } from '../support/world.ts'
import type { World } from '../support/world.ts'

let world: World

beforeAll(async () => {
  world = await startWorld({
    config: ({ upstream }) => ({
      // As operators run it.
      log: { level: 'info' },
      routes: [
        { path: '/api', upstream },
        { path: '/down', upstream: 'http://127.0.0.1:1', session: 'none' },
        { path: '/small', upstream, session: 'none', bodyLimit: '1kb' },
      ],
    }),
  })
})

afterAll(() => world[Symbol.asyncDispose]())

const cookie = `__Host-Http-sidegate=${'A'.repeat(43)}`
const page = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }

test.each<[title: string, path: string, init: RequestInit, code: string, detail: RegExp]>([
  ['a path without a route', '/nothing', {}, 'not_found', /no route and no endpoint has this path/],
  ['the same in a browser', '/nothing', { headers: page }, 'not_found', /no route and no endpoint/],
  ['a call without a session', '/api', {}, 'login_required', /cookie|session/],
  [
    'a call with an old cookie',
    '/api',
    { headers: { cookie, 'sec-fetch-site': 'same-origin' } },
    'session_expired',
    /no session for this cookie/,
  ],
  [
    'a call from another site',
    '/api',
    { headers: { cookie, 'sec-fetch-site': 'cross-site' } },
    'csrf_rejected',
    /cross_site/,
  ],
  ['a call of an endpoint by another method', '/bff/session', { method: 'PUT' }, 'method_not_allowed', /method/],
  ['a path that could mean another', '/api/%00', {}, 'invalid_request', /control/],
  ['a login that a script begins', '/bff/login', {}, 'invalid_request', /started by a top-level navigation/],
  [
    'a callback of nobody',
    '/bff/callback?code=a&state=b',
    { headers: page },
    'login_failed',
    /no login of this browser has this state/,
  ],
  [
    'a body that is too large',
    '/small',
    { method: 'POST', body: 'x'.repeat(2_000) },
    'payload_too_large',
    /2000 bytes; 1024 are allowed/,
  ],
  ['an upstream that is not there', '/down', {}, 'upstream_unavailable', /ECONNREFUSED/],
])(
  '%s: the id that the answer shows finds one line with the check and what to do (CB-06)',
  async (_title, path, init, code, detail) => {
    const answer = await fetch(`${world.gateway.address}${path}`, { ...init, redirect: 'manual' })
    const [id = ''] = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(await answer.text()) ?? []
    await world.log.until(({ requestId, msg }) => requestId === id && msg === 'request')

    expect(answer.headers.get('sidegate-error')).toBe(code)
    expect(world.log.lines().filter(({ requestId, msg }) => requestId === id && msg === 'request failed')).toEqual([
      expect.objectContaining({
        code,
        detail: expect.stringMatching(detail),
        remedy: expect.stringMatching(/^[a-z].*\w+ \w+/),
      }),
    ])
  },
)

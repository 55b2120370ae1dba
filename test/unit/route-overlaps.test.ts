import { expect, test } from 'vitest'
import { routeOverlaps } from '../../src/config/route-overlaps.ts'
import { Config } from '../../src/config/schema.ts'

const UPSTREAM = 'http://app:3000'

function overlapsOf(...routes: object[]): [path: unknown, message: string][] {
  const provider = { issuer: 'https://id.example', clientId: 'shop', clientSecret: 'secret' }
  const config = Config.parse({ publicUrl: 'https://app.example', provider, routes })
  return routeOverlaps(config.routes).map(({ path, message }) => [path[1], message])
}

test('a place that is reached round its rules, through another route, is told with its public path (PX-01)', () => {
  const overlaps = overlapsOf(
    { path: '/', upstream: UPSTREAM, session: 'none' },
    { path: '/api', upstream: UPSTREAM, rewrite: '/v1' },
  )

  expect(overlaps).toEqual([[0, expect.stringMatching(/^\/v1 leads to .* route \/api, .*: write a route \/v1 /)]])
})

test.each<[why: string, ...routes: object[]]>([
  [
    'the routes are other servers’',
    { path: '/', upstream: 'http://web:3000', session: 'none' },
    { path: '/api', upstream: UPSTREAM, rewrite: '/v1' },
  ],
  [
    'the path is sent on as it is',
    { path: '/', upstream: UPSTREAM, session: 'none' },
    { path: '/api', upstream: UPSTREAM },
  ],
  [
    'the other route asks for as much',
    { path: '/', upstream: UPSTREAM },
    { path: '/api', upstream: UPSTREAM, rewrite: '/v1' },
  ],
  [
    'a route of its own has the place',
    { path: '/', upstream: UPSTREAM, session: 'none' },
    { path: '/v1', upstream: UPSTREAM },
    { path: '/api', upstream: UPSTREAM, rewrite: '/v1' },
  ],
  [
    'the upstreams are kept apart by their paths',
    { path: '/', upstream: `${UPSTREAM}/web`, session: 'none' },
    { path: '/api', upstream: `${UPSTREAM}/api`, rewrite: '/' },
  ],
])('nothing is told where %s', (_why, ...routes) => {
  expect(overlapsOf(...routes)).toEqual([])
})

test.each([
  ['a claim', { allow: { groups: ['admin'] } }],
  ['a level of sign-in', { acr: ['gold'] }],
  ['a recent sign-in', { maxAge: '5m' }],
  ['methods', { methods: ['GET'] }],
])('a rule about %s counts, too', (_what, rule) => {
  const routes = [
    { path: '/', upstream: UPSTREAM },
    { path: '/admin', upstream: UPSTREAM, rewrite: '/internal', ...rule },
  ]

  expect(overlapsOf(...routes)).toHaveLength(1)
})

test('a route that is sent to the root of the server meets everything there', () => {
  const overlaps = overlapsOf(
    { path: '/api', upstream: UPSTREAM, rewrite: '/' },
    { path: '/open', upstream: UPSTREAM, rewrite: '/', session: 'none' },
  )

  expect(overlaps).toEqual([[1, expect.stringMatching(/^\/open leads to .* route \/api/)]])
})

/** Whatever a client invents: what an upstream gets lies below the route's prefix, with our token and nobody else's. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CorpusWorld } from '../support/corpus-world.ts'
import { RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'

let world: CorpusWorld
beforeAll(async () => {
  world = await CorpusWorld.start()
})
afterAll(() => world[Symbol.asyncDispose]())

const piece = fc.oneof(
  fc.constantFrom(
    '/',
    '//',
    '.',
    '..',
    '...',
    '%2e',
    '%2E%2e',
    '%2f',
    '%5c',
    '\\',
    ';',
    ';x',
    '%00',
    '%',
    '%zz',
    '%c0%ae',
    '%252e',
    '?',
    '#',
    '@',
    ':',
  ),
  fc.constantFrom(
    'api',
    'public',
    'ws',
    'bff',
    'login',
    'admin',
    'v1',
    '%61pi',
    'API',
    'x',
    'http://evil.example',
    '127.0.0.1',
  ),
  fc.stringMatching(/^[\x21-\x7e]{1,6}$/),
)
const target = fc.tuple(fc.constantFrom('/api/', '/api', '/api/public/', '/', ''), fc.array(piece, { maxLength: 8 }))
const name = fc.oneof(
  fc.constantFrom(
    'Authorization',
    'authorization',
    'HTTP_AUTHORIZATION',
    'Connection',
    'Cookie',
    'X-Forwarded-User',
    'x_user',
    'Forwarded',
    'TE',
    'Upgrade',
    'Via',
    'X-Original-URL',
    'DPoP',
    'X-CSRF',
    'Sec-Fetch-Site',
    'Origin',
    'Accept',
  ),
  fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/),
)
const value = fc.oneof(
  fc.constantFrom(
    'evil',
    'authorization, host',
    'same-origin',
    'https://app.example',
    'null',
    'websocket',
    'trailers',
    '1',
    '1.1 sidegate',
  ),
  fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,20}$/),
)
/** Framing is the corpus's subject; here it only hides what is looked for. */
const isFraming = (field: string) => /^(?:host|content-length|transfer-encoding|expect)$/i.test(field)

test('paths and header fields of every kind (PX-01, PX-02, PX-06)', async () => {
  let forwarded = 0
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'POST', 'HEAD', 'DELETE'),
      target,
      fc.array(fc.tuple(name, value), { maxLength: 6 }),
      fc.boolean(),
      async (method, [start, pieces], fields, isSignedIn) => {
        const seen = world.upstream.requests.length
        const cookie = isSignedIn ? [`Cookie: ${world.fill('__Host-Http-sidegate={SID}')}`, 'X-CSRF: 1'] : []
        const lines = fields.filter(([one]) => !isFraming(one)).map(([one, text]) => `${one}: ${text}`)
        using client = await RawClient.connect(world.port)
        const path = start + pieces.join('')
        client.send(
          [`${method} ${path === '' ? '/' : path} HTTP/1.1`, 'Host: app.example', ...cookie, ...lines, '', ''].join(
            '\r\n',
          ),
        )
        const [answer] = await client.read(1, { isHead: method === 'HEAD' })

        expect([500, undefined]).not.toContain(answer && statusOf(answer))
        const requests = world.upstream.requests.slice(seen)
        expect(requests.length).toBeLessThanOrEqual(1)
        for (const request of requests) {
          forwarded += 1
          const sent = request.startLine.split(' ')[1] ?? ''
          const isPublic = /^\/v1\/public(?:\/|\?|$)/.test(sent)
          expect(sent).toMatch(/^\/v1(?:\/|\?|$)/)
          expect(valuesOf(request, 'authorization')).toEqual(isPublic ? [] : [world.fill('Bearer {AT}')])
          expect(valuesOf(request, 'host')).toHaveLength(1)
          expect(JSON.stringify(request.fields)).not.toContain(world.fill('{SID}'))
          for (const one of [
            'x-forwarded-user',
            'x_user',
            'forwarded',
            'te',
            'upgrade',
            'x-original-url',
            'dpop',
            'http_authorization',
          ]) {
            expect(valuesOf(request, one)).toEqual([])
          }
        }
      },
    ),
    { numRuns: 1_000 },
  )
  // A gateway that refuses everything has every property.
  expect(forwarded).toBeGreaterThan(50)
}, 60_000)

/** Whatever a client invents: what an upstream gets lies below the route's prefix, with our token and nobody else's. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CorpusWorld } from '../support/corpus-world.ts'
import { hostileBytes, hostileRequests } from '../support/hostile-requests.ts'
import { RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'

let world: CorpusWorld
beforeAll(async () => {
  world = await CorpusWorld.start()
})
afterAll(() => world[Symbol.asyncDispose]())

test('paths and header fields of every kind (PX-01, PX-02, PX-06)', async () => {
  let forwarded = 0
  await fc.assert(
    fc.asyncProperty(hostileRequests, fc.boolean(), async (hostile, isSignedIn) => {
      const seen = world.upstream.requests.length
      const cookie = isSignedIn ? [`Cookie: ${world.fill('__Host-Http-sidegate={SID}')}`, 'X-CSRF: 1'] : []
      using client = await RawClient.connect(world.port)
      client.send(hostileBytes(hostile, ['Host: app.example', ...cookie]))
      const [answer] = await client.read(1, { isHead: hostile.method === 'HEAD' })

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
    }),
    { numRuns: 1_000 },
  )
  // A gateway that refuses everything has every property.
  expect(forwarded).toBeGreaterThan(50)
}, 60_000)

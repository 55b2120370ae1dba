/** What real clients send must come through a whole gateway byte for byte: a gateway that refused all would be safe too. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { benignBytes, benignCookies as cookies, benignGroups as groups } from '../support/benign-requests.ts'
import type { Benign } from '../support/benign-requests.ts'
import { CorpusWorld } from '../support/corpus-world.ts'
import { RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'

let world: CorpusWorld
beforeAll(async () => {
  world = await CorpusWorld.start()
})
afterAll(() => world[Symbol.asyncDispose]())

/** Sends it with the session, and gives back what the upstream got. */
async function send(benign: Benign, cookie = '') {
  const seen = world.upstream.requests.length
  const proof = benign.lines?.some((line) => line.startsWith('Sec-Fetch-Site')) ? [] : ['X-CSRF: 1']
  const first = ['Host: app.example', `Cookie: ${cookie}__Host-Http-sidegate={SID}`, ...proof]
  using client = await RawClient.connect(world.port)
  const [answer] = await client.send(world.fill(benignBytes(benign, first))).read()
  return { answer: answer!, request: world.upstream.requests[seen] }
}

describe.each(Object.entries(groups))('%s', (_, cases) => {
  test.each(cases)('$what', async (benign) => {
    const { answer, request } = await send(benign)

    expect(statusOf(answer)).toBe(200)
    expect(request?.startLine).toBe(
      `${benign.method ?? 'GET'} ${(benign.target ?? '/api/x').replace('/api', '/v1')} HTTP/1.1`,
    )
    expect(request?.body.toString('latin1')).toBe(benign.body ?? '')
    const sent = (benign.lines ?? []).map(
      (line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as const,
    )
    for (const [name] of sent) {
      if (name.toLowerCase() === 'content-length') continue
      const values = sent.filter(([one]) => one.toLowerCase() === name.toLowerCase()).map(([, value]) => value)
      expect(valuesOf(request!, name.toLowerCase()), name).toEqual(values)
    }
    // The order of a client's own fields is kept.
    const names = new Set(sent.map(([name]) => name.toLowerCase()))
    const order = request!.fields
      .map(([name]) => name)
      .filter((name) => names.has(name.toLowerCase()) && !/^(?:content-length|traceparent)$/i.test(name))
    expect(order).toEqual(sent.map(([name]) => name).filter((name) => !/^(?:content-length|traceparent)$/i.test(name)))
  })
})

describe('cookies', () => {
  test.each(cookies)('%s arrives as it was sent', async (cookie) => {
    const { answer, request } = await send({ what: cookie }, `${cookie}; `)

    expect(statusOf(answer)).toBe(200)
    expect(valuesOf(request!, 'cookie')).toEqual([
      cookie
        .split(';')
        .map((piece) => piece.trim())
        .join('; '),
    ])
  })
})

test('there are at least two hundred of them', () => {
  expect(Object.values(groups).flat().length + cookies.length).toBeGreaterThanOrEqual(200)
})

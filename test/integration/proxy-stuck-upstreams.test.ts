/** Upstreams that are stuck in ways that only real sockets have, and what others notice of it. */
import { describe, expect, onTestFinished, test } from 'vitest'
import { BlackHole } from '../support/black-hole.ts'
import { ProxyApp, proxyWorld } from '../support/proxy-app.ts'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

describe('an upstream to which no connection is made', () => {
  async function behind(route: object): Promise<{ port: number; fine: RawUpstream }> {
    const hole = await BlackHole.start()
    const fine = await RawUpstream.start()
    const proxy = await ProxyApp.start({
      routes: [
        { path: '/hole', upstream: hole.url, ...route },
        { path: '/fine', upstream: fine.url },
      ],
    })
    onTestFinished(async () => {
      await proxy[Symbol.asyncDispose]()
      await fine[Symbol.asyncDispose]()
      await hole[Symbol.asyncDispose]()
    })
    return { port: proxy.port, fine }
  }

  test.each(['GET', 'POST'])(
    'a %s is a 504 after `timeout.connect`, long before the first byte is due (R52)',
    async (method) => {
      const { port } = await behind({ timeout: { connect: '100ms', firstByte: '1h' } })

      const answer = await exchange(port, `${method} /hole/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`)

      expect(statusOf(answer)).toBe(504)
      expect(answer.body.toString()).toContain('upstream_timeout')
    },
  )

  test('a client that leaves meanwhile takes its attempt along', async () => {
    const { port } = await behind({ timeout: { connect: '1h' }, maxInFlight: 1 })
    const clients = [await RawClient.connect(port), await RawClient.connect(port)]
    for (const client of clients) client.send(get('/hole/x'))
    for (const client of clients) client.socket.destroy()

    // Both places are free again: sooner or later one waits for a connection instead of being refused.
    for (let isRefused = true; isRefused;) {
      using next = await RawClient.connect(port)
      next.send(get('/hole/x'))
      expect(statusOf(await exchange(port, get('/fine/x')))).toBe(200)
      isRefused = next.answers().length > 0
    }
  })

  test('its attempts in vain open the circuit: then the answer is 503 at once (R59)', async () => {
    const { port } = await behind({ timeout: { connect: '100ms', firstByte: '1h' } })
    const post = 'POST /hole/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'
    const first = await Promise.all(Array.from({ length: 10 }, () => exchange(port, post)))

    const next = await Promise.all(Array.from({ length: 20 }, () => exchange(port, post)))

    expect(new Set(first.map(statusOf))).toEqual(new Set([504]))
    // One a second may look again.
    expect(next.map(statusOf).filter((status) => status === 503).length).toBeGreaterThan(17)
  })

  test('while all its places and its whole queue wait, another upstream answers everything (R54)', async () => {
    const { port, fine } = await behind({ timeout: { connect: '1h', firstByte: '1h' }, maxInFlight: 50 })
    const stuck = await Promise.all(Array.from({ length: 100 }, () => RawClient.connect(port)))
    onTestFinished(() => stuck.forEach((client) => client.socket.destroy()))
    for (const client of stuck) client.send(get('/hole/x'))
    // All have come in once one more is too many.
    let extra: number
    do extra = statusOf(await exchange(port, get('/fine/x')))
    while (extra !== 200)
    expect(statusOf(await exchange(port, get('/hole/x')))).toBe(503)

    const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => exchange(port, get(`/fine/${index}`))))

    expect(new Set(answers.map(statusOf))).toEqual(new Set([200]))
    expect(fine.requests).toHaveLength(201)
    expect(stuck.flatMap((client) => client.answers())).toEqual([])
  })
})

describe('a connection that the upstream closes as the next request is sent', () => {
  const post = (id: number) => `POST /api/${id} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab`

  test.each([
    ['with its answer', 'end', 0],
    ['a moment later', 'end', 1],
    ['by a reset a moment later', 'resetAndDestroy', 1],
    ['a little later', 'end', 2],
  ] as const)('%s: no POST comes twice, and what fails says so (R56)', async (_, how, afterMs) => {
    const { upstream, port } = await proxyWorld((socket) => {
      socket.write(OK)
      if (afterMs === 0) socket[how]()
      else setTimeout(() => socket[how](), afterMs - 1)
    })
    const statuses: number[] = []
    using client = await RawClient.connect(port)

    for (let id = 0; id < 300; id += 1) {
      const answers = await client.send(post(id)).read(id + 1)
      statuses.push(statusOf(answers[id]!))
    }

    const paths = upstream.requests.map(({ startLine }) => startLine)
    expect(new Set(paths).size).toBe(paths.length)
    for (const status of statuses) expect([200, 502]).toContain(status)
    // Each that arrived whole was answered; a 502 may have arrived or not.
    expect(paths.length).toBeGreaterThanOrEqual(statuses.filter((status) => status === 200).length)
    expect(statuses).toContain(200)
  })

  test('an upstream that says how long it waits is not asked over that connection afterwards (R56)', async () => {
    const { upstream, port } = await proxyWorld((socket) => {
      socket.write(OK.replace('\r\n\r\n', '\r\nKeep-Alive: timeout=1\r\n\r\n'))
    })

    for (let id = 0; id < 5; id += 1) expect(statusOf(await exchange(port, post(id)))).toBe(200)

    // A second less than it says, since an answer takes its time: nothing is left of one.
    expect(upstream.connections).toBe(5)
  })
})

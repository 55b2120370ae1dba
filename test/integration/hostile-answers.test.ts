/** Answers as a broken or hostile upstream writes them, on raw sockets: what of them a client gets, and the next one. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'
import { startWorld, type World } from '../support/world.ts'

const OK = 'HTTP/1.1 200 OK\r\n'
const WHOLE = `${OK}Content-Length: 2\r\n\r\nok`
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
const HANDSHAKE = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  `Sec-WebSocket-Key: ${KEY}`,
]

let world: World
let upstream: RawUpstream
let port: number

beforeAll(async () => {
  upstream = await RawUpstream.start()
  world = await startWorld({ config: { routes: [{ path: '/api', upstream: upstream.url, session: 'none' }] } })
  port = Number(new URL(world.gateway.address).port)
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

/** The upstream answers so, and every later request well. */
function answerWith(bytes: string): void {
  upstream.respond = (socket) => {
    upstream.respond = (next) => void next.write(WHOLE)
    socket.write(Buffer.from(bytes, 'latin1'))
  }
}

async function nextIsServed(): Promise<void> {
  const next = await exchange(port, get('/api/next'))
  expect([statusOf(next), next.body.toString()]).toEqual([200, 'ok'])
}

describe('an answer that two servers would read differently is a 502 with nothing of it (PX-10, PX-17)', () => {
  test.each([
    ['its length twice', `${OK}Content-Length: 2\r\nContent-Length: 2\r\n\r\nok`],
    ['a list of lengths', `${OK}Content-Length: 2, 2\r\n\r\nok`],
    ['chunks and a length', `${OK}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n`],
    ['chunks in chunks', `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`],
    ['a coding behind its chunks', `${OK}Transfer-Encoding: chunked, x\r\n\r\n2\r\nok\r\n0\r\n\r\n`],
    ['a field that goes on in the next line', `${OK}X-A: 1\r\n Set-Cookie: a=evil\r\nContent-Length: 2\r\n\r\nok`],
    ['lines that end by a line feed', 'HTTP/1.1 200 OK\nX-A: evil\nContent-Length: 2\n\nok'],
    ['a line without a colon', `${OK}evil\r\nContent-Length: 2\r\n\r\nok`],
    ['a space before a colon', `${OK}X-A : evil\r\nContent-Length: 2\r\n\r\nok`],
    ['a NUL in a value', `${OK}X-A: e\0vil\r\nContent-Length: 2\r\n\r\nok`],
    ['a carriage return in a value', `${OK}X-A: a\rSet-Cookie: a=evil\r\nContent-Length: 2\r\n\r\nok`],
    ['another version', 'HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['a status of four digits', 'HTTP/1.1 1000 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['a negative length', `${OK}Content-Length: -1\r\n\r\nok`],
    ['interim answers without end', `${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(500)}${WHOLE}`],
  ])('%s', async (_, bytes) => {
    answerWith(bytes)

    const answer = await exchange(port, get('/api/x'))

    expect([statusOf(answer), valuesOf(answer, 'sidegate-error')]).toEqual([502, ['upstream_unavailable']])
    expect(JSON.stringify([answer.fields, answer.body.toString()])).not.toMatch(/evil|127\.0\.0\.1/)
    await nextIsServed()
  })
})

describe('what comes behind an answer is nobody’s', () => {
  test.each([
    ['a 204', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', 204, []],
    ['a 304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', 304, ['5']],
    ['a whole one', WHOLE, 200, ['2']],
  ])('%s, and it tells no length that the next answer would pay (RFC 9110 §8.6)', async (_, bytes, status, length) => {
    answerWith(`${bytes}${OK}X-Poison: 1\r\nContent-Length: 6\r\n\r\npoison`)
    using client = await RawClient.connect(port)

    await client.send(get('/api/x')).read(1)
    const answers = await client.send(get('/api/next')).read(2)

    expect(answers.map(statusOf)).toEqual([status, 200])
    expect(valuesOf(answers[0]!, 'content-length')).toEqual(length)
    expect(client.received.toString()).not.toContain('poison')
  })

  test.each([
    ['a chunk of a negative size', `${OK}Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n`],
    ['a chunk without its end', `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nokXX0\r\n\r\n`],
  ])('%s cuts it off', async (_, bytes) => {
    answerWith(bytes)
    using client = await RawClient.connect(port)

    await client.send(get('/api/x')).closed()

    expect(client.answers().filter(({ isComplete }) => isComplete)).toEqual([])
    await nextIsServed()
  })
})

describe('fields of an answer', () => {
  test('no spelling of our cookies comes back, and those of others do (PX-16)', async () => {
    const name = '__Host-Http-sidegate'
    const ours = [
      `${name}=evil; Path=/; Secure`,
      name,
      `=${name}=evil`,
      `${name} =evil`,
      `"${name}"=evil`,
      `\u00a0${name}=evil`,
      `\u0085${name}=evil`,
      `\u00c2\u00a0${name}=evil`,
      `\t${name}=evil`,
      `a=b, ${name}=evil`,
      `${name.toUpperCase()}=evil`,
      `__host_http_sidegate=evil`,
      `__Host-Http-sidegat%65=evil`,
      '__Secure-sidegate-tx-abc=evil',
      '__Secure-sidegate-current=evil',
    ]
    const lines = [...ours, 'cart=1; Path=/', 'sidegate_theme=dark'].map((cookie) => `Set-Cookie: ${cookie}\r\n`)
    answerWith(`${OK}${lines.join('')}Content-Length: 2\r\n\r\nok`)

    const answer = await exchange(port, get('/api/x'))

    expect(valuesOf(answer, 'set-cookie')).toEqual(['cart=1; Path=/', 'sidegate_theme=dark'])
  })

  test('what would speak for the gateway, the connection or the whole origin stays here', async () => {
    const names = [
      ...[
        'Sidegate-Error',
        'SERVER',
        'Clear-Site-Data',
        'Alt-Svc',
        'NEL',
        'Keep-Alive',
        'Upgrade',
        'Proxy-Authenticate',
      ],
      ...[
        'Access-Control-Allow-Origin',
        'Access-Control-Allow-Private-Network',
        'Trailer',
        'Proxy-Connection',
        'X-Named',
      ],
    ]
    const lines = names.map((name) => `${name}: evil\r\n`).join('')
    answerWith(
      `${OK}${lines}Connection: x-named, x-content-type-options, content-length\r\nX-Content-Type-Options: off\r\nX-Own: kept\r\nContent-Length: 2\r\n\r\nok`,
    )

    const answer = await exchange(port, get('/api/x'))

    expect(answer.body.toString()).toBe('ok')
    expect(answer.fields.filter(([, value]) => value === 'evil')).toEqual([])
    expect(valuesOf(answer, 'x-own')).toEqual(['kept'])
    expect(valuesOf(answer, 'x-content-type-options')).toEqual(['nosniff'])
  })

  test('cookies among the trailers reach nobody', async () => {
    answerWith(
      `${OK}Transfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: a=evil\r\n\r\n`,
    )
    using client = await RawClient.connect(port)

    const [answer] = await client.send(get('/api/x')).read()

    expect(answer?.body.toString()).toBe('ok')
    expect(client.received.toString()).not.toContain('evil')
  })
})

describe('an answer to a handshake', () => {
  test.each([
    ['without Upgrade', `HTTP/1.1 101 S\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`],
    [
      'to another key',
      'HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
    ],
    ['with no key', 'HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ])('%s is a 502', async (_, bytes) => {
    answerWith(bytes)

    expect(statusOf(await exchange(port, get('/api/x', ...HANDSHAKE)))).toBe(502)
    await nextIsServed()
  })

  test('that accepts it loses what is ours, and its length is no length', async () => {
    const head = `HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n`
    answerWith(
      `${head}Content-Length: 3\r\nSet-Cookie: __Host-Http-sidegate=evil\r\nSidegate-Error: evil\r\n\r\n\u0081\u0001a`,
    )
    using client = await RawClient.connect(port)

    client.send(get('/api/x', ...HANDSHAKE))
    await client.until(() => client.received.includes('\u0001a', 0, 'latin1'))

    const text = client.received.toString('latin1')
    expect(text).toMatch(/^HTTP\/1\.1 101 /)
    expect(text).not.toMatch(/evil|content-length/i)
    expect(text.endsWith('\r\n\r\n\u0081\u0001a')).toBe(true)
  })

  test('that refuses it is handed on, and joins nothing', async () => {
    answerWith('HTTP/1.1 426 No\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok')

    const answer = await exchange(port, get('/api/x', ...HANDSHAKE))

    expect([statusOf(answer), answer.body.toString()]).toEqual([426, 'ok'])
    await nextIsServed()
  })
})

/**
 * Requests as attackers wrote them, on raw sockets against a whole gateway: each has the one answer that it gets, and
 * what its upstream then holds. Where several routes lead to one upstream, the way in must decide about the rules.
 */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf } from '../support/raw-http.ts'
import type { RawMessage } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'
import { startWorld, type World } from '../support/world.ts'

const COOKIE = '__Host-Http-sidegate'
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const WEBSOCKET = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

let world: World
let upstream: RawUpstream
let session: string
let host: string
let port: number
let cases = 0
const refused = new Set<string>()

beforeAll(async () => {
  upstream = await RawUpstream.start(answer)
  upstream.answersWhole = true
  const { url } = upstream
  world = await startWorld({
    config: {
      routes: [
        { path: '/api/public', upstream: url, rewrite: '/v1/public', session: 'none' },
        { path: '/api/Staff', upstream: url, rewrite: '/v1/staff', allow: { groups: ['staff'] } },
        {
          path: '/api',
          upstream: url,
          rewrite: '/v1',
          identityHeaders: { 'X-Person': 'sub', 'X-Per.Son-Mail': 'email' },
        },
        { path: '/top', upstream: url, rewrite: '/', session: 'none' },
        { path: '/ws', upstream: url, rewrite: '/w' },
        { path: '/plain', upstream: url, rewrite: '/p', websocket: false },
        { path: '/', upstream: url, session: 'none' },
      ],
    },
  })
  host = new URL(world.url).host
  port = Number(new URL(world.gateway.address).port)
  const { browser } = await world.signedIn()
  session = (browser.jar.header(new URL(`${world.url}/api`), 'strict') ?? '').split('=')[1] ?? ''
})
afterAll(async () => {
  // Nor did anything arrive later of what had been refused.
  const late = upstream.requests.filter(({ isComplete }) => isComplete).flatMap((one) => valuesOf(one, 'x-case'))
  expect(late.filter((mark) => refused.has(mark))).toEqual([])
  await world[Symbol.asyncDispose]()
  await upstream[Symbol.asyncDispose]()
})

function answer(socket: { write(bytes: string): unknown }, request: RawMessage): void {
  const [key = ''] = valuesOf(request, 'sec-websocket-key')
  if (valuesOf(request, 'upgrade').length === 0) {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    return
  }
  const accept = createHash('sha1')
    .update(key + GUID)
    .digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
}

interface Hostile {
  readonly line: string
  /** Lines behind Host, instead of session and proof; `{SID}` and `{HOST}` stand for what they say. */
  readonly lines?: readonly string[]
  readonly body?: string
  readonly version?: string
}

/** Its answer, and what came of it at the upstream. */
async function send({ line, lines, body = '', version = 'HTTP/1.1' }: Hostile) {
  const mark = `case-${(cases += 1)}`
  const fields = lines ?? [`Cookie: ${COOKIE}={SID}`, 'X-CSRF: 1']
  const first = fields.some((field) => field.toLowerCase().startsWith('host:')) ? [] : [`Host: ${host}`]
  const head = [`${line} ${version}`, ...first, `X-Case: ${mark}`, ...fields, '', ''].join('\r\n')
  using client = await RawClient.connect(port)
  const [got] = await client.send((head + body).replaceAll('{SID}', session).replaceAll('{HOST}', host)).read()
  if (!got) throw new Error('the connection closed without an answer')
  const sent = upstream.requests.filter((request) => valuesOf(request, 'x-case')[0] === mark)
  const status = statusOf(got)
  if (status >= 400) refused.add(mark)
  return { status, code: valuesOf(got, 'sidegate-error')[0], sent }
}

const signedIn = (...more: string[]) => [`Cookie: ${COOKIE}={SID}`, 'X-CSRF: 1', ...more]
const anonymous: string[] = []

/** What holds for whatever arrives. */
function judgeSent(sent: readonly RawMessage[]): void {
  for (const request of sent) {
    const path = request.startLine.split(' ')[1] ?? ''
    const isOpen = !/^\/(?:v1(?!\/public)|w|p)(?:\/|$)/.test(path)
    expect(valuesOf(request, 'authorization')).toHaveLength(isOpen ? 0 : 1)
    expect(JSON.stringify(request.fields)).not.toContain(session)
    expect(request.fields.filter(([, value]) => value.includes('evil'))).toEqual([])
  }
}

describe('a path that the upstream could read as another route’s is refused (PX-02)', () => {
  test.each([
    ['in another case', 'GET /api/STAFF/x', undefined],
    ['in lower case, where the route has capitals', 'GET /api/staff/x', undefined],
    ['in another case and encoded', 'GET /api/%53taff/x', undefined],
    ['with a question mark that a server decodes first', 'GET /api/Staff%3Fx', undefined],
    ['with a number sign that a server decodes first', 'GET /api/Staff%23x', undefined],
    ['the same from a route that asks for nobody', 'GET /api%3Fx', anonymous],
    ['the same for our own endpoints', 'GET /bff%3fx', anonymous],
    ['with a space that Windows drops', 'GET /api/Staff%20/x', undefined],
    ['with a dot that Windows drops', 'GET /api/Staff./x', undefined],
    ['with a dot at the end', 'GET /api.', anonymous],
    [
      'out of an open route over full-width slashes',
      'GET /api/public/x%EF%BC%8F..%EF%BC%8F..%EF%BC%8FStaff',
      anonymous,
    ],
    ['out of it over full-width backslashes', 'GET /api/public/x%EF%BC%BC..%EF%BC%BC..%EF%BC%BCStaff', anonymous],
    ['out of it over division slashes', 'GET /api/public/x%E2%88%95..%E2%88%95..%E2%88%95Staff', anonymous],
    ['out of it over fraction slashes', 'GET /api/public/x%E2%81%84..%E2%81%84..%E2%81%84Staff', anonymous],
    ['out of it with no-break spaces beside the dots', 'GET /api/public/..%C2%A0/Staff', anonymous],
    ['out of it with a space between the dots', 'GET /api/public/.%20./Staff', anonymous],
    ['with parameters in front of our endpoints', 'GET /bff;x/session', anonymous],
    ['with the slash of our endpoints encoded', 'GET /bff%2fsession', anonymous],
    ['as a host, where the prefix is left out', 'GET /top//evil.example/x', anonymous],
    ['as a host behind an encoded slash', 'GET /top/%2fevil.example/x', anonymous],
    ['as a host behind an encoded backslash', 'GET /top/%5cevil.example/x', anonymous],
    ['as a host behind a doubly encoded slash', 'GET /top/%252fevil.example/x', anonymous],
  ])('%s: %s', async (_, line, lines) => {
    const { status, code, sent } = await send({ line, ...(lines && { lines }) })

    expect({ status, code }).toEqual({ status: 400, code: 'invalid_request' })
    expect(sent).toEqual([])
  })

  test.each([
    ['GET /api/ORDERS/Staff', '/v1/ORDERS/Staff'],
    ['GET /api/a%3Fb%23c', '/v1/a%3Fb%23c'],
    ['GET /api/v1./x', '/v1/v1./x'],
    ['GET /api/1%E2%81%842', '/v1/1%E2%81%842'],
    ['GET /API/x', '/API/x'],
    ['GET /top/http://x.example/y', '/http://x.example/y'],
  ])('one that is odd and nobody else’s passes: %s', async (line, path) => {
    const { status, sent } = await send({ line })

    expect(status).toBe(200)
    expect(sent.map(({ startLine }) => startLine)).toEqual([`GET ${path} HTTP/1.1`])
    judgeSent(sent)
  })
})

describe('a request line', () => {
  test.each([
    ['of a protocol that is not HTTP', { line: 'GET /api/x', version: 'RTSP/1.0' }, 400],
    ['of another that is not', { line: 'SOURCE /api/x', version: 'ICE/1.0' }, 400],
    ['of a version that does not exist', { line: 'GET /api/x', version: 'HTTP/1.2' }, 400],
    ['with a tab for a space', { line: 'GET\t/api/x' }, 400],
    ['with another scheme', { line: 'GET ws://{HOST}/api/x' }, 400],
    ['with one slash behind the scheme', { line: 'GET http:/api/x' }, 400],
    ['with backslashes behind the scheme', { line: 'GET http:\\\\{HOST}/api/x' }, 400],
    ['with user information', { line: 'GET http://a@{HOST}/api/x' }, 400],
    ['with two slashes behind our authority', { line: 'GET http://{HOST}//evil.example/x' }, 400],
    ['with a dot behind our host', { line: 'GET http://localhost.:1/api/x' }, 421],
    ['with an asterisk', { line: 'OPTIONS *' }, 400],
  ])('%s is refused', async (_, hostile, expected) => {
    const { status, sent } = await send(hostile)

    expect(status).toBe(expected)
    expect(sent).toEqual([])
  })

  test.each([
    ['GET http://{HOST}/api/x?a=b', '/v1/x?a=b'],
    ['GET HTTPS://{HOST}/api/x', '/v1/x'],
    ['GET http://{HOST}/api', '/v1'],
  ])('in absolute form of our own authority is served like its path (RFC 9112 §3.2.2): %s', async (line, target) => {
    const { status, sent } = await send({ line })

    expect(status).toBe(200)
    expect(sent.map(({ startLine }) => startLine)).toEqual([`GET ${target} HTTP/1.1`])
    judgeSent(sent)
  })

  test('so are our own endpoints', async () => {
    expect(await send({ line: 'GET http://{HOST}/bff/session' })).toMatchObject({ status: 200, sent: [] })
  })
})

describe('Host and framing', () => {
  test.each([
    ['two hosts', { lines: signedIn('host: evil.example', 'Host: {HOST}') }],
    ['two hosts in one field', { lines: signedIn('Host: {HOST}, evil.example') }],
    ['an empty host', { lines: signedIn('Host:') }],
    ['a host with a path', { lines: signedIn('Host: {HOST}/evil') }],
    ['a host with a zone', { lines: signedIn('Host: [fe80::1%25lo]') }],
    ['a port that does not exist', { lines: signedIn('Host: localhost:99999') }],
    ['a coding behind a comma', { lines: signedIn('Transfer-Encoding: chunked,'), body: '0\r\n\r\n' }],
    ['a coding with a no-break space', { lines: signedIn('Transfer-Encoding: chunked\u00a0'), body: '0\r\n\r\n' }],
    ['a coding that begins with x', { lines: signedIn('Transfer-Encoding: xchunked'), body: '0\r\n\r\n' }],
    ['a length with a sign', { lines: signedIn('Content-Length: +2'), body: 'ok' }],
    ['a length in hexadecimal', { lines: signedIn('Content-Length: 0x2'), body: 'ok' }],
    ['a length said twice', { lines: signedIn('Content-Length: 2, 2'), body: 'ok' }],
    ['a length with a space', { lines: signedIn('Content-Length: 2 2'), body: 'ok' }],
    ['a field that goes on in the next line', { lines: signedIn('X-A: 1\r\n Authorization: evil') }],
    ['a carriage return in a value', { lines: signedIn('X-A: a\rAuthorization: evil') }],
    ['a vertical tab in a value', { lines: signedIn('X-A: a\u000bb') }],
    ['a name that is no ASCII', { lines: signedIn('X-\u00e9: 1') }],
    ['an expectation that nobody knows', { lines: signedIn('Expect: 200-ok', 'Content-Length: 2'), body: 'ok' }],
  ])('%s is refused', async (_, hostile: Omit<Hostile, 'line'>) => {
    expect(await send({ line: 'POST /api/x', ...hostile })).toEqual({
      status: 400,
      code: 'invalid_request',
      sent: [],
    })
  })

  test.each([
    ['a quoted line end in a chunk extension', '2;a="\r\n";x=y\r\nok\r\n0\r\n\r\n'],
    ['a space behind a chunk size', '2 \r\nok\r\n0\r\n\r\n'],
    ['a chunk size with a prefix', '0x2\r\nok\r\n0\r\n\r\n'],
    ['chunks ended by line feeds', '2\nok\n0\n\n'],
    ['more in a chunk than its size', '2\r\nokXX0\r\n\r\n'],
    ['a length among the trailers', '2\r\nok\r\n0\r\nContent-Length: 99\r\n\r\n'],
  ])('%s is refused, and no upstream gets a whole request', async (_, body) => {
    const { status, sent } = await send({
      line: 'POST /api/x',
      lines: signedIn('Transfer-Encoding: chunked'),
      body,
    })

    expect(status).toBe(400)
    expect(sent.filter(({ isComplete }) => isComplete)).toEqual([])
  })

  test.each([
    ['a length in a field with an underscore', ['Content_Length: 99', 'Content-Length: 2'], 'ok'],
    ['a coding in a field with an underscore', ['Transfer_Encoding: chunked', 'Content-Length: 2'], 'ok'],
    ['an extension of a chunk', ['Transfer-Encoding: chunked'], '2;a=b\r\nok\r\n0\r\n\r\n'],
    ['credentials among the trailers', ['Transfer-Encoding: chunked'], '2\r\nok\r\n0\r\nAuthorization: evil\r\n\r\n'],
  ])('%s means nothing: the upstream gets the body that was judged', async (_, lines, body) => {
    const { status, sent } = await send({ line: 'POST /api/x', lines: signedIn(...lines), body })

    expect(status).toBe(200)
    expect(sent.map((request) => request.body.toString())).toEqual(['ok'])
    expect(sent[0]?.fields.filter(([, value]) => value === '99')).toEqual([])
    judgeSent(sent)
  })

  test('a body that looks like a request is one body, for GET and for HEAD', async () => {
    const body = 'GET /v1/staff HTTP/1.1\r\n\r\n'
    const lines = signedIn(`Content-Length: ${body.length}`)

    const { sent } = await send({ line: 'GET /api/x', lines, body })

    expect(sent.map((request) => request.body.toString())).toEqual([body])
    using client = await RawClient.connect(port)
    const head = ['HEAD /api/x HTTP/1.1', `Host: ${host}`, ...lines, '', ''].join('\r\n').replaceAll('{SID}', session)
    await client.send(head + body).read(1, { isHead: true })
    const lineOf = (request: RawMessage): string => request.startLine
    expect(upstream.requests.map(lineOf).filter((one) => /^HEAD|staff/.test(one))).toEqual(['HEAD /v1/x HTTP/1.1'])
  })
})

describe('fields that claim something (PX-06, PX-09)', () => {
  test.each([
    ...[
      'X-Person',
      'X_Person',
      'x.person',
      'HTTP_X_PERSON',
      'X~Person',
      'X!Person',
      'X+Person',
      "X'Person",
      'X|Person',
    ],
    ...['X-Per-Son-Mail', 'x_per_son_mail', 'X.Per.Son.Mail'],
    ...['Client-Cert', 'Client-Cert-Chain', 'X-Amzn-Mtls-Clientcert', 'X-ARR-ClientCert', 'Tailscale-User-Login'],
    ...['X-Consumer-Username', 'X-Authenticated-Userid', 'X-Endpoint-API-UserInfo', 'X-JWT-Assertion', 'SM_USER'],
    ...['X-Forwarded', 'Forwarded-For', 'Client-IP', 'X-Originating-IP', 'X-Remote-Addr', 'X-Original-Forwarded-For'],
    ...['X-Host', 'X-HTTP-Host-Override', 'X-Envoy-Original-Path', 'x_http_method_override', 'X-Rewrite.URL'],
    ...[
      'Authorization',
      'HTTP_AUTHORIZATION',
      'Proxy_Authorization',
      'DPoP',
      'X-Request-Id',
      'HTTP_VIA',
      'HTTP_COOKIE',
    ],
  ])('%s of a client stays here, on the route that has it and on every other', async (name) => {
    for (const line of ['GET /api/x', 'GET /api/public/x']) {
      const { status, sent } = await send({ line, lines: signedIn(`${name}: evil`) })

      expect(status).toBe(200)
      expect(sent).toHaveLength(1)
      expect(sent[0]?.fields.filter(([, value]) => value === 'evil')).toEqual([])
    }
  })

  test('Connection takes away nothing that the gateway says', async () => {
    const names = 'authorization, x-person, x-forwarded-for, x-request-id, via, host, traceparent, x-own'
    const { sent } = await send({
      line: 'GET /api/x',
      lines: signedIn('Connection: keep-alive', `Connection: ${names}`, 'X-Own: evil'),
    })

    judgeSent(sent)
    for (const name of ['x-person', 'x-forwarded-for', 'x-request-id', 'via', 'host', 'traceparent']) {
      expect(valuesOf(sent[0]!, name), name).toHaveLength(1)
    }
  })

  test('names that JavaScript knows are names like others', async () => {
    const { status, sent } = await send({
      line: 'GET /api/x',
      lines: signedIn('__proto__: a', 'constructor: b', 'toString: c', 'hasOwnProperty: d'),
    })

    expect(status).toBe(200)
    for (const name of ['__proto__', 'constructor', 'tostring', 'hasownproperty']) {
      expect(valuesOf(sent[0]!, name)).toHaveLength(1)
    }
  })

  test.each([
    ['Origin twice', ['Origin: {ORIGIN}', 'Origin: https://evil.example']],
    ['Sec-Fetch-Site twice', ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Site: cross-site']],
  ])('%s counts for nobody (CS-01)', async (_, lines) => {
    const fields = [`Cookie: ${COOKIE}={SID}`, ...lines.map((line) => line.replace('{ORIGIN}', world.url))]

    expect(await send({ line: 'GET /api/x', lines: fields })).toMatchObject({ status: 403, sent: [] })
  })
})

describe('the session cookie', () => {
  test.each([
    // A sibling host may set cookies so named; browsers see no `__Host-` in front of them.
    ['behind a no-break space', `\u00a0${COOKIE}={SID}`],
    ['before a no-break space', `${COOKIE}\u00a0={SID}`],
    ['behind another control of Latin-1', `\u0085${COOKIE}={SID}`],
    ['with a no-break space behind its value', `${COOKIE}={SID}\u00a0`],
    ['in quotes', `${COOKIE}="{SID}"`],
    ['in lower case', `${COOKIE.toLowerCase()}={SID}`],
    ['without its name', `={SID}`],
    ['as a nameless cookie', `=${COOKIE}={SID}`],
    ['behind a comma', `a=b, ${COOKIE}={SID}`],
    ['with its name percent-encoded', `__Host-Http-sidegat%65={SID}`],
    ['with underscores', `${COOKIE.replaceAll('-', '_')}={SID}`],
    ['twice', `${COOKIE}={SID}; ${COOKIE}={SID}`],
  ])('%s is none (SC-03, SC-05)', async (_, cookie) => {
    expect(await send({ line: 'GET /api/x', lines: [`Cookie: ${cookie}`, 'X-CSRF: 1'] })).toEqual({
      status: 401,
      code: 'login_required',
      sent: [],
    })
  })

  test.each([
    ['among the attributes of an old standard', `$Version=1; ${COOKIE}={SID}; $Path=/`, ['$Version=1; $Path=/']],
    ['between quotes of others', `a="x; ${COOKIE}={SID}; y"`, ['a="x; y"']],
    ['behind a tab', `a=b;\t${COOKIE}={SID}`, ['a=b']],
    ['in a field of its own', `a=1\r\nCookie: ${COOKIE}={SID}\r\ncookie: b=2`, ['a=1', 'b=2']],
  ])('%s counts, and goes no further (PX-04)', async (_, cookie, kept) => {
    const { status, sent } = await send({ line: 'GET /api/x', lines: [`Cookie: ${cookie}`, 'X-CSRF: 1'] })

    expect(status).toBe(200)
    expect(valuesOf(sent[0]!, 'cookie')).toEqual(kept)
    judgeSent(sent)
  })

  test.each([
    [`={SID}; x${COOKIE}={SID}`, ['={SID}', `x${COOKIE}={SID}`].join('; ')],
    [`a=b\u00a0`, `a=b\u00a0`],
    [`a=b, ${COOKIE}={SID}; c=d`, 'c=d'],
    [`${COOKIE}="{SID}"; c=d`, 'c=d'],
    [`\u00a0${COOKIE}={SID}; c=d`, 'c=d'],
    [`__Host-Http-sidegat%2565={SID}; c=d`, 'c=d'],
  ])('on a route that asks for nobody, too, every spelling of it stays here: %s (PX-04)', async (cookie, kept) => {
    const { sent } = await send({ line: 'GET /api/public/x', lines: [`Cookie: ${cookie}`] })

    expect(valuesOf(sent[0]!, 'cookie')).toEqual([kept.replaceAll('{SID}', session).trim()])
  })
})

describe('an upgrade', () => {
  test.each([
    ['to a route without WebSockets', 'GET /plain/x', WEBSOCKET, 400],
    ['with another method and a body', 'POST /ws/x', [...WEBSOCKET, 'Content-Length: 2'], 400],
    ['with a body in chunks', 'GET /ws/x', [...WEBSOCKET, 'Transfer-Encoding: chunked'], 400],
    ['with two keys', 'GET /ws/x', [...WEBSOCKET, 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='], 400],
    ['with a choice of versions', 'GET /ws/x', [...WEBSOCKET, 'Sec-WebSocket-Version: 8'], 400],
    ['whose key belongs to the connection', 'GET /ws/x', [...WEBSOCKET, 'Connection: Sec-WebSocket-Key'], 400],
    ['in absolute form', 'GET http://{HOST}/ws/x', WEBSOCKET, 400],
    ['without a session', 'GET /ws/x', ['Cookie: a=b', ...WEBSOCKET], 401],
    ['of our own endpoint that takes a body', 'POST /bff/logout?local=true', [...WEBSOCKET, 'Content-Length: 2'], 415],
  ])('%s is refused', async (_, line, lines, expected) => {
    const fields = lines[0]?.startsWith('Cookie') ? lines : signedIn(...lines)
    const { status, sent } = await send({ line, lines: fields, body: 'ok' })

    expect(status).toBe(expected)
    expect(sent).toEqual([])
  })

  test.each([
    [
      'to HTTP/2 with its settings',
      ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'],
    ],
    ['to TLS', ['Connection: Upgrade', 'Upgrade: TLS/1.2']],
    ['to a tunnel', ['Connection: Upgrade', 'Upgrade: connect-udp']],
    ['that no Connection asks for', WEBSOCKET.slice(1)],
  ])('%s is the request that it is without', async (_, lines) => {
    const { status, sent } = await send({ line: 'GET /api/x', lines: signedIn(...lines) })

    expect(status).toBe(200)
    for (const name of ['upgrade', 'http2-settings']) expect(valuesOf(sent[0]!, name)).toEqual([])
    judgeSent(sent)
  })

  test.each([
    ['with another protocol behind it', ['Connection: Upgrade', 'Upgrade: websocket, h2c', ...WEBSOCKET.slice(2)]],
    ['with close beside it', ['Connection: close, Upgrade', ...WEBSOCKET.slice(1)]],
    ['with an expectation', [...WEBSOCKET, 'Expect: 100-continue']],
  ])('to a WebSocket %s is one', async (_, lines) => {
    const { status, sent } = await send({ line: 'GET /ws/x', lines: signedIn(...lines) })

    expect(status).toBe(101)
    expect(valuesOf(sent[0]!, 'upgrade')).toEqual(['websocket'])
    for (const name of ['expect', 'http2-settings']) expect(valuesOf(sent[0]!, name)).toEqual([])
  })
})

test('a doubled space is seen behind a request that waited for 100 Continue, too (PX-10)', async () => {
  using client = await RawClient.connect(port)
  client.send(`POST /top/a HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`)
  await client.until(() => client.received.includes('100 Continue'))
  client.send('body')
  // The interim answer, and the answer.
  await client.read(2)
  client.send(`GET  /top/b HTTP/1.1\r\nHost: ${host}\r\n\r\n`)

  expect((await client.read(3)).map(statusOf)).toEqual([100, 200, 400])
})

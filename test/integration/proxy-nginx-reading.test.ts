/**
 * The bytes that an upstream gets, read by nginx: a request must mean the same to it as to the gateway, or the path
 * that was judged is not the one that is served.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { benignBytes, benignGroups } from '../support/benign-requests.ts'
import { hostileBytes, hostileRequests } from '../support/hostile-requests.ts'
import { LOCATION, NginxReader, PATH } from '../support/nginx-reader.ts'
import { RawClient } from '../support/raw-client.ts'
import { statusOf, valuesOf, type RawMessage } from '../support/raw-http.ts'
import { RawUpstream } from '../support/upstream.ts'
import { startWorld, type World } from '../support/world.ts'

let world: World
let nginx: NginxReader
/** One for each route, so that it is known which route a request was taken for. */
let upstreams: { readonly open: RawUpstream; readonly api: RawUpstream }
let cookie: string
let port: number

/** An upstream that gets each request on a connection of its own: what came over one are the bytes of one request. */
async function oneByOne(): Promise<RawUpstream> {
  const upstream = await RawUpstream.start(
    (socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'),
  )
  upstream.answersWhole = true
  return upstream
}

beforeAll(async () => {
  upstreams = { open: await oneByOne(), api: await oneByOne() }
  world = await startWorld({
    config: {
      routes: [
        { path: '/api/public', upstream: upstreams.open.url, rewrite: '/v1/public', session: 'none' },
        { path: '/api', upstream: upstreams.api.url, rewrite: '/v1' },
      ],
    },
  })
  port = Number(new URL(world.gateway.address).port)
  nginx = await NginxReader.start({ open: '/v1/public', api: '/v1' })
  const { browser } = await world.signedIn()
  cookie = browser.jar.header(new URL(`${world.url}/api`), 'strict') ?? ''
})
afterAll(async () => {
  await nginx[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
  for (const upstream of Object.values(upstreams)) await upstream[Symbol.asyncDispose]()
})

/** What reached an upstream of these bytes: the route, the request as our parser reads it, and its bytes. */
async function forwarded(bytes: string): Promise<{ route: string; request: RawMessage; sent: Buffer } | undefined> {
  const seen = { open: upstreams.open.connections, api: upstreams.api.connections }
  using client = await RawClient.connect(port)
  const [answer] = await client.send(bytes).read(1, { isHead: bytes.startsWith('HEAD') })
  if (answer === undefined || statusOf(answer) !== 200) return undefined
  for (const route of ['open', 'api'] as const) {
    const upstream = upstreams[route]
    const sent = upstream.received[seen[route]]
    const request = upstream.requests[seen[route]]
    if (sent && request) return { route, request, sent }
  }
  return undefined
}

/** What nginx must read out of it. */
async function compare({ route, request, sent }: { route: string; request: RawMessage; sent: Buffer }): Promise<void> {
  const [method = '', target = ''] = request.startLine.split(' ')
  const reading = await nginx.read(sent, method === 'HEAD')

  expect(reading.status, sent.toString('latin1')).toBe(200)
  expect(reading.requests).toHaveLength(1)
  const read = reading.requests[0]!
  expect(read.startLine).toBe(request.startLine)
  expect(valuesOf(read, LOCATION)).toEqual([route])
  // nginx joins slashes, decoded ones too; the route must be the same all the same, as above.
  const [path = ''] = target.split('?')
  const decoded = decodeURIComponent(path).replace(/\/{2,}/g, '/')
  expect(valuesOf(read, PATH)).toEqual([Buffer.from(decoded).toString('latin1').trim()])
  expect(fieldsOf(read)).toEqual(fieldsOf(request))
  expect(read.body.toString('latin1')).toBe(request.body.toString('latin1'))
}

/** Without those that belong to a connection, of which each hop has its own, and how the body is framed. */
function fieldsOf(message: RawMessage): string[] {
  const own = new Set(['connection', 'transfer-encoding', 'content-length', LOCATION, PATH])
  return message.fields
    .filter(([name]) => !own.has(name.toLowerCase()))
    .map(([name, value]) => `${name.toLowerCase()}: ${value}`)
    .toSorted()
}

const signedIn = () => ['Host: app.example', `Cookie: ${cookie}`, 'X-CSRF: 1']

test('whatever gets through means the same to nginx: method, path, route, fields and body (PX-01, PX-02, PX-06)', async () => {
  let compared = 0
  await fc.assert(
    fc.asyncProperty(hostileRequests, fc.boolean(), async (hostile, isSignedIn) => {
      const sent = await forwarded(hostileBytes(hostile, isSignedIn ? signedIn() : ['Host: app.example']))
      if (!sent) return
      compared += 1
      await compare(sent)
    }),
    { numRuns: 1_500 },
  )
  expect(compared).toBeGreaterThan(30)
}, 60_000)

test('what real clients send means the same to nginx, byte for byte', async () => {
  let compared = 0
  for (const benign of Object.values(benignGroups).flat()) {
    const first = benign.lines?.some((line) => line.startsWith('Sec-Fetch-Site')) ? signedIn().slice(0, 2) : signedIn()
    const sent = await forwarded(benignBytes(benign, first))
    if (!sent) continue
    compared += 1
    await compare(sent)
  }
  expect(compared).toBeGreaterThan(200)
}, 60_000)

test('a body means the same to nginx however a client frames it: chunks of every size, extensions, trailers (PX-10)', async () => {
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    maxLength: 300,
  })
  // Pieces that look like framing or like another request, too.
  const piece = fc.oneof(text, fc.constantFrom('0\r\n\r\n', '\r\n', 'GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n', '5\r\n'))
  const chunk = fc.tuple(piece, fc.constantFrom('', ';a=b', ';x', ';q="5"'))
  const trailers = fc.constantFrom('', 'X-Late: 1\r\n', 'Authorization: evil\r\nX-Late: 2\r\n')
  let compared = 0
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { maxLength: 6 }), trailers, fc.boolean(), async (chunks, late, isChunked) => {
      const body = chunks.map(([bytes]) => bytes).join('')
      const framed = chunks
        .filter(([bytes]) => bytes !== '')
        .map(([bytes, extension]) => `${bytes.length.toString(16)}${extension}\r\n${bytes}\r\n`)
        .join('')
      const framing = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
      const head = ['POST /api/x HTTP/1.1', ...signedIn(), framing, '', ''].join('\r\n')

      const sent = await forwarded(head + (isChunked ? `${framed}0\r\n${late}\r\n` : body))

      expect(sent?.request.body.toString('latin1')).toBe(body)
      expect(JSON.stringify(sent?.request.fields)).not.toMatch(/evil|late/i)
      await compare(sent!)
      compared += 1
    }),
    { numRuns: 80 },
  )
  expect(compared).toBeGreaterThan(50)
}, 60_000)

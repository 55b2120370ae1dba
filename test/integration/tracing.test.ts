/** Traces, from a request to what a collector gets of it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, onTestFinished, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { loadTracing } from '../../src/telemetry/load-tracing.ts'
import { Collector, type CollectedSpan } from '../support/collector.ts'
import { RecordedLog } from '../support/oidc-client.ts'
import { startScriptedWorld } from '../support/scripted-world.ts'
import { startWorld } from '../support/world.ts'

const CALLER = { trace: '4bf92f3577b34da6a3ce929d0e0e4736', span: '00f067aa0ba902b7' }
const traceparent = (flags = '01') => `00-${CALLER.trace}-${CALLER.span}-${flags}`

/** What a process with these variables would trace by; a short delay, so that no test waits for a batch. */
async function tracing(env: Record<string, string>, log = new RecordedLog()) {
  for (const [name, value] of Object.entries({ OTEL_BSP_SCHEDULE_DELAY: '20', ...env })) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
  return await loadTracing(process.env, 'sidegate', log)
}

async function tracedWorld(env: Record<string, string> = {}, config: Record<string, unknown> = {}) {
  const collector = await Collector.start()
  const loaded = await tracing({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...env })
  const scripted = await startScriptedWorld({ config, tracing: loaded })
  onTestFinished(async () => {
    await scripted[Symbol.asyncDispose]()
    await collector[Symbol.asyncDispose]()
  })
  return { collector, scripted, world: scripted.world }
}

const serverSpan = (spans: readonly CollectedSpan[], name: string) =>
  spans.find((span) => span.kind === 2 && span.name === name)
const childrenOf = (spans: readonly CollectedSpan[], parent: CollectedSpan | undefined) =>
  spans.filter(({ parentSpanId }) => parentSpanId === parent?.spanId)
const namesOf = (spans: readonly CollectedSpan[]) => spans.map(({ name }) => name).toSorted()

test('a request is a span of its caller’s trace, with the session and the upstream below it', async () => {
  const { collector, scripted, world } = await tracedWorld({ OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment=test' })
  const tab = await scripted.visitor()
  await scripted.signIn(tab)

  await tab.fetch('/api/orders?secret=1', { headers: { traceparent: traceparent(), tracestate: 'vendor=1' } })

  const spans = await collector.until((all) => all.some(({ name }) => name === 'GET /api'))
  const request = serverSpan(spans, 'GET /api')
  expect(request).toMatchObject({
    traceId: CALLER.trace,
    parentSpanId: CALLER.span,
    attributes: {
      'http.request.method': 'GET',
      'http.route': '/api',
      'http.response.status_code': 200,
      'url.path': '/api/orders',
      'sidegate.session_ref': expect.stringMatching(/^[\w-]{16}$/),
    },
    resource: { 'service.name': 'sidegate', 'deployment.environment': 'test' },
    status: 0,
  })
  const [session, upstream] = childrenOf(spans, request).toSorted((one, two) => one.name.localeCompare(two.name))
  expect([session?.name, upstream?.name]).toEqual(['session', 'upstream /api'])
  expect(upstream).toMatchObject({ kind: 3, attributes: { 'http.response.status_code': 200 } })
  expect(world.upstream.last.headers).toMatchObject({
    traceparent: `00-${CALLER.trace}-${upstream?.spanId}-01`,
    tracestate: 'vendor=1',
  })
})

test('the calls of the provider belong to the request that needs them, and tell the provider so', async () => {
  const { collector, scripted, world } = await tracedWorld()
  const tab = await scripted.visitor()
  await scripted.signIn(tab)
  const callback = await collector.until((all) => all.some(({ name }) => name === 'GET callback'))
  expect(namesOf(childrenOf(callback, serverSpan(callback, 'GET callback')))).toEqual([
    'provider jwks',
    'provider token',
  ])

  world.clock.advance(301_000)
  await tab.fetch('/api/orders', { headers: { traceparent: traceparent() } })

  const spans = await collector.until((all) => all.some(({ traceId, kind }) => traceId === CALLER.trace && kind === 2))
  const refresh = spans.find(({ name }) => name === 'refresh')
  const [grant] = childrenOf(spans, refresh)
  expect(refresh?.traceId).toBe(CALLER.trace)
  expect(spans.find(({ spanId }) => spanId === refresh?.parentSpanId)?.name).toBe('session')
  expect(grant).toMatchObject({ name: 'provider token', kind: 3 })
  const asked = scripted.server.requests.findLast(({ endpoint }) => endpoint === 'token')
  expect(asked?.headers['traceparent']).toBe(`00-${CALLER.trace}-${grant?.spanId}-01`)
})

test('log lines of a request, of its failure and of what was done for it name the trace', async () => {
  const { collector, scripted, world } = await tracedWorld()
  const tab = await scripted.visitor()
  await scripted.signIn(tab)
  await world.upstream.close()
  world.clock.advance(301_000)

  const answer = await tab.fetch('/api/orders', { headers: { traceparent: traceparent() } })

  expect(answer.status).toBe(502)
  const { requestId } = JSON.parse(answer.text) as { requestId: string } // our own problem document
  await world.log.until(({ msg, requestId: id }) => msg === 'request' && id === requestId)
  const lines = world.log.lines().filter(({ traceId }) => traceId === CALLER.trace)
  expect(lines.map(({ msg }) => msg)).toEqual(expect.arrayContaining(['request', 'request failed']))
  expect(lines.find(({ event }) => event === 'session.refreshed')).toBeDefined()
  expect(lines.filter(({ msg }) => msg === 'request failed')).toEqual([expect.objectContaining({ requestId })])
  const spans = await collector.until((all) => all.some(({ traceId, kind }) => traceId === CALLER.trace && kind === 2))
  expect(spans.find(({ name }) => name === 'upstream /api')).toMatchObject({
    status: 2,
    attributes: { 'error.type': 'upstream_unavailable' },
  })
  expect(serverSpan(spans, 'GET /api')).toMatchObject({
    status: 2,
    attributes: { 'error.type': 'upstream_unavailable' },
  })
})

test('a trace that its caller does not record is not recorded here, and goes on', async () => {
  const { collector, scripted, world } = await tracedWorld()
  const tab = await scripted.visitor()
  await scripted.signIn(tab)

  await tab.fetch('/api/orders', { headers: { traceparent: traceparent('00') } })
  await tab.fetch('/api/orders', { headers: { traceparent: 'not-a-trace' } })

  const spans = await collector.until((all) => all.some(({ name }) => name === 'GET /api'))
  expect(spans.filter(({ traceId }) => traceId === CALLER.trace)).toEqual([])
  const [first, second] = world.upstream.requests.map(({ headers }) => headers['traceparent'])
  expect(first).toMatch(new RegExp(`^00-${CALLER.trace}-(?!${CALLER.span})[0-9a-f]{16}-00$`))
  expect(second).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
})

test('what was not traced by order of the sampler is passed on unrecorded', async () => {
  const { collector, scripted, world } = await tracedWorld({ OTEL_TRACES_SAMPLER: 'always_off' })
  const tab = await scripted.visitor()
  await scripted.signIn(tab)

  await tab.fetch('/api/orders', { headers: { traceparent: traceparent() } })

  expect(world.upstream.last.headers['traceparent']).toMatch(new RegExp(`^00-${CALLER.trace}-[0-9a-f]{16}-00$`))
  expect(collector.spans).toEqual([])
})

test('a span holds no token, query or fragment of an address, wherever it stands in it', async () => {
  const { collector, scripted } = await tracedWorld()
  const token = `eyJ${'a'.repeat(20)}.${'b'.repeat(20)}.${'c'.repeat(20)}`

  await fetch(`${scripted.url}/api/reset/${token}?code=${token}`, { headers: { traceparent: traceparent() } })

  const spans = await collector.until((all) => all.some(({ traceId }) => traceId === CALLER.trace))
  expect(spans.find(({ traceId }) => traceId === CALLER.trace)?.attributes['url.path']).toBe('/api/reset/[token]')
  expect(JSON.stringify(spans)).not.toContain(token.slice(0, 20))
})

test('a WebSocket is a span that ends with its handshake', async () => {
  const collector = await Collector.start()
  const world = await startWorld({
    tracing: await tracing({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }),
    config: ({ upstream }) => ({ routes: [{ path: '/open', upstream, session: 'none' }] }),
  })
  onTestFinished(async () => {
    await world[Symbol.asyncDispose]()
    await collector[Symbol.asyncDispose]()
  })
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/open/live`)
  onTestFinished(() => socket.terminate())
  await once(socket, 'open')

  const spans = await collector.until((all) => all.some(({ name }) => name === 'GET /open'))

  const request = serverSpan(spans, 'GET /open')
  expect(request?.attributes['http.response.status_code']).toBe(101)
  expect(childrenOf(spans, request).map(({ attributes }) => attributes['http.response.status_code'])).toEqual([101])
})

test('no secret of a login is in what the collector gets', async () => {
  const { collector, scripted, world } = await tracedWorld()
  const browser = world.browser()
  const tab = browser.newTab()
  await tab.navigate(`${world.url}/`)
  const url = await scripted.begin(tab)
  const callback = scripted.server.authorize(url)
  await tab.navigate(callback, { from: scripted.server.origin })
  await tab.fetch('/api/orders')
  const { authorization = '' } = world.upstream.last.headers

  await collector.until((all) => all.some(({ name }) => name === 'GET /api'))

  const sent = Buffer.concat(collector.bodies).toString('latin1')
  const secrets = [
    authorization.replace('Bearer ', ''),
    ...['code', 'state'].map((name) => callback.searchParams.get(name) ?? ''),
    url.searchParams.get('nonce') ?? '',
    ...browser.jar.all().map(({ value }) => value),
  ]
  expect(secrets.length).toBeGreaterThan(4)
  for (const secret of secrets) {
    expect(secret).not.toBe('')
    expect(sent).not.toContain(secret)
  }
  expect(sent).toContain('/bff/callback')
})

test('a collector that is away harms no request, is reported once, and holds up no stop', async () => {
  const log = new RecordedLog()
  const collector = await Collector.start()
  collector.status = 400
  const loaded = await tracing({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, log)
  const world = await startWorld({ tracing: loaded })
  const tab = world.browser().newTab()

  await tab.navigate(`${world.url}/`)
  await vi.waitFor(() => expect(log.lines.map(({ message }) => message)).toHaveLength(1))
  await tab.navigate(`${world.url}/`)
  collector.status = 200
  await tab.navigate(`${world.url}/`)
  await vi.waitFor(() => expect(log.lines).toHaveLength(2))
  await collector[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()

  expect(log.lines.map(({ level }) => level).slice(0, 2)).toEqual(['warn', 'info'])
})

test('without the variables no module of OpenTelemetry is loaded', async () => {
  const script = `
    import { registerHooks } from 'node:module'
    const loaded = []
    registerHooks({ resolve: (name, context, next) => (loaded.push(name), next(name, context)) })
    await import(${JSON.stringify(new URL('../../src/service.ts', import.meta.url).href)})
    const { loadTracing } = await import(${JSON.stringify(new URL('../../src/telemetry/load-tracing.ts', import.meta.url).href)})
    const count = () => loaded.filter((name) => /opentelemetry\\/(?!api)|\\/tracing\\.ts/.test(name)).length
    await loadTracing({}, 'sidegate', console)
    const before = count()
    await loadTracing({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9' }, 'sidegate', console)
    console.log(JSON.stringify({ before, after: count() > 0 }))
    process.exit()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  await once(child, 'close')

  expect(JSON.parse(out)).toEqual({ before: 0, after: true })
})

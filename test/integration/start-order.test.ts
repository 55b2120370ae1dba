/** Redis, the authorization server and the API may come after the gateway, in whatever order. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { expect, test } from 'vitest'
import { loadClientModule } from '../../src/commands/client-module.ts'
import { Config } from '../../src/config/schema.ts'
import { Service } from '../../src/service.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { Browser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startRedis } from '../support/redis.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import { LogRecorder, until } from '../support/world.ts'

type Part = 'redis' | 'server' | 'api'

const PARTS: readonly Part[] = ['redis', 'server', 'api']

/** Every subset of the parts that may be late; the last of them comes last. */
const ORDERS = Array.from({ length: 8 }, (_, mask) => PARTS.filter((_part, bit) => (mask >> bit) % 2 === 1))

async function startApi(port: number): Promise<AsyncDisposable> {
  const api = createServer((_request, response) => void response.end('[]')).listen(port, '127.0.0.1')
  await once(api, 'listening')
  return {
    [Symbol.asyncDispose]: async () => {
      api.closeAllConnections()
      api.close()
      await once(api, 'close')
    },
  }
}

/** Starts a gateway whose `late` parts are not there yet; what it says of itself, and how it serves once they are. */
async function startWithout(late: readonly Part[]) {
  await using stack = new AsyncDisposableStack()
  const ports = { gateway: await freePort(), redis: await freePort(), server: await freePort(), api: await freePort() }
  const server = stack.use(await startScriptedProvider({ port: ports.server }))
  if (late.includes('server')) await server.close()
  const begin: Record<Part, () => Promise<void>> = {
    redis: async () => void stack.use(await startRedis({ port: ports.redis })),
    server: () => (server.isListening ? Promise.resolve() : server.start()),
    api: async () => void stack.use(await startApi(ports.api)),
  }
  for (const part of PARTS) if (!late.includes(part)) await begin[part]()
  const url = `http://localhost:${ports.gateway}`
  const service = await Service.create({
    config: Config.parse({
      publicUrl: url,
      listen: { host: '127.0.0.1', port: ports.gateway },
      management: { host: '127.0.0.1', port: 0 },
      provider: {
        issuer: `http://127.0.0.1:${ports.server}`,
        clientId: server.clientId,
        clientSecret: server.clientSecrets[0],
      },
      session: { keys: [KeyRing.generateKey()] },
      store: { redis: { url: `redis://127.0.0.1:${ports.redis}` } },
      shutdown: { delay: '0s', grace: '1s' },
      routes: [{ path: '/api', upstream: `http://127.0.0.1:${ports.api}` }],
    }),
    log: createLogger({ level: 'info' }, new LogRecorder()),
    clientModule: await loadClientModule(),
  })
  const { management } = await service.listen()
  stack.defer(() => service.stop())
  const ask = async (path: string) => {
    const answer = await fetch(`${management}${path}`)
    return { status: answer.status, body: (await answer.json()) as { reasons?: string[]; degraded?: string[] } }
  }
  const isReady = async () => {
    const { status, body } = await ask('/readyz')
    return status === 200 && body.degraded === undefined
  }
  if (late.length === 0) await until(isReady)
  const before = { live: (await ask('/healthz')).status, ready: await ask('/readyz') }

  for (const part of late) await begin[part]()
  const from = performance.now()
  await until(isReady)
  const readyAfterMs = performance.now() - from

  using browser = new Browser()
  const tab = browser.newTab()
  const begun = await tab.navigate(`${url}/bff/login`, { from: 'none', follow: false })
  await tab.navigate(server.authorize(new URL(begun.headers.location ?? '')), { from: server.origin, follow: false })
  const call = await tab.fetch('/api/orders', { from: url })
  return { before, readyAfterMs, call: call.status }
}

test('in all eight orders it starts, says what it misses, and serves by itself once everything is there (R27, AS-04)', async () => {
  const found = await Promise.all(ORDERS.map(async (late) => ({ late, ...(await startWithout(late)) })))

  for (const { late, before, readyAfterMs, call } of found) {
    expect(before.live).toBe(200)
    // Only a store that was never good makes it unready; the server is missed, the API is asked when it is needed.
    if (late.includes('redis')) {
      expect(before.ready).toMatchObject({ status: 503, body: { status: 'unready', reasons: ['store'] } })
    } else {
      expect(before.ready.status).toBe(200)
      expect(before.ready.body.degraded).toEqual(late.includes('server') ? ['provider'] : undefined)
    }
    expect(call).toBe(200)
    expect(readyAfterMs).toBeLessThan(5_000)
  }
}, 60_000)

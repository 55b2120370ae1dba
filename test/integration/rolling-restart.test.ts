/** A deploy as an orchestrator does it: one instance after the other is replaced, behind a balancer, under load. */
import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { type Backend, Balancer } from '../support/balancer.ts'
import { Browser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider } from '../support/provider.ts'
import { RecordingUpstream } from '../support/recording-upstream.ts'
import { startRedis } from '../support/redis.ts'

const SESSION = '__Host-Http-sidegate'

function yaml(publicUrl: string, { port, managementPort }: Backend, places: Record<string, string>): string {
  return `publicUrl: ${publicUrl}
listen: { host: 127.0.0.1, port: ${port} }
management: { host: 127.0.0.1, port: ${managementPort} }
provider: { issuer: "${places.issuer}", clientId: ${CLIENT_ID}, clientSecret: ${CLIENT_SECRET}, scopes: [openid] }
session: { keysFile: keys, refreshMargin: 1s }
store: { redis: { url: "${places.redis}" } }
rateLimits: { login: off }
shutdown: { delay: 500ms, grace: 5s }
routes: [{ path: /api, upstream: "${places.upstream}" }]
`
}

/** Callers that each wait for an answer before they ask again, until they are told to stop. */
class Load {
  readonly statuses: number[] = []
  readonly unanswered: string[] = []
  readonly #agent = new Agent({ keepAlive: true })
  readonly #callers: Promise<void>[]
  #isRunning = true

  constructor(port: number, cookie: string, callers: number) {
    this.#callers = Array.from({ length: callers }, (_, caller) => this.#call(port, cookie, caller))
  }

  async stop(): Promise<void> {
    this.#isRunning = false
    await Promise.all(this.#callers)
    this.#agent.destroy()
  }

  async #call(port: number, cookie: string, caller: number): Promise<void> {
    let n = 0
    while (this.#isRunning) {
      n += 1
      const method = n % 4 === 0 ? 'POST' : 'GET'
      let status = await this.#ask(port, cookie, method, `/api/${caller}/${n}`)
      // A machine that has other things to do: nothing has begun, and the answer says so.
      while (status === 'overloaded') {
        await delay(100)
        status = await this.#ask(port, cookie, method, `/api/${caller}/${n}`)
      }
      if (typeof status === 'number') this.statuses.push(status)
      else this.unanswered.push(status)
      await delay(25)
    }
  }

  #ask(port: number, cookie: string, method: string, path: string): Promise<number | string> {
    const headers = { cookie, 'sec-fetch-site': 'same-origin', 'content-type': 'text/plain' }
    return new Promise((resolve) => {
      const asked = request({ host: '127.0.0.1', port, method, path, headers, agent: this.#agent }, (answer) => {
        const isShed = answer.headers['sidegate-error'] === 'overloaded'
        answer.resume().on('end', () => resolve(isShed ? 'overloaded' : (answer.statusCode ?? 0)))
        answer.on('error', (error) => resolve(`${method} ${path}: ${error.message}`))
      })
      asked.on('error', (error) => resolve(`${method} ${path}: ${error.message}`))
      asked.end(method === 'POST' ? 'a body' : undefined)
    })
  }
}

test('four instances are replaced one after the other: each request has its answer, and the session its tokens (R24, R23)', async () => {
  const port = await freePort()
  const url = `http://localhost:${port}`
  const redis = await startRedis()
  const upstream = await RecordingUpstream.start()
  // Tokens that live three seconds: refreshes are under way in every restart, and no refresh token is good twice.
  const provider = await startProvider({ redirectUris: [`${url}/bff/callback`], accessTokenSeconds: 3 })
  const backends: Backend[] = []
  for (let n = 0; n < 4; n += 1) backends.push({ port: await freePort(), managementPort: await freePort() })
  const balancer = await Balancer.start(port, backends)
  onTestFinished(async () => {
    await balancer[Symbol.asyncDispose]()
    await provider.close()
    await upstream.close()
    await redis.stop()
  })
  const places = { issuer: provider.issuer, redis: redis.url, upstream: upstream.url }
  const keys = `${KeyRing.generateKey()}\n`
  const begin = (backend: Backend) => GatewayProcess.start({ 'sidegate.yaml': yaml(url, backend, places), keys })
  const running = await Promise.all(backends.map(begin))
  await balancer.untilReady(4)
  using browser = new Browser()
  const tab = browser.newTab()
  await tab.navigate(`${url}/bff/login`, { from: 'none' })
  await tab.submit('alice')
  const cookie = `${SESSION}=${browser.jar.get(SESSION)?.value ?? ''}`

  const load = new Load(port, cookie, 4)
  const codes: (number | null)[] = []
  for (const [n, backend] of backends.entries()) {
    running[n]?.signal('SIGTERM')
    codes.push((await running[n]?.exited()) ?? null)
    running[n] = await begin(backend)
    await balancer.untilReady(4)
  }
  await load.stop()

  expect(codes).toEqual([0, 0, 0, 0])
  expect(balancer.failures).toEqual([])
  expect(load.unanswered).toEqual([])
  expect(load.statuses.filter((status) => status !== 200)).toEqual([])
  expect(load.statuses.length).toBeGreaterThan(200)
  // None was sent twice, either.
  expect(new Set(upstream.requests.map((one) => one.url)).size).toBe(upstream.requests.length)
  const refreshes = provider.tokenRequests.filter(({ grantType }) => grantType === 'refresh_token')
  expect(refreshes.length).toBeGreaterThan(2)
  expect(new Set(refreshes.map(({ status }) => status))).toEqual(new Set([200]))
}, 60_000)

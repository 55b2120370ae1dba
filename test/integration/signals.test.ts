/** The signals that operators and platforms send, to a real process. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { GatewayProcess } from '../support/gateway-process.ts'
import { freePort } from '../support/free-port.ts'
import { HeldUpstream } from '../support/held-upstream.ts'
import { until } from '../support/world.ts'

interface Running {
  readonly gateway: GatewayProcess
  readonly upstream: HeldUpstream
  readonly managementUrl: string
  /** A request that the upstream holds. */
  readonly held: Promise<string>
}

/** A gateway that would drain and wait for longer than any test, with one request in flight. */
async function start(): Promise<Running> {
  const upstream = await HeldUpstream.start()
  onTestFinished(() => upstream.close())
  const port = await freePort()
  const gateway = await GatewayProcess.start({
    'sidegate.yaml': `publicUrl: http://localhost:${port}
listen: { host: 127.0.0.1, port: ${port} }
management: { host: 127.0.0.1, port: 0 }
provider: { issuer: "http://127.0.0.1:1", clientId: shop, clientSecret: secret }
shutdown: { delay: 1h, grace: 1h }
routes: [{ path: /, upstream: "${upstream.url}", session: none }]
`,
  })
  const { management } = gateway.lines.find(({ msg }) => msg === 'listening') ?? {}
  const held = fetch(`http://127.0.0.1:${port}/held`).then(async (answer) => `${answer.status} ${await answer.text()}`)
  held.catch(() => {}) // the tests look at it later
  await upstream.arrived(1)
  return { gateway, upstream, managementUrl: String(management), held }
}

test('a second SIGTERM ends the process at once, whatever is under way (R25)', async () => {
  const { gateway, held } = await start()
  gateway.signal('SIGTERM')
  await gateway.until(({ msg }) => msg === 'draining: still serving')

  gateway.signal('SIGTERM')

  expect(await gateway.exited()).toBe(1)
  await expect(held).rejects.toThrow(TypeError)
}, 60_000)

test('SIGHUP without a change is none, however often; SIGINT ends it without the delay, and what is under way has its answer (R25)', async () => {
  const { gateway, upstream, managementUrl, held } = await start()
  const readyz = async () => (await fetch(`${managementUrl}/readyz`)).status
  for (let n = 0; n < 5; n += 1) gateway.signal('SIGHUP')
  const before = await readyz()

  gateway.signal('SIGINT')
  await until(async () => (await readyz()) === 503)
  upstream.release()

  expect([before, await held]).toEqual([200, '200 done'])
  expect(await gateway.exited()).toBe(0)
  expect(gateway.lines.filter(({ msg }) => String(msg).includes('configuration'))).toEqual([])
}, 60_000)

test('a unix socket that a killed process left behind is taken over, and one that is in use is not (R25)', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-sockets-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  const files = {
    'sidegate.yaml': `publicUrl: http://localhost:8080
listen: { socket: ${directory}/public }
management: { host: 127.0.0.1, port: 0 }
admin: { socket: ${directory}/admin, token: an-admin-token-of-a-test-that-is-long }
provider: { issuer: "http://127.0.0.1:1", clientId: shop, clientSecret: secret }
routes: [{ path: /, upstream: "http://127.0.0.1:1", session: none }]
`,
  }
  const first = await GatewayProcess.start(files)

  await expect(GatewayProcess.start(files)).rejects.toThrow('ended with 1')
  first.signal('SIGKILL')
  await first.exited()
  const next = await GatewayProcess.start(files)

  expect(next.lines.find(({ msg }) => msg === 'listening')).toMatchObject({ listen: `${directory}/public` })
}, 60_000)

/** A gateway that may open no more files and sockets: connections come faster than it can take them. */
import { expect, onTestFinished, test } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { exchange, get, RawClient } from '../support/raw-client.ts'
import { statusOf } from '../support/raw-http.ts'
import { until } from '../support/world.ts'

test('out of descriptors it refuses new connections, serves those that it has, and takes new ones when some are free (R64)', async () => {
  const [port, managementPort] = [await freePort(), await freePort()]
  const config = {
    publicUrl: `http://localhost:${port}`,
    listen: { host: '127.0.0.1', port },
    management: { host: '127.0.0.1', port: managementPort },
    provider: { issuer: 'http://127.0.0.1:1', clientId: 'shop', clientSecret: 'a-secret' },
    routes: [{ path: '/api', upstream: 'http://127.0.0.1:1', session: 'none' }],
  }
  await GatewayProcess.start({ 'sidegate.yaml': JSON.stringify(config) }, { descriptors: 90 })
  const kept = await RawClient.connect(port)
  onTestFinished(() => kept[Symbol.dispose]())
  await kept.send(get('/bff/session')).read(1)

  const clients = await Promise.all(Array.from({ length: 150 }, () => RawClient.connect(port)))
  onTestFinished(() => clients.forEach((client) => client[Symbol.dispose]()))
  for (const client of clients) client.send(get('/bff/session'))
  await Promise.all(clients.map((client) => client.read(1)))

  const served = clients.filter((client) => client.answers().length === 1)
  const refused = clients.filter((client) => client.isClosed && client.answers().length === 0)
  expect(served.length).toBeGreaterThan(20)
  expect(refused.length).toBeGreaterThan(20)
  expect(served.length + refused.length).toBe(150)
  // What is open stays open, also where an upstream can get no connection.
  expect((await kept.send(get('/bff/session')).read(2)).map(statusOf)).toEqual([200, 200])
  expect(statusOf((await kept.send(get('/api/x')).read(3))[2]!)).toBe(502)

  for (const client of clients) client.socket.destroy()
  await Promise.all(clients.map((client) => client.closed()))
  // It hears of each end by itself, one after the other.
  await until(() =>
    exchange(port, get('/bff/session')).then(
      (answer) => statusOf(answer) === 200,
      () => false,
    ),
  )
  expect(statusOf(await exchange(managementPort, get('/healthz')))).toBe(200)
})

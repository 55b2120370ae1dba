/** One client must not be able to fill the memory of a gateway, or of the Prometheus behind it. */
import { once } from 'node:events'
import { request } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { exchange } from '../support/raw-client.ts'
import { startWorld, type World } from '../support/world.ts'

/** Requests that differ in all that a client can choose. */
async function ask(world: World, cookie: string, n: number): Promise<void> {
  const { gateway } = world
  const port = Number(new URL(gateway.address).port)
  const own = { host: 'app.example', cookie, connection: 'close' }
  const lines = (fields: Record<string, string>) =>
    Object.entries(fields)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')
  const methods = ['GET', 'POST', 'PROPFIND', 'PURGE', 'QUERY', 'MKCOL', 'TRACE']
  const method = methods[n % methods.length] ?? 'GET'
  for (const [target, fields] of [
    [`/made-up-${n}`, own],
    [`/bff/made-up-${n}`, own],
    [`/bff/sessions/made-up-${n}`, own],
    [`/api/made-up-${n}`, { ...own, 'sec-fetch-site': `made-up-${n}` }],
    [`/api/made-up-${n}`, { ...own, origin: `https://made-up-${n}.example` }],
    [`/bff/callback?state=made-up-${n}&error=made_up_${n}`, own],
    [`/bff/login?provider=made-up-${n}`, { ...own, accept: 'text/html' }],
    [`/bff/frontchannel-logout?iss=made-up-${n}&sid=${n}`, own],
  ] as const) {
    await exchange(port, `${method} ${target} HTTP/1.1\r\n${lines(fields)}content-length: 0\r\n\r\n`)
  }
  const check = request(gateway.forwardAuthUrl ?? '', {
    headers: { 'x-forwarded-method': `MADE-UP-${n}`, 'x-forwarded-uri': `/made-up-${n}` },
  }).end()
  const [answer] = (await once(check, 'response')) as [{ resume(): void }] // what a client emits
  answer.resume()
}

async function seriesOf(world: World): Promise<string[]> {
  const text = await (await fetch(`${world.gateway.managementUrl}/metrics`)).text()
  return text.split('\n').flatMap((line) => /^sidegate_[^ ]+/.exec(line)?.[0] ?? [])
}

test('whatever clients make up, the metrics have no more series than before, and none of their words (R71)', async () => {
  const world = await startWorld({
    config: ({ upstream }) => ({
      forwardAuth: { host: '127.0.0.1', port: 0 },
      trustedProxies: ['127.0.0.1'],
      routes: [{ path: '/api', upstream }],
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const { browser } = await world.signedIn()
  const cookie = `__Host-Http-sidegate=${browser.jar.get('__Host-Http-sidegate')?.value ?? ''}`
  for (let n = 0; n < 7; n += 1) await ask(world, cookie, n)
  const before = await seriesOf(world)

  for (let n = 7; n < 21; n += 1) await ask(world, cookie, n)

  const after = await seriesOf(world)
  expect(after.filter((one) => !before.includes(one))).toEqual([])
  expect(after.join('\n')).not.toMatch(/made.up/i)
})

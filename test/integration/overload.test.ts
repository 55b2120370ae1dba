/** An event loop that is really late: the whole gateway, with its work blocked by something else in the process. */
import { expect, onTestFinished, test } from 'vitest'
import { startWorld, until } from '../support/world.ts'
import type { World } from '../support/world.ts'
import { HeldUpstream } from '../support/held-upstream.ts'

/** Each turn of the loop takes so long from now on. */
function stall(ms: number): { readonly stop: () => void } {
  const timer = setInterval(() => {
    const until = performance.now() + ms
    while (performance.now() < until) continue
  })
  onTestFinished(() => clearInterval(timer))
  return { stop: () => clearInterval(timer) }
}

async function started(): Promise<{ world: World; upstream: HeldUpstream }> {
  const upstream = await HeldUpstream.start()
  const world = await startWorld({ config: { routes: [{ path: '/open', upstream: upstream.url, session: 'none' }] } })
  onTestFinished(async () => {
    upstream.close()
    await world[Symbol.asyncDispose]()
  })
  return { world, upstream }
}

test('a late event loop sheds new requests with 503, ends what it has begun, answers for its health, and recovers (R63)', async () => {
  const { world, upstream } = await started()
  const ask = () => fetch(`${world.gateway.address}/open/x`)
  const accepted = ask()
  await upstream.arrived(1)

  const { stop } = stall(300)
  // Those that are taken wait for the upstream, which holds them; far fewer than it has places.
  const left = new AbortController()
  const refusals: Response[] = []
  await until(async () => {
    fetch(`${world.gateway.address}/open/y`, { signal: left.signal }).then(
      (answer) => answer.status === 503 && refusals.push(answer),
      () => {},
    )
    return refusals.length > 0
  })
  const [refused] = refusals
  expect(refused?.headers.get('sidegate-error')).toBe('overloaded')
  expect(refused?.headers.get('retry-after')).toBe('1')
  expect(await refused?.json()).toMatchObject({ status: 503, code: 'overloaded' })
  expect((await fetch(`${world.gateway.managementUrl}/healthz`)).status).toBe(200)
  expect((await fetch(`${world.gateway.managementUrl}/readyz`)).status).toBe(200)
  left.abort()
  upstream.release()
  expect(await (await accepted).text()).toBe('done')

  stop()
  await until(async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, ask))
    return answers.every(({ status }) => status === 200)
  })
  await world.log.until(({ msg }) => msg === 'no longer overloaded: every request is taken')
  expect(world.log.lines().filter(({ msg }) => msg === 'overloaded: requests are refused')).toHaveLength(1)
}, 40_000)

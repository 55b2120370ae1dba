/**
 * A load of so many requests a second whatever the answers do, so that waiting is measured and not avoided:
 * `node bench/steady-load.ts URL RATE SECONDS CONNECTIONS`, header fields as JSON in STEADY_HEADERS; prints JSON.
 */
import { Pool } from 'undici'
import { quantile } from './statistics.ts'

const [target = '', rate = '', seconds = '', connections = ''] = process.argv.slice(2)
const url = new URL(target)
// Written by the scenario that starts this.
const headers = JSON.parse(process.env['STEADY_HEADERS'] ?? '{}') as Record<string, string>
const pool = new Pool(url.origin, { connections: Number(connections), pipelining: 1 })
const latencies: number[] = []
let failures = 0

async function one(dueAt: number): Promise<void> {
  try {
    const { statusCode, body } = await pool.request({ path: url.pathname + url.search, method: 'GET', headers })
    await body.dump()
    if (statusCode !== 200) failures += 1
    // From when it was due, not from when it could be sent: a stall counts for all that it kept waiting.
    latencies.push((performance.now() - dueAt) * 1_000)
  } catch {
    failures += 1
  }
}

const intervalMs = 1_000 / Number(rate)
const total = Number(rate) * Number(seconds)
const startedAt = performance.now() + 100
const running: Promise<void>[] = []
await new Promise<void>((resolve) => {
  const tick = setInterval(() => {
    const dueNow = Math.min(total, Math.floor((performance.now() - startedAt) / intervalMs) + 1)
    while (running.length < dueNow) running.push(one(startedAt + running.length * intervalMs))
    if (running.length < total) return
    clearInterval(tick)
    resolve()
  }, 1)
})
await Promise.all(running)
await pool.close()
process.stdout.write(
  JSON.stringify({
    failures,
    requests: latencies.length,
    p50Microseconds: quantile(latencies, 0.5),
    p90Microseconds: quantile(latencies, 0.9),
    p99Microseconds: quantile(latencies, 0.99),
  }),
)

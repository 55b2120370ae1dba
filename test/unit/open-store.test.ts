import { expect, onTestFinished, test } from 'vitest'
import { Config } from '../../src/config/schema.ts'
import { MemoryStore } from '../../src/session/memory-store.ts'
import { loadStore } from '../../src/session/open-store.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'

async function opened(store?: object) {
  const warnings: unknown[] = []
  const log = { debug() {}, info() {}, warn: (...line: unknown[]) => void warnings.push(line), error() {} }
  const config = Config.parse({
    publicUrl: 'https://app.example',
    provider: { issuer: 'https://id.example', clientId: 'shop', clientSecret: 'secret' },
    session: { keys: ['A'.repeat(43)] },
    routes: [{ path: '/', upstream: 'http://app:3000' }],
    ...(store && { store }),
  })
  const openStore = await loadStore(config)
  const one = openStore({ log, metrics: new Metrics({ defaults: false }), now: Date.now })
  onTestFinished(() => one.close())
  return { store: one, warnings }
}

test('sessions are in memory unless something else is configured, and one plain line says what that means', async () => {
  const { store, warnings } = await opened()

  expect(store).toBeInstanceOf(MemoryStore)
  expect(warnings).toEqual([
    [
      { store: 'memory' },
      expect.stringMatching(/kept in this process: they end with it, and a second instance does not/),
    ],
  ])
})

test('with Redis nothing is said of it', async () => {
  const { store, warnings } = await opened({ redis: { url: 'redis://127.0.0.1:1/0' } })

  expect(store).not.toBeInstanceOf(MemoryStore)
  expect(warnings).toEqual([])
})

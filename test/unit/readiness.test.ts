import { expect, test } from 'vitest'
import { Readiness } from '../../src/management/readiness.ts'

function instance(requireStore = false) {
  const state = { store: true, provider: true }
  const readiness = new Readiness({
    probeStore: async () => {
      if (!state.store) throw new Error('down')
    },
    isProviderReady: () => state.provider,
    requireStore,
  })
  return { state, readiness }
}

test('an instance whose store was never good is unready and says why (R27)', async () => {
  const { state, readiness } = instance()
  state.store = false

  expect(await readiness.answer()).toEqual({ status: 503, body: { status: 'unready', reasons: ['store'] } })
})

test('an outage after that is degraded, not unready: all instances share the store', async () => {
  const { state, readiness } = instance()
  await readiness.answer()
  state.store = false
  state.provider = false

  expect(await readiness.answer()).toEqual({ status: 200, body: { status: 'ready', degraded: ['store', 'provider'] } })
})

test('a store that was good before anybody asked, and is away when somebody does, is an outage (R27)', async () => {
  const { state, readiness } = instance()
  state.store = false
  const watched = readiness.watch()
  state.store = true
  await watched
  state.store = false

  expect(await readiness.answer()).toMatchObject({ status: 200, body: { degraded: ['store'] } })
})

test('an instance that goes before its store came does not look for it any longer', async () => {
  const { state, readiness } = instance()
  state.store = false
  const watched = readiness.watch()
  readiness.drain()

  await expect(watched).resolves.toBeUndefined()
})

test('a provider that was never reached is degraded, not unready (AS-04)', async () => {
  const { state, readiness } = instance()
  state.provider = false

  expect((await readiness.answer()).status).toBe(200)
})

test('with requireStore an outage takes the instance out of service', async () => {
  const { state, readiness } = instance(true)
  await readiness.answer()
  state.store = false

  expect((await readiness.answer()).status).toBe(503)
})

test('a draining instance is unready at once', async () => {
  const { readiness } = instance()
  await readiness.answer()
  readiness.drain()

  expect(await readiness.answer()).toEqual({ status: 503, body: { status: 'unready', reasons: ['draining'] } })
})

import { getHeapSpaceStatistics } from 'node:v8'
import { expect, test } from 'vitest'
import { collectEverything, IdleMemory } from '../../src/idle-memory.ts'
import { silentLog } from '../../src/telemetry/log.ts'

const MIB = 1_048_576

/** A process of which the test says what it does and holds. */
function watched() {
  const state = { busyShare: 0.01, requests: 0, residentMiB: 300, collections: 0 }
  const memory = new IdleMemory({
    log: silentLog,
    requests: () => state.requests,
    busyShare: () => state.busyShare,
    residentBytes: () => state.residentMiB * MIB,
    collect: () => {
      state.collections += 1
      state.residentMiB = 200
    },
  })
  const look = (times: number): void => {
    for (let n = 0; n < times; n += 1) memory.look()
  }
  return { state, look }
}

test('is given back after a while of nothing, once', () => {
  const { state, look } = watched()

  look(29)
  expect(state.collections).toBe(0)
  look(1)
  expect(state.collections).toBe(1)
  look(100)
  expect(state.collections).toBe(1)
})

test('is left alone while there is something to do, however little', () => {
  const { state, look } = watched()

  for (let n = 0; n < 50; n += 1) {
    look(20)
    state.requests += 10
    look(1)
    look(20)
    state.busyShare = 0.2
    look(1)
    state.busyShare = 0.01
  }

  expect(state.collections).toBe(0)
})

test('is given back again when there is more of it again', () => {
  const { state, look } = watched()
  look(30)

  state.residentMiB = 231
  look(30)
  expect(state.collections).toBe(1)
  state.residentMiB = 232
  look(1)
  expect(state.collections).toBe(2)
})

test('is kept where there is no collector, and nothing else happens', () => {
  const memory = new IdleMemory({
    log: silentLog,
    requests: () => 0,
    busyShare: () => 0,
    collect: () => {
      throw new TypeError('gc is not a function')
    },
  })

  for (let n = 0; n < 40; n += 1) memory.look()
})

test('is that of the young generation, too', () => {
  let kept: object[] = []
  for (let n = 0; n < 400_000; n += 1) {
    kept.push({ n })
    if (kept.length === 100_000) kept = []
  }
  const youngMiB = (): number =>
    (getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0) / MIB
  const grown = youngMiB()

  collectEverything()

  expect(grown).toBeGreaterThan(2)
  expect(youngMiB()).toBeLessThanOrEqual(2)
  expect(globalThis.gc).toBeUndefined()
})

import { expect, test } from 'vitest'
import { ExpiringMap } from '../../src/session/expiring-map.ts'
import { MemoryStore } from '../../src/session/memory-store.ts'
import { describeStoreContract } from '../support/store-contract.ts'

describeStoreContract('the memory store', async () => {
  let time = 1_800_000_000_000
  const store = new MemoryStore({ now: () => time })
  return {
    store,
    other: store,
    now: () => time,
    pass: async (ms) => void (time += ms),
    close: () => store.close(),
  }
})

test('what has expired is swept with later writes, so that memory does not grow with time (R41)', () => {
  let time = 0
  const map = new ExpiringMap<number>(() => time)
  for (let i = 0; i < 50_000; i++) {
    time += 1
    map.set(`login ${i}`, i, time + 100)
  }

  expect(map.size).toBeLessThan(500)
})

test('living entries survive the sweep', () => {
  let time = 0
  const map = new ExpiringMap<number>(() => time)
  for (let i = 0; i < 100; i++) map.set(`living ${i}`, i, 1_000_000)
  for (let i = 0; i < 1_000; i++) {
    time += 1
    map.set(`dead ${i}`, i, time + 1)
  }

  expect([...map.keys()].filter((key) => key.startsWith('living'))).toHaveLength(100)
})

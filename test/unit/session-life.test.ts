import fc from 'fast-check'
import { test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'
import { MemoryStore } from '../../src/session/memory-store.ts'
import { IDLE_MS, LIFETIME_MS, sessionCommands, StrictProvider } from '../support/session-model.ts'
import { managerWorld, manualClock } from '../support/sessions.ts'

test('whatever happens on two managers in any order: no session comes back, no token is used twice or by another (R6, R13)', async () => {
  await fc.assert(
    fc.asyncProperty(sessionCommands, async (commands) => {
      const clock = manualClock()
      const provider = new StrictProvider(clock)
      const store = new MemoryStore({ now: clock })
      const keyRing = new KeyRing([KeyRing.generateKey()])
      const settings = { idleTimeout: IDLE_MS, maxLifetime: LIFETIME_MS }
      const open = () => managerWorld({ store, keyRing, provider, clock, settings }).manager
      const managers = [open(), open()] as const
      try {
        const real = { managers, stores: [store, store] as const, provider, clock }
        await fc.asyncModelRun(() => ({ model: { sessions: [] }, real }), commands)
      } finally {
        await Promise.all(managers.map((manager) => manager.close()))
      }
    }),
    { numRuns: 200 },
  )
}, 60_000)

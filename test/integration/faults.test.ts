import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { injectFaults } from '../support/fault-run.ts'

test('whatever it waits for may fail: the request does, the process lives, and everything is given back (R68)', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-faults-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))

  const { findings, faults, places, statuses } = await injectFaults({ seconds: 5, seed: 68, directory })

  expect(findings).toEqual([])
  expect(faults).toBeGreaterThan(20)
  expect(places).toBeGreaterThan(10)
  // A gateway that only fails proves nothing.
  expect(statuses.get('200')).toBeGreaterThan(10)
}, 90_000)

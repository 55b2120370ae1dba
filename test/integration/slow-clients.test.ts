import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { slowClients } from '../support/slow-run.ts'

test('five hundred clients that send a byte of their header a second are cut, and nobody else is refused or waits (R62)', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-slow-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))

  const { stillOpen, good, growthMiB } = await slowClients({ connections: 500, directory })

  expect(stillOpen).toBe(0)
  expect(good.calls).toBeGreaterThan(50)
  expect(good.failures).toBe(0)
  expect(growthMiB).toBeLessThan(150)
}, 90_000)

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Dice, fuzzInput } from '../support/fuzz-input.ts'
import { fuzz, judgeFuzz } from '../support/fuzz-run.ts'

test('ten seconds of random bytes and broken requests: no crash, no hang, no 500, no leak (R71, R73)', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-fuzz-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const seed = Math.floor(Math.random() * 1_000_000)

  const report = await fuzz({ seconds: 10, seed, directory })

  expect(judgeFuzz(report), `seed ${seed}`).toEqual([])
  expect(report.inputs).toBeGreaterThan(200)
  expect(report.logLines).toBeGreaterThan(200)
}, 120_000)

test('the same seed makes the same inputs, and hardly any twice', () => {
  const inputs = (seed: number) => {
    const dice = new Dice(seed)
    return Array.from({ length: 500 }, () => fuzzInput(dice))
  }

  expect(inputs(7)).toEqual(inputs(7))
  expect(new Set(inputs(7)).size).toBeGreaterThan(480)
  expect(inputs(8)).not.toEqual(inputs(7))
})

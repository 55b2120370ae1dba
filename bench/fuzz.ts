/**
 * `node scripts/with-node.mjs bench/fuzz.ts [--seconds 600] [--seed N] [--connections 24]`: random bytes and broken
 * requests on the public port. Exit code 1 when something was found; the same seed sends the same inputs.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fuzz, judgeFuzz } from '../test/support/fuzz-run.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string' },
    connections: { type: 'string', default: '24' },
  },
})
const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed)
const directory = await mkdtemp(join(tmpdir(), 'sidegate-fuzz-'))
try {
  const report = await fuzz({
    seconds: Number(values.seconds),
    seed,
    directory,
    connections: Number(values.connections),
    progress: (text) => void process.stderr.write(`${text}\n`),
  })
  const complaints = judgeFuzz(report)
  console.log(`seed          ${seed}`)
  console.log(`inputs        ${report.inputs}, of which ${report.forwarded} requests reached the API`)
  console.log(
    `answers       ${[...report.statuses]

      .toSorted(([a], [b]) => a.localeCompare(b))
      .map(([status, count]) => `${status}: ${count}`)
      .join(', ')}`,
  )
  console.log(`descriptors   ${report.descriptors.before} before, ${report.descriptors.after} after`)
  console.log(`memory, MiB   ${report.memory.join(' ')}`)
  console.log(`log lines     ${report.logLines}, metric series ${report.metricSeries}`)
  for (const complaint of complaints) console.log(`FINDING       ${complaint}`)
  console.log(complaints.length === 0 ? 'nothing found' : `${complaints.length} findings`)
  process.exitCode = complaints.length === 0 ? 0 : 1
} finally {
  await rm(directory, { recursive: true, force: true })
}

/**
 * `node scripts/with-node.mjs bench/faults.ts [--seconds 300] [--seed N]`: a gateway whose `await`s throw at random, one
 * in fifteen, while it is used. Exit code 1 when it ended, hung, or was not whole afterwards.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { injectFaults } from '../test/support/fault-run.ts'

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '300' }, seed: { type: 'string' } },
})
const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed)
const directory = await mkdtemp(join(tmpdir(), 'sidegate-faults-'))
try {
  const report = await injectFaults({ seconds: Number(values.seconds), seed, directory })
  console.log(`seed      ${seed}`)
  console.log(`requests  ${report.requests}`)
  console.log(`faults    ${report.faults} at ${report.places} places`)
  console.log(`answers   ${[...report.statuses].map(([status, count]) => `${status}: ${count}`).join(', ')}`)
  for (const finding of report.findings) console.log(`FINDING   ${finding}`)
  console.log(report.findings.length === 0 ? 'nothing found' : `${report.findings.length} findings`)
  process.exitCode = report.findings.length === 0 ? 0 : 1
} finally {
  await rm(directory, { recursive: true, force: true })
}

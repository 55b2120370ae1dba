/**
 * `node scripts/with-node.mjs bench/slow-clients.ts [--connections 5000]`: connections that send a byte of their header
 * fields a second, beside well-behaved calls. Needs twice as many descriptors (`ulimit -n`).
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { slowClients } from '../test/support/slow-run.ts'

const { values } = parseArgs({ options: { connections: { type: 'string', default: '5000' } } })
const directory = await mkdtemp(join(tmpdir(), 'sidegate-slow-'))
try {
  const { cutWithinMs, stillOpen, good, growthMiB } = await slowClients({
    connections: Number(values.connections),
    directory,
  })
  console.log(`all cut within   ${cutWithinMs} ms, still open: ${stillOpen}`)
  console.log(`well-behaved     ${good.calls} calls, ${good.failures} failed`)
  console.log(`their p99        ${good.p99Ms} ms, before ${good.p99BeforeMs} ms`)
  console.log(`memory           +${growthMiB} MiB`)
} finally {
  await rm(directory, { recursive: true, force: true })
}

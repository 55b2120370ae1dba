/** `npm run bench [-- SCENARIO ...] [--rounds N] [--seconds N] [--connections N] [--json FILE] [--profile DIRECTORY]` */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from './build.ts'
import { hottest } from './profile.ts'
import { circumstances, type Report, renderTable } from './report.ts'
import { connections } from './scenarios/connections.ts'
import { growth } from './scenarios/growth.ts'
import { latency } from './scenarios/latency.ts'
import { login } from './scenarios/login.ts'
import { peers } from './scenarios/peers.ts'
import { proxiedGet } from './scenarios/proxied-get.ts'
import { start } from './scenarios/start.ts'
import { stream } from './scenarios/stream.ts'
import { websockets } from './scenarios/websockets.ts'
import type { Settings } from './settings.ts'

const scenarios = new Map<string, (settings: Settings) => Promise<Report>>([
  ['proxied-get', proxiedGet],
  ['peers', peers],
  ['latency', latency],
  ['growth', growth],
  ['start', start],
  ['login', login],
  ['connections', connections],
  ['websockets', websockets],
  ['stream', stream],
])

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '64' },
    json: { type: 'string' },
    profile: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const names = positionals.length > 0 ? positionals : [...scenarios.keys()]
const unknown = names.filter((name) => !scenarios.has(name))
if (values.help || unknown.length > 0) {
  if (unknown.length > 0) console.error(`no such scenario: ${unknown.join(', ')}`)
  console.error(
    `usage: npm run bench -- [${[...scenarios.keys()].join('|')}] [--rounds 9] [--seconds 2] [--connections 64] [--json FILE] [--profile DIRECTORY]`,
  )
  process.exit(values.help ? 0 : 2)
}

const directory = await mkdtemp(join(tmpdir(), 'sidegate-bench-'))
const profiles = values.profile === undefined ? undefined : resolve(values.profile)
if (profiles) await mkdir(profiles, { recursive: true })
let built: string | undefined
const settings: Settings = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  connections: Number(values.connections),
  directory,
  nodeOptions: (name) => (profiles ? ['--cpu-prof', `--cpu-prof-dir=${join(profiles, name)}`] : []),
  builtProgram: () => (built ??= build(directory)),
  progress: (text) => void process.stderr.write(`${text}\n`),
}
const reports: Report[] = []
try {
  for (const name of names) {
    const report = await scenarios.get(name)?.(settings)
    if (!report) continue
    reports.push(report)
    console.log(renderTable(report))
  }
  if (profiles) for (const line of await hottest(profiles)) console.log(line)
} finally {
  await rm(directory, { recursive: true, force: true })
}
if (values.json !== undefined) {
  await writeFile(
    values.json,
    `${JSON.stringify({ ...circumstances(), at: new Date().toISOString(), reports }, undefined, 2)}\n`,
  )
}

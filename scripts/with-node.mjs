// Runs the current script with a Node that fits (see `engines`): this one, or else Node 24 by npx.
// Old syntax on purpose: it has to start on any Node from 18 on.
//
//   node scripts/with-node.mjs FILE [ARG ...]
import { spawn } from 'node:child_process'

const GUARD = 'SIDEGATE_WITH_NODE'
const FLOOR = [22, 19]

function fits(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > FLOOR[0] || (major === FLOOR[0] && minor >= FLOOR[1])
}

const args = process.argv.slice(2)
if (args.length === 0) {
  process.stderr.write('usage: node scripts/with-node.mjs FILE [ARG ...]\n')
  process.exit(2)
}

let command = process.execPath
let commandArgs = args
const env = { ...process.env }
if (!fits(process.versions.node)) {
  if (env[GUARD]) {
    process.stderr.write(`with-node: asked for Node 24 and got ${process.versions.node}; install Node 24 (see .nvmrc)\n`)
    process.exit(2)
  }
  env[GUARD] = '1'
  process.stderr.write(`with-node: this is Node ${process.versions.node}; running under Node 24 by npx\n`)
  command = process.platform === 'win32' ? 'npx.cmd' : 'npx'
  commandArgs = ['-y', '-p', 'node@24', 'node', ...args]
}

const child = spawn(command, commandArgs, { stdio: 'inherit', env, shell: process.platform === 'win32' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => {
  process.stderr.write(`with-node: cannot start ${command}: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code, signal) => {
  if (signal) {
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  } else {
    process.exit(code === null ? 1 : code)
  }
})

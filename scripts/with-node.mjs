// Runs a script with a Node that fits (see `engines`): this one, or else Node 24, which npx fetches once.
// Old syntax on purpose: it has to start on any Node from 18 on.
//
//   node scripts/with-node.mjs FILE [ARG ...]
//
// npx only says where that Node is; the script is then started by its path. So there is no shell and no npm between
// the two processes: signals, exit codes and the terminal arrive as they are, and nothing can run in a circle.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'

const FLOOR = [22, 19]
const CACHE = new URL('../node_modules/.cache/sidegate-node', import.meta.url)

function fits(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > FLOOR[0] || (major === FLOOR[0] && minor >= FLOOR[1])
}

function fail(message, code) {
  process.stderr.write(`with-node: ${message}\n`)
  process.exit(code)
}

/** The Node 24 that npx found last time; undefined when it has gone. */
function remembered() {
  try {
    const [version, path] = readFileSync(CACHE, 'utf8').trim().split(/ (.*)/)
    return fits(version) && existsSync(path) ? path : undefined
  } catch {
    return undefined // never asked yet
  }
}

function askNpx() {
  const windows = process.platform === 'win32'
  const args = ['-y', '-p', 'node@24', 'node', '-p', 'process.versions.node+String.fromCharCode(32)+process.execPath']
  const npx = spawnSync(windows ? 'npx.cmd' : 'npx', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    shell: windows,
  })
  const answer = npx.stdout ? npx.stdout.trim().split('\n').pop() : ''
  const [version, path] = answer.split(/ (.*)/)
  if (npx.error || npx.status !== 0 || !path) {
    const reason = npx.error ? npx.error.message : npx.stderr.trim().split('\n').pop()
    fail(`npx could not bring Node 24 (${reason}); install Node 24 (see .nvmrc)`, 1)
  }
  if (!fits(version)) fail(`asked for Node 24 and got ${version}; install Node 24 (see .nvmrc)`, 1)
  try {
    mkdirSync(new URL('.', CACHE), { recursive: true })
    writeFileSync(CACHE, `${version} ${path}\n`)
  } catch {
    // A checkout that cannot be written to: asking again each time is slower, and as good.
  }
  return path
}

const args = process.argv.slice(2)
if (args.length === 0) fail('usage: node scripts/with-node.mjs FILE [ARG ...]', 2)

let node = process.execPath
if (!fits(process.versions.node)) {
  process.stderr.write(`with-node: this is Node ${process.versions.node}; running under Node 24 by npx\n`)
  node = remembered() || askNpx()
}

const child = spawn(node, args, { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    // On a terminal, Ctrl-C reaches the whole process group: passing it on would be a second one.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  })
}
// npm forwards SIGTERM and SIGINT, but dies of all else without a word: what it left behind would keep its ports.
if (process.env.npm_lifecycle_event) {
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    child.kill('SIGTERM')
  }, 500)
}
child.on('error', (error) => fail(`cannot start ${node}: ${error.message}`, 1))
child.on('exit', (code, signal) => {
  if (signal) {
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  } else {
    process.exit(code === null ? 1 : code)
  }
})

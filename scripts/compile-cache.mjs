// `node scripts/compile-cache.mjs UID`: starts what `npm run build` has made, asks for some answers and stops it, so
// that Node keeps in dist/compile-cache what V8 has compiled until then. For the image: Node takes a cache only from the
// version, the processor and the user that it was written by.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const user = Number(process.argv[2])
const dist = new URL('../dist', import.meta.url).pathname
const cache = join(dist, 'compile-cache')
/** Neither of them is there: a gateway starts all the same. */
const NOWHERE = '127.0.0.1:1'
const PATHS = ['/bff/session', '/bff/login', '/bff/client.js', '/api/orders']
const OWN_PATHS = ['/healthz', '/readyz', '/metrics']

rmSync(cache, { recursive: true, force: true })
mkdirSync(cache)
chmodSync(cache, 0o777)
const directory = mkdtempSync(join(tmpdir(), 'sidegate-cache-'))
chmodSync(directory, 0o755)
try {
  const config = join(directory, 'sidegate.yaml')
  writeFileSync(config, JSON.stringify(configuration()))
  await run(config)
} finally {
  rmSync(directory, { recursive: true })
}
share(cache)

async function run(config) {
  // Node itself starts as who builds: the user of the image may not reach it where that is no image.
  const become = `data:text/javascript,if(process.getuid()===0){process.setgid(${user});process.setuid(${user})}`
  const child = spawn(process.execPath, ['--import', become, join(dist, 'main.js'), '--config', config], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  for await (const line of createInterface(child.stdout)) {
    const { msg, listen, management } = JSON.parse(line)
    if (msg !== 'listening') continue
    const urls = [...PATHS.map((path) => listen + path), ...OWN_PATHS.map((path) => management + path)]
    for (const url of urls) await fetch(url, { redirect: 'manual', headers: { 'sec-fetch-site': 'same-origin' } })
    child.kill('SIGTERM')
  }
  const [code] = await ended
  if (code !== 0) throw new Error(`the gateway ended with ${code}`)
  if (readdirSync(cache).length === 0) throw new Error('Node has kept nothing')
}

function configuration() {
  return {
    publicUrl: 'http://localhost:8080',
    listen: { host: '127.0.0.1', port: 0 },
    management: { host: '127.0.0.1', port: 0 },
    provider: { issuer: `http://${NOWHERE}`, clientId: 'nobody', clientSecret: 'known-to-everybody-and-used-nowhere' },
    session: { keys: [randomBytes(32).toString('base64url')] },
    store: { redis: { url: `redis://${NOWHERE}` } },
    shutdown: { delay: '0s', grace: '1s' },
    routes: [{ path: '/api', upstream: `http://${NOWHERE}` }],
  }
}

/** Everybody may read it, only its owner may write. */
function share(directory) {
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644)
  }
  chmodSync(directory, 0o755)
}

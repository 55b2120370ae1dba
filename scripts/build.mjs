// `npm run build`: compiles src to dist, with everything that is not TypeScript copied beside it.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('..', import.meta.url).pathname
const source = join(root, 'src')
const target = join(root, 'dist')

rmSync(target, { recursive: true, force: true })
compile('tsconfig.json')
// Built for browsers: other libraries, and declarations for those who import `sidegate/browser`.
if (existsSync(join(source, 'browser/tsconfig.json'))) compile('src/browser/tsconfig.json')

for (const file of readdirSync(source, { recursive: true, encoding: 'utf8' })) {
  if (/\.ts$|tsconfig\.json$/.test(file) || statSync(join(source, file)).isDirectory()) continue
  cpSync(join(source, file), join(target, file))
}

function compile(project) {
  const { status } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}

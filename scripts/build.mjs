// `npm run build`: src with the libraries that it uses as one program in dist, and the browser client beside it
// (docs/decisions/0020-one-program.md). `node scripts/build.mjs DIRECTORY` writes elsewhere.
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { rolldown } from 'rolldown'
import { bundledPackages, licenceTexts, packageList } from './build/packages.mjs'

const root = new URL('..', import.meta.url).pathname
const source = join(root, 'src')
const target = resolve(process.argv[2] ?? join(root, 'dist'))

/** A module of ours finds what lies beside it from where it would be if each were compiled to a file of its own. */
const modulePlaces = {
  name: 'module-places',
  transform(code, id) {
    if (!id.startsWith(`${source}/`) || !code.includes('import.meta.url')) return undefined
    const place = relative(source, id).replace(/\.ts$/, '.js')
    return code.replaceAll('import.meta.url', `(distDirectory + ${JSON.stringify(place)})`)
  },
}

/** The schema of the configuration, as the one function of this module answers it. */
const finishedSchema = {
  name: 'finished-schema',
  async load(id) {
    if (id !== join(source, 'config/shape-schema.ts')) return undefined
    const { shapeSchema } = await import(id)
    return `const text = ${JSON.stringify(JSON.stringify(shapeSchema()))}\nexport const shapeSchema = () => JSON.parse(text)`
  },
}

/** @fastify/static loads glob at once, and calls it where it makes a route for each file: the gateway does not. */
const lateGlob = {
  name: 'late-glob',
  transform(code, id) {
    if (!id.endsWith('/@fastify/static/index.js')) return undefined
    const early = "const { glob } = require('glob')"
    if (!code.includes(early)) throw new Error(`${id} does not load glob in the known way`)
    return code.replace(early, "const glob = (...args) => import('glob').then(({ glob }) => glob(...args))")
  },
}

rmSync(target, { recursive: true, force: true })
buildBrowserClient()
const packages = bundledPackages(await buildProgram())
writeFileSync(join(target, 'packages.json'), packageList(packages))
writeFileSync(join(target, 'third-party-licenses.txt'), licenceTexts(packages))
copyFileSync(join(root, 'scripts/build/main.js'), join(target, 'main.js'))
chmodSync(join(target, 'main.js'), 0o755)

/** With declarations, for those who import `sidegate/browser`. */
function buildBrowserClient() {
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const args = [tsc, '-p', 'src/browser', '--sourceMap', 'false', '--outDir', join(target, 'browser')]
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

/** What is imported when it is called for stays in a file of its own; names stay, for whoever reads a stack. */
async function buildProgram() {
  const build = await rolldown({
    input: { sidegate: join(source, 'main.ts') },
    cwd: root,
    platform: 'node',
    // A development dependency: `sidegate demo` belongs to a checkout.
    external: ['oidc-provider'],
    plugins: [finishedSchema, lateGlob, modulePlaces],
  })
  const { output } = await build.write({
    dir: target,
    // An ES module that imports `node:http` has Node load its own undici (src/one-undici.ts).
    format: 'cjs',
    entryFileNames: '[name].cjs',
    chunkFileNames: '[name].cjs',
    // The text stays in memory: without comments, and ASCII, for one letter beyond Latin-1 doubles its size.
    comments: false,
    charset: 'ascii',
    banner: "const distDirectory = require('node:url').pathToFileURL(`${__dirname}/`).href;",
  })
  await build.close()
  return output
}

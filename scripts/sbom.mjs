// `node scripts/sbom.mjs`: the bill of materials (CycloneDX) of dist on stdout: what npm knows of the packages that the
// build put into it, and of no other.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const root = new URL('..', import.meta.url)
const bundled = JSON.parse(readFileSync(new URL('dist/packages.json', root), 'utf8'))
const inside = new Set(bundled.map(({ name, version }) => `pkg:npm/${name.replace('@', '%40')}@${version}`))

// With development dependencies: npm leaves out what one of them wants as well.
const args = ['sbom', '--sbom-type', 'application', '--sbom-format', 'cyclonedx']
const npm = spawnSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
if (npm.status !== 0) process.exit(npm.status ?? 1)
const bill = JSON.parse(npm.stdout)

const components = bill.components.filter(({ purl }) => inside.has(purl))
const known = new Set([bill.metadata.component, ...components].map((component) => component['bom-ref']))
const dependencies = bill.dependencies
  .filter(({ ref }) => known.has(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((other) => known.has(other)) }))
const missing = [...inside].filter((purl) => !components.some((component) => component.purl === purl))
if (missing.length > 0) throw new Error(`npm does not know ${missing.join(', ')}`)
process.stdout.write(`${JSON.stringify({ ...bill, components, dependencies }, null, 2)}\n`)

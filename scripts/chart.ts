/**
 * `npm run chart`: puts the schema of the configuration into the chart's, and renders the chart for test/helm with Helm.
 * Helm is no package of npm or Debian, so CI holds what was rendered to the chart by a digest (test/unit/helm.test.ts).
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from './test-tools.mjs'
import { cases, digestOf, renderCase, rendering } from './chart/rendering.ts'
import { withConfigSchema } from './chart/values-schema.ts'

const root = new URL('..', import.meta.url).pathname
const schemaFile = join(root, 'deploy/helm/sidegate/values.schema.json')

const schema = withConfigSchema(
  readFileSync(schemaFile, 'utf8'),
  readFileSync(join(root, 'config/schema.json'), 'utf8'),
)
writeFileSync(schemaFile, schema)

const helm = process.env['HELM'] ?? findProgram(['helm'])
if (helm === undefined) {
  const stale = cases(root).filter((name) => !rendering(root, name).includes(digestOf(root, name)))
  process.stdout.write(
    stale.length === 0
      ? 'values.schema.json is written; what is rendered fits the chart\n'
      : `values.schema.json is written; rendering ${stale.join(', ')} again needs helm on the PATH, or HELM=FILE\n`,
  )
  process.exitCode = stale.length === 0 ? 0 : 1
} else {
  for (const name of cases(root)) {
    renderCase(root, name, helm)
    process.stdout.write(`${name}\n`)
  }
}

/** Every field of every manifest is one that Kubernetes knows, with a value of its type. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { parseManifests, problemsOf } from '../support/manifests.ts'
import type { Manifest } from '../support/manifests.ts'

const root = new URL('../..', import.meta.url).pathname
const files = [
  ...readdirSync(join(root, 'deploy/kubernetes')).map((file) => `deploy/kubernetes/${file}`),
  ...readdirSync(join(root, 'test/helm'))
    .filter((file) => file.endsWith('.rendered.yaml'))
    .map((file) => `test/helm/${file}`),
]
const manifests: Readonly<Record<string, Manifest>> = Object.fromEntries(
  files.flatMap((file) =>
    parseManifests(readFileSync(join(root, file), 'utf8')).map((manifest) => [
      `${file}: ${manifest.kind} ${manifest.metadata.name}`,
      manifest,
    ]),
  ),
)

test('the manifests, and what the chart makes, have no field that Kubernetes does not know', () => {
  expect(Object.keys(manifests).length).toBeGreaterThan(30)
  expect(problemsOf(manifests)).toBe('')
})

test('a misspelled probe, a port as text and a container without a name would be told', () => {
  const mistakes = [{ livenesProbe: {} }, { ports: [{ containerPort: '8080' }] }, { name: undefined }]
  const wrong = mistakes.flatMap((mistake) => {
    const template = { spec: { containers: [{ name: 'x', ...mistake }] } }
    return parseManifests(stringify({ apiVersion: 'apps/v1', kind: 'Deployment', spec: { selector: {}, template } }))
  })

  const problems = problemsOf(Object.fromEntries(wrong.entries()))

  expect(problems.split('\n').filter((line) => line.startsWith('..'))).toHaveLength(3)
  expect(problems).toContain('"livenesProbe"')
  expect(problems).toContain("Type 'string' is not assignable to type 'number'")
  expect(problems).toContain("Property 'name' is missing")
})

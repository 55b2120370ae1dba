/** What Helm makes of the chart for each set of values in test/helm, and how it is known to be of today. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The chart that has the gateway as a subchart: rendered with its own values. */
const EXAMPLE = 'sidecar'
const CHART = 'deploy/helm/sidegate'
const PARENT = 'deploy/helm/example-sidecar'
/** A Helm that was built from source knows no version of its own. */
const KUBE = ['--kube-version', '1.31.0']
/** Neither changes what the templates make: the schema only refuses, and `files` are exchanged (below). */
const LEFT_OUT = /^(values\.schema\.json|README\.md|files\/.*)$/

/** The names in test/helm, and the example with the sidecar. */
export function cases(root: string): string[] {
  const names = readdirSync(join(root, 'test/helm')).flatMap((file) => /^(.*)\.values\.yaml$/.exec(file)?.[1] ?? [])
  return [...names, EXAMPLE].toSorted()
}

/** Whether Helm has to refuse these values. */
export function isRefused(name: string): boolean {
  return name.startsWith('refused-')
}

/** What was rendered, or the message of the refusal; nothing for values that are new. */
export function rendering(root: string, name: string): string {
  return existsSync(fileOf(root, name)) ? readFileSync(fileOf(root, name), 'utf8') : ''
}

/** Changes with every template, value and version that the rendering depends on. */
export function digestOf(root: string, name: string): string {
  const hash = createHash('sha256')
  for (const folder of name === EXAMPLE ? [CHART, PARENT] : [CHART]) {
    for (const file of filesBelow(join(root, folder)))
      hash.update(`${file}\n${readFileSync(join(root, folder, file), 'utf8')}`)
  }
  if (name !== EXAMPLE) hash.update(readFileSync(valuesOf(root, name)))
  return `sha256:${hash.digest('hex')}`
}

/** Asks Helm and writes the answer. */
export function renderCase(root: string, name: string, helm: string): void {
  writeFileSync(fileOf(root, name), `# Made by \`npm run chart\`. Of ${digestOf(root, name)}\n${ask(root, name, helm)}`)
}

/** What Helm says to these values, with short files in place of the rules and the dashboard, which have tests of their own. */
export function ask(root: string, name: string, helm: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-chart-'))
  try {
    const chart = join(directory, 'sidegate')
    cpSync(join(root, CHART), chart, {
      recursive: true,
      filter: (file) => !file.startsWith(join(root, CHART, 'files')),
    })
    mkdirSync(join(chart, 'files'))
    cpSync(join(root, 'test/helm/files'), join(chart, 'files'), { recursive: true })
    const values = name === EXAMPLE ? [] : ['--values', valuesOf(root, name)]
    let target = chart
    if (name === EXAMPLE) {
      target = join(directory, 'shop')
      cpSync(join(root, PARENT), target, { recursive: true })
      cpSync(chart, join(target, 'charts/sidegate'), { recursive: true })
    }
    const release = name === 'release' ? 'the-sidegate' : 'shop'
    const { status, stdout, stderr } = run(helm, [
      'template',
      release,
      target,
      '--namespace',
      'web',
      ...KUBE,
      ...values,
    ])
    if (isRefused(name)) {
      if (status === 0) throw new Error(`helm takes ${name}`)
      return `${stderr.replaceAll(directory, '').trim()}\n`
    }
    if (status !== 0) throw new Error(`helm template ${name}: ${stderr}`)
    const lint = run(helm, ['lint', '--strict', target, ...KUBE, ...values])
    if (lint.status !== 0) throw new Error(`helm lint ${name}: ${lint.stdout}${lint.stderr}`)
    return stdout
  } finally {
    rmSync(directory, { recursive: true })
  }
}

function run(helm: string, args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(helm, args, { encoding: 'utf8' })
}

function fileOf(root: string, name: string): string {
  return join(root, 'test/helm', `${name}.${isRefused(name) ? 'txt' : 'rendered.yaml'}`)
}

function valuesOf(root: string, name: string): string {
  return join(root, 'test/helm', `${name}.values.yaml`)
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((file) => !LEFT_OUT.test(file))
    .toSorted()
}

/** The rules of the house are enforced by the linter: each is shown to fire on a file that breaks it. */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'

const root = new URL('../..', import.meta.url).pathname

/** What each layer may import from, besides itself. */
const LAYERS: Record<string, readonly string[]> = {
  errors: [],
  telemetry: ['errors', 'config'],
  config: ['errors', 'telemetry'],
  oidc: ['errors', 'telemetry', 'config'],
  session: ['errors', 'telemetry', 'config', 'oidc'],
  http: ['errors', 'telemetry', 'config', 'oidc', 'session'],
  routes: ['errors', 'telemetry', 'config', 'oidc', 'session', 'http'],
  proxy: ['errors', 'telemetry', 'config', 'oidc', 'session', 'http'],
  management: ['errors', 'telemetry', 'config', 'oidc', 'session', 'http'],
  gateway: ['errors', 'telemetry', 'config', 'oidc', 'session', 'http', 'routes', 'proxy', 'management'],
  'public-listener': ['errors', 'telemetry', 'config', 'oidc', 'session', 'http', 'routes', 'proxy', 'management'],
  // prettier-ignore
  service: ['errors', 'telemetry', 'config', 'oidc', 'session', 'http', 'routes', 'proxy', 'management', 'gateway', 'public-listener'],
  demo: ['errors', 'telemetry', 'config'],
  // prettier-ignore
  commands: ['errors', 'telemetry', 'config', 'oidc', 'session', 'http', 'routes', 'proxy', 'management', 'gateway', 'public-listener', 'service', 'demo'],
  browser: [],
}
const SINGLE_FILES = ['errors', 'gateway', 'public-listener', 'service']

const broken: Record<string, { rule: string; source: string }> = {
  'src/session/floating.ts': {
    rule: 'no-floating-promises',
    source: 'async function save(): Promise<void> {}\nexport function end(): void {\n  save()\n}\n',
  },
  'src/session/misused.ts': {
    rule: 'no-misused-promises',
    source:
      'async function there(): Promise<boolean> {\n  return false\n}\nexport function get(): number {\n  if (there()) return 1\n  return 2\n}\n',
  },
  'src/session/switch.ts': {
    rule: 'switch-exhaustiveness-check',
    source:
      "type Kind = 'a' | 'b'\nexport function name(kind: Kind): string {\n  let name = ''\n  switch (kind) {\n    case 'a':\n      name = 'A'\n      break\n  }\n  return name\n}\n",
  },
  'src/session/console.ts': { rule: 'no-console', source: "export function say(): void {\n  console.log('hi')\n}\n" },
  'src/session/any.ts': { rule: 'no-explicit-any', source: 'export const value: any = 1\n' },
  'src/session/default.ts': { rule: 'no-default-export', source: 'export default 1\n' },
  'src/session/cycle-a.ts': {
    rule: 'no-cycle',
    source: "import { b } from './cycle-b.ts'\nexport const a = (): number => b()\n",
  },
  'src/session/cycle-b.ts': {
    rule: 'no-cycle',
    source: "import { a } from './cycle-a.ts'\nexport const b = (): number => a()\n",
  },
  'src/oidc/framework.ts': {
    rule: 'no-restricted-imports',
    source: "import type { FastifyRequest } from 'fastify'\nexport type Request = FastifyRequest\n",
  },
}

interface Diagnostic {
  code: string
  filename: string
  labels: { span: { line: number } }[]
}

let found: string[] = []
let refusedLines: string[] = []

const fileOf = (layer: string) => (SINGLE_FILES.includes(layer) ? `src/${layer}.ts` : `src/${layer}/thing.ts`)

const nameOf = (layer: string) => layer.replace('-', '')

/** A file of this layer that imports a type from every other one, the n-th other on line n. */
function importsOfAll(from: string): string {
  const others = Object.keys(LAYERS).filter((to) => to !== from)
  const up = SINGLE_FILES.includes(from) ? './' : '../'
  const imports = others.map(
    (to) => `import type { Thing as ${nameOf(to)} } from '${up}${fileOf(to).slice('src/'.length)}'\n`,
  )
  return `${imports.join('')}export type Thing = ${others.map(nameOf).join(' | ')}\n`
}

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-lint-'))
  try {
    const files: [string, string][] = Object.entries(broken).map(([path, { source }]) => [path, source])
    for (const layer of Object.keys(LAYERS)) files.push([fileOf(layer), importsOfAll(layer)])
    for (const [path, source] of files) {
      await mkdir(dirname(join(directory, path)), { recursive: true })
      await writeFile(join(directory, path), source)
    }
    await cp(join(root, '.oxlintrc.json'), join(directory, '.oxlintrc.json'))
    await writeFile(
      join(directory, 'tsconfig.json'),
      '{ "compilerOptions": { "strict": true, "module": "NodeNext", "noEmit": true, "types": [], "allowImportingTsExtensions": true }, "include": ["src"] }',
    )

    const diagnostics = await lint(directory)

    const ruleOf = (code: string) => code.replace(/^.*\((.*)\)$/, '$1')
    found = diagnostics.map(({ code, filename }) => `${filename} ${ruleOf(code)}`)
    refusedLines = diagnostics
      .filter(({ code }) => ruleOf(code) === 'no-restricted-imports')
      .map(({ filename, labels }) => `${filename}:${labels[0]?.span.line}`)
  } finally {
    await rm(directory, { recursive: true })
  }
}, 60_000)

/** Runs the linter with the project's own configuration. */
async function lint(directory: string): Promise<Diagnostic[]> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(root, 'node_modules/oxlint/bin/oxlint'), '--format=json'],
    {
      cwd: directory,
      env: { ...process.env, OXLINT_TSGOLINT_PATH: join(root, 'node_modules/.bin/tsgolint') },
      maxBuffer: 64 * 1024 * 1024,
    },
  ).catch((error: unknown) => error as { stdout: string }) // it exits with 1, since it finds what it should
  return (JSON.parse(stdout) as { diagnostics: Diagnostic[] }).diagnostics
}

describe('the linter', () => {
  test.each(Object.entries(broken))('finds the fault in %s', (path, { rule }) => {
    expect(found).toContain(`${path} ${rule}`)
  })

  test.each(Object.entries(LAYERS))('lets %s import from %j only, types included', (from, allowed) => {
    const others = Object.keys(LAYERS).filter((to) => to !== from)

    const refused = others.filter((_, index) => refusedLines.includes(`${fileOf(from)}:${index + 1}`))

    expect(refused).toEqual(others.filter((to) => !allowed.includes(to)))
  })

  test('has no way round it by import(): a dynamic import of our own code stays in its layer or in commands', async () => {
    const files = (await readdir(join(root, 'src'), { recursive: true })).filter((file) => file.endsWith('.ts'))
    const dynamic: string[] = []
    for (const file of files.filter((file) => !/^(commands\/|main\.ts$)/.test(file))) {
      const source = await readFile(join(root, 'src', file), 'utf8')
      if (/\bimport\(\s*['"`]\.\.?\/(?!\w[\w-]*\.ts)/.test(source)) dynamic.push(file)
    }

    expect(dynamic).toEqual([])
  })
})

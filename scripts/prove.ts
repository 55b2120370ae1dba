/**
 * `npm run prove`: takes one guard after the other out of a copy of the code, and sees whether a test that cites the
 * requirement fails. Prints a line each; ends with 1 when a removal goes unnoticed or an entry is stale.
 *
 *   npm run prove                 all of them, two at a time
 *   npm run prove -- AR CB-04     those of a group or of one requirement
 *   npm run prove -- --jobs 1 ID  one at a time
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { guardRemovals } from './prove/removals.ts'
import { type GuardRemoval, withoutGuard } from './prove/removal.ts'

const root = new URL('..', import.meta.url).pathname
/** What the tests need of the tree; `node_modules` is only linked. */
const COPIED = ['src', 'test', 'scripts', 'config', 'docs', 'bench', 'package.json', 'tsconfig.json']
/** A run that takes longer has been stopped by the removal in a way that no test could tell. */
const RUN_MS = 300_000

interface Report {
  readonly failed: readonly { readonly file: string; readonly title: string }[]
  readonly passed: number
  /** Test files that could not be loaded. */
  readonly broken: readonly string[]
}

/** Test runs under way, which must not outlive us. */
const running = new Set<ChildProcess>()

const { values, positionals } = parseArgs({ options: { jobs: { type: 'string' } }, allowPositionals: true })
const wanted = guardRemovals.filter(
  ({ id }) => positionals.length === 0 || positionals.some((one) => id === one || id.startsWith(`${one}-`)),
)
process.exitCode = await proveAll(wanted, Number(values.jobs ?? 2))

async function proveAll(removals: readonly GuardRemoval[], jobs: number): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-prove-'))
  const stop = (): void => {
    for (const child of running) child.kill()
    rmSync(directory, { recursive: true, force: true })
    process.exit(130)
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
  const queue = [...removals]
  const complaints: string[] = []
  try {
    const intact = await runIntact(removals, copyOfTree(join(directory, 'intact')))
    if (intact.broken.length > 0) {
      console.log(`cannot be loaded, with every guard in place:\n${intact.broken.join('\n')}`)
      return 1
    }
    const workers = Array.from({ length: Math.max(1, jobs) }, async (_, number) => {
      const copy = copyOfTree(join(directory, String(number)))
      for (let next = queue.shift(); next; next = queue.shift()) {
        const anyway = noticeIn(intact, next)
        const complaint = anyway === undefined ? await prove(next, copy) : `fails without the removal, too: ${anyway}`
        if (complaint !== undefined) complaints.push(complaint)
        console.log(`${complaint === undefined ? 'noticed ' : 'FAILED  '} ${next.id}  ${complaint ?? next.without}`)
      }
    })
    await Promise.all(workers)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  console.log(`\n${removals.length - complaints.length} of ${removals.length} removals were noticed`)
  return complaints.length === 0 && removals.length > 0 ? 0 : 1
}

function copyOfTree(copy: string): string {
  for (const name of COPIED) cpSync(join(root, name), join(copy, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** A test that fails with its guard in place would notice everything. */
async function runIntact(removals: readonly GuardRemoval[], copy: string): Promise<Report> {
  const ids = [...new Set(removals.map(({ id }) => id))]
  const tests = [...new Set(removals.flatMap((removal) => removal.tests))]
  return await runTests(copy, tests, ids.join('|'), [])
}

/** Why the removal is not proved; `undefined` when a test noticed it. */
async function prove(removal: GuardRemoval, copy: string): Promise<string | undefined> {
  const { id, file, tests, without } = removal
  const path = join(copy, file)
  const source = readFileSync(path, 'utf8')
  let broken: string
  try {
    broken = withoutGuard(source, removal)
  } catch (error) {
    return error instanceof Error ? error.message : 'stale'
  }
  writeFileSync(path, broken)
  try {
    const report = await runTests(copy, tests, id, ['--bail=1'])
    if (noticeIn(report, removal) !== undefined) return undefined
    return report.passed === 0 ? `no test that cites ${id} ran (${without})` : `nobody noticed: ${without}`
  } finally {
    writeFileSync(path, source)
  }
}

/** The title of a failed test that cites the requirement, in one of the files named. */
function noticeIn({ failed }: Report, { id, tests }: GuardRemoval): string | undefined {
  return failed.find(({ file, title }) => title.includes(id) && tests.some((test) => file.endsWith(`/${test}`)))?.title
}

/** Runs those tests of the files whose title has the pattern. */
function runTests(
  copy: string,
  tests: readonly string[],
  pattern: string,
  options: readonly string[],
): Promise<Report> {
  const output = join(copy, 'report.json')
  rmSync(output, { force: true })
  const args = ['run', '-c', 'test/vitest.config.ts', ...tests, '-t', pattern, ...options, '--reporter=json']
  const child = spawn(
    process.execPath,
    [join(copy, 'node_modules/vitest/vitest.mjs'), ...args, `--outputFile=${output}`],
    {
      cwd: copy,
      stdio: 'ignore',
    },
  )
  running.add(child)
  const timer = setTimeout(() => child.kill('SIGKILL'), RUN_MS)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', () => {
      running.delete(child)
      clearTimeout(timer)
      resolve(readReport(output))
    })
  })
}

function readReport(output: string): Report {
  let text: string
  try {
    text = readFileSync(output, 'utf8')
  } catch {
    return { failed: [], passed: 0, broken: [] } // stopped before it had something to say
  }
  // vitest's JSON reporter writes what jest's does.
  const report = JSON.parse(text) as {
    testResults: { name: string; status: string; assertionResults: { status: string; fullName: string }[] }[]
  }
  const results = report.testResults.flatMap(({ name: file, assertionResults }) =>
    assertionResults.map(({ status, fullName: title }) => ({ file, title, status })),
  )
  return {
    failed: results.filter(({ status }) => status === 'failed'),
    passed: results.filter(({ status }) => status === 'passed').length,
    broken: report.testResults
      .filter(({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0)
      .map(({ name }) => name),
  }
}

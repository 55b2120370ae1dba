// `npm test`: provides what the tests need, runs them, and closes with one line that counts them.
//
//   npm test                         everything
//   npm test -- test/unit/x.test.ts  some of it; arguments are vitest's
//   npm run test:interop             the gateway with other authorization servers, by `--interop`
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findProgram, interopTools, provide, tools } from './test-tools.mjs'
import { judge } from './test-verdict.mjs'

const root = new URL('..', import.meta.url).pathname
const isInterop = process.argv[2] === '--interop'
const args = process.argv.slice(isInterop ? 3 : 2)

const complaint = provide((isInterop ? interopTools : tools).filter((tool) => findProgram(tool.names) === undefined))
if (complaint !== undefined) {
  process.stderr.write(`npm test: ${complaint}\n`)
  process.exit(1)
}

const directory = mkdtempSync(join(tmpdir(), 'sidegate-test-'))
const reportFile = join(directory, 'report.json')
process.exitCode = await run()
rmSync(directory, { recursive: true })

/** Runs vitest, judges its report and prints the closing line; resolves the exit code. */
async function run() {
  const exitCode = await vitest()
  let report
  try {
    report = JSON.parse(readFileSync(reportFile, 'utf8'))
  } catch {
    process.stderr.write('npm test: vitest ended without a report\n')
    return exitCode || 1
  }
  const skips = isInterop ? [] : JSON.parse(readFileSync(join(root, 'test/skips.json'), 'utf8'))
  const { passed, failed, skipped, complaints } = judge(report, skips, args.length === 0)
  for (const line of complaints) process.stderr.write(`npm test: ${line}\n`)
  // Errors outside of any test fail vitest without a failed test to show for it.
  const unaccounted = exitCode !== 0 && failed === 0 ? 1 : 0
  process.stdout.write(
    `\n${passed} passed, ${failed + complaints.length + unaccounted} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`,
  )
  return exitCode !== 0 || failed > 0 || complaints.length > 0 ? 1 : 0
}

function vitest() {
  const config = isInterop ? 'test/interop/vitest.config.ts' : 'test/vitest.config.ts'
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`]
  const child = spawn(
    process.execPath,
    [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '-c', config, ...reporters, ...args],
    { cwd: root, stdio: 'inherit' },
  )
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  process.on('SIGINT', () => {}) // the terminal tells vitest itself
  return new Promise((resolve) => {
    child.on('exit', (code) => resolve(code ?? 1))
    child.on('error', () => resolve(1))
  })
}

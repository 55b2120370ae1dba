import { styleText } from 'node:util'
import { effectiveTree, effectiveValues } from '../config/effective.ts'
import type { EffectiveValue } from '../config/effective.ts'
import { loadConfig } from '../config/load.ts'
import type { LoadedConfig } from '../config/load.ts'
import { formatPath, formatProblem, plainProblem } from '../config/problem.ts'
import { cookieNames, sessionSameSite } from '../http/cookies.ts'
import { registrations } from './registration.ts'
import { configFile, configHelp, configOption, readArguments } from './usage.ts'

const help = `
Usage: sidegate check [--config FILE] [--json]

Reads the configuration as serve would, without touching the network, and prints what is in force: every value with
where it came from, secrets as ***. Every problem is told at once; then the exit code is 2.

Options:
${configHelp}
      --json          one JSON object on stdout, with the problems in it as well
`

/** `sidegate check`: what is wrong with the configuration, or what is in force. */
export function check(args: readonly string[]): Promise<number> {
  const parsed = readArguments(args, help, { ...configOption, json: { type: 'boolean' } })
  if (!parsed) return Promise.resolve(0)
  const file = configFile(parsed.options)
  return Promise.resolve(parsed.options['json'] === true ? checkAsJson(file) : checkAsText(file))
}

function checkAsText(file: string): number {
  const loaded = loadConfig(file)
  const values = effectiveValues(loaded)
  const width = Math.min(60, Math.max(...values.map((value) => lineOf(value).length)))
  const lines = values.map((value) => `${lineOf(value).padEnd(width)}  ${dim(`# ${value.origin}`)}`)
  process.stdout.write(`${lines.join('\n')}\n\n${summary(loaded)}\n`)
  // Warnings are for people: what is in force stays readable by programs.
  for (const warning of loaded.warnings) process.stderr.write(`warning: ${formatProblem(file, warning)}\n`)
  return 0
}

function lineOf({ path, value }: EffectiveValue): string {
  return `${formatPath(path)}: ${typeof value === 'string' && /^[\w./:@*-]+$/.test(value) ? value : JSON.stringify(value)}`
}

function summary({ config, file, warnings }: LoadedConfig): string {
  const cookies = cookieNames(config)
  const register = registrations(config).map(({ what, uri }) => `  ${what.padEnd(26)}${uri}`)
  return [
    `${file}: fine${warnings.length > 0 ? `, with ${warnings.length} warning${warnings.length === 1 ? '' : 's'}` : ''}`,
    `session cookie: ${cookies.session}; SameSite=${sessionSameSite(config)}`,
    `session store: ${config.store.redis ? 'Redis' : 'memory: for one process, and gone when it ends'}`,
    'to register at the authorization server:',
    ...register,
  ].join('\n')
}

function checkAsJson(file: string): number {
  const loaded = loadConfig(file)
  const values = effectiveValues(loaded)
  const origins = Object.fromEntries(values.map(({ path, origin }) => [formatPath(path), origin]))
  const register = Object.fromEntries(registrations(loaded.config).map(({ what, uri }) => [what, uri]))
  print({
    ok: true,
    file,
    config: effectiveTree(values),
    origins,
    register,
    warnings: loaded.warnings.map(plainProblem),
    problems: [],
  })
  return 0
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

function dim(text: string): string {
  // styleText looks at the stream itself: no colours in a file, none with NO_COLOR.
  return styleText('dim', text, { stream: process.stdout })
}

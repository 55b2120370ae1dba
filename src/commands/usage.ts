/** What every command shares: reading its arguments, `--help`, and wrong usage as an error of its own. */
import { parseArgs } from 'node:util'
import type { ParseArgsOptionsConfig } from 'node:util'
import { suggest } from '../config/suggest.ts'

/** The command line makes no sense: the command ends with 2 and says how it is used. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly exitCode = 2
}

/** A command's arguments, or `undefined` when its help was asked for and has been printed. */
export interface CommandArguments {
  readonly options: Readonly<Record<string, string | boolean | undefined>>
  readonly positionals: readonly string[]
}

/**
 * Reads the arguments of one command.
 *
 * @throws UsageError for an unknown option, a missing value or too many words
 */
export function readArguments(
  args: readonly string[],
  help: string,
  options: ParseArgsOptionsConfig = {},
  words = 0,
): CommandArguments | undefined {
  let parsed
  try {
    parsed = parseArgs({
      args: [...args],
      options: { ...options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: words > 0,
      strict: true,
    })
  } catch (error) {
    throw new UsageError(messageOf(error, Object.keys(options)))
  }
  const { values, positionals } = parsed
  if (values['help'] === true) {
    process.stdout.write(`${help.trim()}\n`)
    return undefined
  }
  if (positionals.length > words) throw new UsageError(`too many words: ${positionals.slice(words).join(' ')}`)
  return { options: values, positionals }
}

function messageOf(error: unknown, names: readonly string[]): string {
  // Node says what is wrong in its first sentence; the rest is advice about `--`.
  const message = error instanceof Error ? (error.message.split('. ')[0] ?? '') : 'wrong usage'
  const [, unknown] = /^Unknown option '--([^']+)'/.exec(message) ?? []
  const meant = unknown === undefined ? undefined : suggest(unknown, [...names, 'help'])
  return meant === undefined ? message : `${message}; did you mean --${meant}?`
}

/** The option `--config FILE`, for commands that read the configuration. */
export const configOption = { config: { type: 'string', short: 'c' } } as const satisfies ParseArgsOptionsConfig

/** Which file: `--config`, else SIDEGATE_CONFIG, else sidegate.yaml. */
export function configFile(options: CommandArguments['options']): string {
  const named = options['config']
  if (typeof named === 'string') {
    if (named === '') throw new UsageError('--config needs a file')
    return named
  }
  return process.env['SIDEGATE_CONFIG'] || 'sidegate.yaml'
}

/** The line on `--config` in a command's help. */
export const configHelp = '  -c, --config FILE   the configuration (default: SIDEGATE_CONFIG, else sidegate.yaml)'

import { existsSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { isLoopback } from '../config/network.ts'
import { presets } from './presets.ts'
import type { Preset } from './presets.ts'
import { registrations } from './registration.ts'
import type { Registration } from './registration.ts'
import { UsageError, readArguments } from './usage.ts'
import type { CommandArguments } from './usage.ts'

const help = `
Usage: sidegate init [--preset NAME] [--public-url URL] [--issuer URL] [--client-id ID] [--api URL]
                     [--output FILE] [--json]

Writes a configuration with comments to begin with, and prints the addresses to register at the authorization server.
On a terminal it asks for what is not given; elsewhere it takes examples in their place.

Options:
      --preset NAME      ${Object.keys(presets).join(', ')} (default generic)
      --public-url URL   the origin that browsers see (default http://localhost:8080)
      --issuer URL       issuer of the authorization server, as its discovery document says it
      --client-id ID     identifier of the client there
      --api URL          an API to put behind /api (default http://localhost:3000)
  -o, --output FILE      where to write (default sidegate.yaml, never over a file that is there; - is stdout)
      --json             what was written and what to register, as one JSON object on stdout
`

/** What the configuration is made of. */
export interface InitAnswers {
  readonly publicUrl: string
  readonly issuer: string
  readonly clientId: string
  readonly api: string
}

/** `sidegate init`: from nothing to a configuration that only lacks the secret. */
export async function init(args: readonly string[]): Promise<void> {
  const text = { type: 'string' } as const
  const parsed = readArguments(args, help, {
    preset: text,
    'public-url': text,
    issuer: text,
    'client-id': text,
    api: text,
    output: { type: 'string', short: 'o' },
    json: { type: 'boolean' },
  })
  if (!parsed) return
  const name = parsed.options['preset'] ?? 'generic'
  const preset = typeof name === 'string' && Object.hasOwn(presets, name) ? presets[name] : undefined
  if (!preset) throw new UsageError(`--preset takes one of ${Object.keys(presets).join(', ')}`)
  const output = String(parsed.options['output'] ?? 'sidegate.yaml')
  if (output !== '-' && existsSync(output))
    throw new UsageError(`${output} is there already; choose another with --output`)

  const { answers, examples } = await ask(parsed.options, preset)
  const yaml = configurationOf(preset, answers)
  // `wx`: not even a file that came into being while we asked is written over.
  if (output !== '-') writeFileSync(output, yaml, { flag: 'wx' })
  const json = parsed.options['json'] === true
  if (json) {
    const register = Object.fromEntries(registrationsOf(answers).map(({ what, uri }) => [what, uri]))
    const file = output === '-' ? undefined : output
    process.stdout.write(
      `${JSON.stringify({ file, preset: name, yaml, register, examples, notes: preset.notes }, null, 2)}\n`,
    )
    return
  }
  if (output === '-') process.stdout.write(yaml)
  const report = output === '-' ? process.stderr : process.stdout
  report.write(nextSteps(preset, answers, { output, examples }))
}

/** The answers, and of which nobody gave one: an example stands in the file then. */
async function ask(
  options: CommandArguments['options'],
  preset: Preset,
): Promise<{ answers: InitAnswers; examples: string[] }> {
  const terminal =
    process.stdin.isTTY && process.stderr.isTTY
      ? createInterface({ input: process.stdin, output: process.stderr })
      : undefined
  const examples: string[] = []
  const answer = async (option: string, question: string, example: string) => {
    const given = options[option]
    if (typeof given === 'string') return given
    const typed = (await terminal?.question(`${question} [${example}] `))?.trim()
    if (typed !== undefined && typed !== '') return typed
    examples.push(option)
    return example
  }
  try {
    const answers = {
      publicUrl: origin(
        await answer('public-url', 'Under which address do browsers see the application?', 'http://localhost:8080'),
      ),
      issuer: url(await answer('issuer', `Issuer of ${preset.title}?`, preset.issuer), '--issuer'),
      clientId: await answer('client-id', 'Client id there?', 'shop'),
      api: url(await answer('api', 'Where is the API?', 'http://localhost:3000'), '--api'),
    }
    return { answers, examples }
  } finally {
    terminal?.close()
  }
}

function url(text: string, option: string): string {
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? ''))
    throw new UsageError(`${option} takes a URL that begins with https:// or http://`)
  return text
}

function origin(text: string): string {
  return new URL(url(text, '--public-url')).origin
}

/** The configuration as YAML with comments; valid as soon as the secret is there. */
export function configurationOf(preset: Preset, answers: InitAnswers): string {
  const local = isLoopback(new URL(answers.publicUrl).hostname)
  const lines = [
    '# yaml-language-server: $schema=./schema.json',
    '# (sidegate schema > schema.json)',
    '',
    '# The one origin that browsers see; redirect URIs are built from it.',
    `publicUrl: ${quoted(answers.publicUrl)}`,
    '',
    `# ${preset.title}`,
    ...preset.notes.map((note) => `# - ${note}`),
    'provider:',
    `  issuer: ${quoted(answers.issuer)}`,
    `  clientId: ${quoted(answers.clientId)}`,
    '  # Or clientSecretFile: /run/secrets/client-secret',
    '  clientSecret: ${CLIENT_SECRET:?the secret of the client, from the authorization server}',
    `  scopes: [${preset.scopes.map(quoted).join(', ')}]`,
    ...(preset.provider ?? []).map((line) => `  ${line}`),
    '',
    ...(local
      ? ['# Sessions are in memory. For several instances:']
      : ['# Sessions are in memory, for one process. In production:']),
    '# store: { redis: { url: "rediss://redis:6379/0" } }',
    '# session: { keysFile: /run/secrets/session-keys } # made by: sidegate keygen',
    '',
    'routes:',
    '  - path: /api # and everything below it',
    `    upstream: ${quoted(answers.api)}`,
    `    session: required # 401 without one${preset.route ? '' : '; the access token goes upstream'}`,
    ...(preset.route ?? []).map((line) => `    ${line}`),
    '  - path: /',
    '    spa: { directory: ./public } # or devServer: http://localhost:5173',
    '    session: none',
    '',
  ]
  return lines.join('\n')
}

/** Plain where YAML takes it for a text and `$` means nothing. */
function quoted(text: string): string {
  const escaped = text.replaceAll('$', '$$$$')
  return /^[A-Za-z][A-Za-z0-9_.:/-]*$/.test(escaped) && !/^(true|false|null)$/i.test(escaped)
    ? escaped
    : JSON.stringify(escaped)
}

function registrationsOf({ publicUrl }: InitAnswers): Registration[] {
  return registrations({ publicUrl, basePath: '/bff' })
}

function nextSteps(
  preset: Preset,
  answers: InitAnswers,
  { output, examples }: { output: string; examples: readonly string[] },
): string {
  const written = output === '-' ? [] : [`${output} is written.`, '']
  const config = output === 'sidegate.yaml' || output === '-' ? '' : ` --config ${output}`
  return [
    ...written,
    `Register at ${preset.title}:`,
    ...registrationsOf(answers).map(({ what, uri }) => `  ${what.padEnd(26)}${uri}`),
    '',
    ...(examples.length > 0 ? [`Examples stand in the file for: ${examples.join(', ')}. Put in your own.`, ''] : []),
    'Then, with the secret that the server gave you in the environment (CLIENT_SECRET=…):',
    `  sidegate check${config}     is the file right?`,
    `  sidegate doctor${config}    is everything there?`,
    `  sidegate${config || '          '}    run it`,
    '',
  ].join('\n')
}

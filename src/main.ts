#!/usr/bin/env node
/** The command line: which command, and how the process ends. 0 fine, 1 failed while running, 2 wrong usage or configuration. */
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { UsageError } from './commands/usage.ts'
import { ConfigError, problemReport } from './config/problem.ts'
import { suggest } from './config/suggest.ts'
import { useOneUndici } from './one-undici.ts'

type Command = (args: readonly string[]) => Promise<number | void>

/** Each is loaded when it is called, so that `keygen` does not wait for a web server; undici before those that use it. */
const commands: Readonly<Record<string, { summary: string; load: () => Promise<Command> }>> = {
  serve: {
    summary: 'run the gateway (the default)',
    load: async () => {
      await useOneUndici()
      return (await import('./commands/serve.ts')).serve
    },
  },
  check: {
    summary: 'check the configuration and print what is in force',
    load: async () => (await import('./commands/check.ts')).check,
  },
  doctor: {
    summary: 'go and see whether everything is there',
    load: async () => {
      await useOneUndici()
      return (await import('./commands/doctor.ts')).doctor
    },
  },
  explain: {
    summary: 'say what happens to a request: explain GET /api/orders/7',
    load: async () => (await import('./commands/explain.ts')).explain,
  },
  init: { summary: 'write a configuration to begin with', load: async () => (await import('./commands/init.ts')).init },
  schema: {
    summary: 'print the JSON Schema of the configuration',
    load: async () => (await import('./commands/schema.ts')).schema,
  },
  keygen: {
    summary: 'make a session key, or a client key',
    load: async () => (await import('./commands/keygen.ts')).keygen,
  },
  demo: {
    summary: 'run the whole thing on loopback, with everything inside',
    load: async () => {
      await useOneUndici()
      return (await import('./commands/demo.ts')).demo
    },
  },
}

const help = `
Usage: sidegate [COMMAND] [OPTIONS]

A backend-for-frontend gateway: the OAuth client in front of a single-page app and its APIs.

Commands:
${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`)
  .join('\n')}

Options:
  -c, --config FILE   the configuration (default: SIDEGATE_CONFIG, else sidegate.yaml)
  -h, --help          this text, or with a command its own
  -v, --version       version

Exit codes: 0 fine, 1 failed while running, 2 wrong usage or configuration.
`

async function run(args: readonly string[]): Promise<number> {
  const [first] = args
  if (first === '--help' || first === '-h' || first === 'help') {
    process.stdout.write(`${help.trim()}\n`)
    return 0
  }
  if (first === '--version' || first === '-v') {
    process.stdout.write(`${version()}\n`)
    return 0
  }
  const named = first !== undefined && !first.startsWith('-')
  const name = named ? first : 'serve'
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) {
    const meant = suggest(name, Object.keys(commands))
    throw new UsageError(
      `unknown command ${JSON.stringify(name)}${meant === undefined ? '' : `; did you mean ${meant}?`}`,
    )
  }
  const execute = await command.load()
  return (await execute(named ? args.slice(1) : args)) ?? 0
}

function version(): string {
  // Beside `src` as beside `dist`.
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  // Our own package.json has a version.
  return `sidegate ${(JSON.parse(text) as { version: string }).version} (Node ${process.versions.node})`
}

/** A reader that goes away early, as `| head` does, is no failure. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

async function main(words: readonly string[]): Promise<void> {
  try {
    process.exitCode = await run(words)
  } catch (error) {
    if (error instanceof ConfigError) {
      if (words.includes('--json')) process.stdout.write(`${JSON.stringify(problemReport(error), null, 2)}\n`)
      else process.stderr.write(`${error.message}\n`)
      process.exitCode = error.exitCode
    } else if (error instanceof UsageError) {
      const [command = ''] = words
      const help = Object.hasOwn(commands, command) ? `${command} --help` : '--help'
      process.stderr.write(`sidegate: ${error.message}\nTry: sidegate ${help}\n`)
      process.exitCode = error.exitCode
    } else {
      process.stderr.write(`sidegate: ${error instanceof Error ? error.message : 'failed'}\n`)
      process.exitCode = 1
    }
  }
}

// Not awaited here: the bundle is CommonJS.
void main(process.argv.slice(2))

import { configJsonSchema } from '../config/json-schema.ts'
import { configurationReference } from './reference.ts'
import { UsageError, readArguments } from './usage.ts'

const help = `
Usage: sidegate schema [--json | --reference]

Prints the JSON Schema (draft-07) of the configuration file, for editors. In the YAML file:
  # yaml-language-server: $schema=./schema.json

Options:
      --json        the JSON Schema, as without options
      --reference   every key with its default and meaning, as Markdown (docs/configuration.md)
`

/** `sidegate schema`: what editors complete and check the configuration with. */
export function schema(args: readonly string[]): Promise<void> {
  const parsed = readArguments(args, help, { json: { type: 'boolean' }, reference: { type: 'boolean' } })
  const { json, reference } = parsed?.options ?? {}
  if (json === true && reference === true) throw new UsageError('--reference is Markdown: it does not go with --json')
  if (parsed) process.stdout.write(reference === true ? configurationReference() : schemaText())
  return Promise.resolve()
}

/** The text of `config/schema.json`. */
export function schemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`
}

import { configJsonSchema } from '../config/json-schema.ts'
import { configurationReference } from './reference.ts'
import { readArguments } from './usage.ts'

const help = `
Usage: sidegate schema [--reference]

Prints the JSON Schema (draft-07) of the configuration file, for editors. In the YAML file:
  # yaml-language-server: $schema=./schema.json

Options:
      --reference   every key with its default and meaning, as Markdown (docs/configuration.md)
`

/** `sidegate schema`: what editors complete and check the configuration with. */
export function schema(args: readonly string[]): Promise<void> {
  const parsed = readArguments(args, help, { reference: { type: 'boolean' } })
  if (parsed) process.stdout.write(parsed.options['reference'] === true ? configurationReference() : schemaText())
  return Promise.resolve()
}

/** The text of `config/schema.json`. */
export function schemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`
}

import { configJsonSchema } from '../config/json-schema.ts'
import { readArguments } from './usage.ts'

const help = `
Usage: sidegate schema

Prints the JSON Schema (draft-07) of the configuration file, for editors. In the YAML file:
  # yaml-language-server: $schema=./schema.json
`

/** `sidegate schema`: what editors complete and check the configuration with. */
export function schema(args: readonly string[]): Promise<void> {
  if (readArguments(args, help)) process.stdout.write(schemaText())
  return Promise.resolve()
}

/** The text of `config/schema.json`. */
export function schemaText(): string {
  return `${JSON.stringify(configJsonSchema(), null, 2)}\n`
}

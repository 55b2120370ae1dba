/** `docs/configuration.md`: every key with its default and meaning, out of the schema. */
import { configJsonSchema } from '../config/json-schema.ts'
import type { JsonSchema } from '../config/json-schema.ts'

const INTRODUCTION = `# Configuration

<!-- Written by \`sidegate schema --reference\`; edit the shapes in \`src/config\` instead. -->

One YAML file: \`sidegate --config FILE\`, else the one that \`SIDEGATE_CONFIG\` names, else \`sidegate.yaml\`.
\`sidegate init\` writes one to begin with, \`sidegate check\` tells what is wrong with it, or what is in force and where
each value comes from. [\`config/sidegate.yaml\`](../config/sidegate.yaml) is a production example with comments.

- **Durations** are \`500ms\`, \`30s\`, \`15m\`, \`10h\` or \`7d\`; **sizes** \`32kb\` or \`1mb\`; **rates** \`20/min\` (\`s\`, \`min\`, \`h\`) or \`off\`.
- **Environment**: \`\${NAME}\`, \`\${NAME:-default}\` and \`\${NAME:?message}\` may stand in any value; \`$$\` is a plain \`$\`.
  They are replaced after the YAML is parsed, so that a value can never add keys. Within \`[ ]\` and \`{ }\` write
  \`"\${NAME}"\` in quotes.
- **Secrets** are better read from files: every secret \`x\` may be given as \`xFile: PATH\` instead (line breaks at the end
  are cut off). Files of lists hold one entry a line. Relative paths start at the directory of the configuration file.
- **Changes**: the file and all files that it names are watched, and SIGHUP reads them at once. What cannot be used is
  logged, and the old configuration stays in force.
- **Mistakes** stop the start: unknown keys, wrong kinds and contradictions, all at once, each with file, line and column
  and what to write instead; never with a secret's value. The exit code is 2.
- **Editors** complete and check the file with \`config/schema.json\` (\`sidegate schema\` prints it):
  \`# yaml-language-server: $schema=./schema.json\` as the first line.
`

/** Sections in the order of the file; keys that are single values come first, together. */
export function configurationReference(): string {
  const { properties = {}, required = [] } = configJsonSchema()
  const single = Object.entries(properties).filter(([, schema]) => !membersOf(schema))
  const sections = Object.entries(properties).filter(([, schema]) => membersOf(schema))
  const parts = [
    INTRODUCTION,
    table(single.map(([name, schema]) => row(name, schema, properties, required.includes(name)))),
  ]
  for (const [name, schema] of sections) {
    parts.push(`## \`${name}\`\n\n${schema.description ?? ''}\n`)
    // The same keys under another name need no second table.
    if (name === 'providers')
      parts.push('`providers.NAME` holds the keys of `provider`; the name is what `login?provider=` takes.\n')
    else parts.push(table(rows(schema, name)))
  }
  return `${parts.join('\n').trimEnd()}\n`
}

function rows(schema: JsonSchema, path: string): string[] {
  const { schema: members, suffix } = membersOf(schema) ?? { schema, suffix: '' }
  const { properties = {}, required = [] } = members
  return Object.entries(properties).flatMap(([name, below]) => {
    const key = `${path}${suffix}.${name}`
    // `xFile` is told with `x`.
    if (name.endsWith('File') && properties[name.slice(0, -4)]) return []
    const own = row(key, below, properties, required.includes(name))
    return membersOf(below) ? [own, ...rows(below, key)] : [own]
  })
}

/** The keys below this one: of a mapping, of a list's entries, of the alternatives that are mappings. */
function membersOf(schema: JsonSchema): { schema: JsonSchema; suffix: string } | undefined {
  if (schema.properties) return { schema, suffix: '' }
  if (schema.items?.properties) return { schema: schema.items, suffix: '[]' }
  if (typeof schema.additionalProperties === 'object' && schema.additionalProperties.properties) {
    return { schema: schema.additionalProperties, suffix: '.NAME' }
  }
  const mappings = (schema.anyOf ?? []).filter((one) => one.properties)
  if (mappings.length === 0) return undefined
  return {
    schema: { properties: Object.assign({}, ...mappings.map((one) => one.properties)) as Record<string, JsonSchema> },
    suffix: '',
  }
}

function row(
  key: string,
  schema: JsonSchema,
  siblings: Readonly<Record<string, JsonSchema>>,
  isRequired: boolean,
): string {
  const name = key.split('.').at(-1) ?? key
  const file = siblings[`${name}File`] ? `, \`${name}File\`` : ''
  const choices = choicesOf(schema)
  const description = `${schema.description ?? ''}${choices.length > 0 ? ` One of ${choices.map((one) => `\`${one}\``).join(', ')}.` : ''}`
  return `| \`${key}\`${file} | ${isRequired ? 'required' : defaultOf(schema)} | ${description.replaceAll('|', '\\|')} |`
}

function choicesOf(schema: JsonSchema): string[] {
  if (schema.enum) return schema.enum.map(String)
  const single = (schema.anyOf ?? []).find((one) => one.enum)
  return single?.enum?.map(String) ?? []
}

function defaultOf(schema: JsonSchema): string {
  const { default: value } = schema
  if (value === undefined || (typeof value === 'object' && value !== null && !Array.isArray(value))) return '—'
  return `\`${typeof value === 'string' ? value : JSON.stringify(value).replaceAll(',', ', ').replaceAll('"', '')}\``
}

function table(lines: readonly string[]): string {
  return `| key | default | meaning |\n| --- | --- | --- |\n${lines.join('\n')}\n`
}

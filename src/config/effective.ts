/** What is in force, value by value: secrets masked, defaults filled in, each with where it came from. */
import { isRecord, valueAt } from './explain.ts'
import { configJsonSchema, isSecret } from './json-schema.ts'
import type { JsonSchema } from './json-schema.ts'
import type { LoadedConfig } from './load.ts'
import { formatPath } from './problem.ts'
import type { ConfigPath } from './problem.ts'

/** One value in force, as it would stand in YAML. */
export interface EffectiveValue {
  readonly path: ConfigPath
  /** A secret is `***`. */
  readonly value: unknown
  /** `sidegate.yaml:3`, `environment CLIENT_SECRET`, `file /run/secrets/client`, `default`. */
  readonly origin: string
}

const MASK = '***'

/** Every single value, in the order of the schema; lists of plain values count as one. */
export function effectiveValues(loaded: LoadedConfig): EffectiveValue[] {
  const values: EffectiveValue[] = []
  collect(loaded, loaded.input, configJsonSchema(), [], false, values)
  return values
}

/** The same as one nested object. */
export function effectiveTree(values: readonly EffectiveValue[]): Record<string, unknown> {
  const root: Record<string, unknown> = {}
  for (const { path, value } of values) place(root, path, value)
  return root
}

function collect(
  loaded: LoadedConfig,
  value: unknown,
  schema: JsonSchema,
  path: ConfigPath,
  isDefault: boolean,
  values: EffectiveValue[],
): void {
  const fitting = alternativeFor(schema, value)
  if (isRecord(value) && !schema.writeOnly) {
    for (const [key, below] of Object.entries(fitting.properties ?? {})) {
      if (Object.hasOwn(value, key)) collect(loaded, value[key], below, [...path, key], isDefault, values)
      else if (below.default !== undefined) collect(loaded, below.default, below, [...path, key], true, values)
    }
    const further = Object.keys(value).filter((key) => !Object.hasOwn(fitting.properties ?? {}, key))
    const member = typeof fitting.additionalProperties === 'object' ? fitting.additionalProperties : {}
    for (const key of further) collect(loaded, value[key], member, [...path, key], isDefault, values)
    return
  }
  if (Array.isArray(value) && value.some((item) => isRecord(item))) {
    for (const [index, item] of value.entries())
      collect(loaded, item, fitting.items ?? {}, [...path, index], isDefault, values)
    return
  }
  // One default depends on another key: the signature algorithm on the profile.
  const chosen = isDefault && schema.enum ? valueAt(loaded.config, path) : value
  values.push({ path, value: shown(chosen, path), origin: isDefault ? 'default' : originOf(loaded, path) })
}

/** Of several kinds that may stand here, the one that does. */
function alternativeFor(schema: JsonSchema, value: unknown): JsonSchema {
  if (!schema.anyOf) return schema
  const keys = isRecord(value) ? Object.keys(value) : []
  const isKind = (one: JsonSchema) =>
    isRecord(value)
      ? one.type === 'object'
      : Array.isArray(value)
        ? one.type === 'array'
        : one.type !== 'object' && one.type !== 'array'
  const kinds = schema.anyOf.filter(isKind)
  return kinds.find((one) => keys.every((key) => Object.hasOwn(one.properties ?? {}, key))) ?? kinds[0] ?? {}
}

function shown(value: unknown, path: ConfigPath): unknown {
  if (!isSecret(path)) return value
  if (Array.isArray(value)) return value.map(() => MASK)
  return isRecord(value) ? Object.fromEntries(Object.keys(value).map((key) => [key, MASK])) : MASK
}

function originOf(loaded: LoadedConfig, path: ConfigPath): string {
  const id = formatPath(path)
  const entries = loaded.entries.filter(
    (entry) => formatPath(entry.path) === id || formatPath(entry.path).startsWith(`${id}[`),
  )
  const environment = [...new Set(entries.flatMap((entry) => entry.environment))]
  if (environment.length > 0) return `environment ${environment.join(', ')}`
  const { line } = loaded.place(path)
  if (entries.length > 0) return `${loaded.file}:${line}`
  const last = path.at(-1)
  const sibling = [...path.slice(0, -1), `${String(last)}File`]
  const named = loaded.entries.some((entry) => formatPath(entry.path) === formatPath(sibling))
  return named ? `file named in ${loaded.file}:${line}` : `${loaded.file}:${line}`
}

function place(root: Record<string, unknown>, path: ConfigPath, value: unknown): void {
  let at: Record<string, unknown> | unknown[] = root
  for (const [index, key] of path.entries()) {
    const isLast = index === path.length - 1
    const next: unknown = isLast ? value : (Reflect.get(at, key) ?? (typeof path[index + 1] === 'number' ? [] : {}))
    Reflect.defineProperty(at, key, { value: next, enumerable: true, configurable: true, writable: true })
    if (isRecord(next) || Array.isArray(next)) at = next
  }
}

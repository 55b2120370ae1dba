/** The configuration's JSON Schema, and what it says about a place in the file. */
import type { ConfigPath } from './problem.ts'
import { shapeSchema } from './shape-schema.ts'

/** The part of JSON Schema (draft-07) that zod writes for our shape. */
export interface JsonSchema {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | JsonSchema
  readonly items?: JsonSchema
  readonly anyOf?: readonly JsonSchema[]
  /** A secret: never shown. */
  readonly writeOnly?: boolean
}

let cached: JsonSchema | undefined

/** What editors read: the YAML side of every key (draft-07, as the YAML language server wants it). */
export function configJsonSchema(): JsonSchema {
  // zod's return type is its own; the interface above names the parts that it writes.
  cached ??= { ...(shapeSchema() as JsonSchema), title: 'Sidegate configuration' } as JsonSchema
  return cached
}

/** What the schema says of the value at this place; none for a place that it does not know. */
export function schemasAt(path: ConfigPath): readonly JsonSchema[] {
  let schemas = alternatives(configJsonSchema())
  for (const key of path) schemas = schemas.flatMap((schema) => below(schema, key))
  return schemas
}

function below(schema: JsonSchema, key: string | number): readonly JsonSchema[] {
  if (typeof key === 'number') return schema.items ? alternatives(schema.items) : isAnything(schema) ? [{}] : []
  const property = schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined
  if (property) return alternatives(property)
  if (isAnything(schema)) return [{}]
  const { additionalProperties } = schema
  return typeof additionalProperties === 'object'
    ? alternatives(additionalProperties)
    : additionalProperties === true
      ? [{}]
      : []
}

function isAnything(schema: JsonSchema): boolean {
  return schema.type === undefined && !schema.enum && schema.const === undefined && !schema.anyOf
}

function alternatives(schema: JsonSchema): readonly JsonSchema[] {
  if (!schema.anyOf) return [schema]
  // What stands beside the alternatives holds for each of them.
  return schema.anyOf.flatMap(alternatives).map((one) => (schema.writeOnly ? { ...one, writeOnly: true } : one))
}

/** The keys that may stand here, where they are fixed. */
export function keysAt(path: ConfigPath): string[] {
  return [...new Set(schemasAt(path).flatMap((schema) => Object.keys(schema.properties ?? {})))]
}

/** The first description of the key. */
export function descriptionAt(path: ConfigPath): string | undefined {
  return schemasAt(path).find((schema) => schema.description !== undefined)?.description
}

/** Whether what stands here may be shown: a secret, what is inside one, and what nobody knows may not. */
export function isSecret(path: ConfigPath): boolean {
  for (let length = 1; length <= path.length; length++) {
    const schemas = schemasAt(path.slice(0, length))
    if (schemas.length === 0 || schemas.some((schema) => schema.writeOnly)) return true
  }
  return false
}

/** Whether a text can stand here, or only a number or a truth value. */
export function takesText(path: ConfigPath): boolean {
  const schemas = schemasAt(path)
  return schemas.length === 0 || schemas.some((schema) => schema.type === undefined || schema.type === 'string')
}

/** Whether anything may stand here, as in the members of `provider.metadata`. */
export function takesAnything(path: ConfigPath): boolean {
  return path.length > 0 && schemasAt(path).some(isAnything)
}

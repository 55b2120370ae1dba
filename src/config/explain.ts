/** What the schema's complaints mean, in words that say what to write instead. */
import type { z } from 'zod'
import { descriptionAt, keysAt, schemasAt, configJsonSchema } from './json-schema.ts'
import type { JsonSchema } from './json-schema.ts'
import type { ConfigPath } from './problem.ts'
import { suggest } from './suggest.ts'

/** One complaint in plain words, and how the value could be repaired to look for further ones. */
export interface Complaint {
  readonly path: ConfigPath
  readonly message: string
  readonly at: 'key' | 'value'
  /** What was probably meant: another key beside it, or another value. */
  readonly meant?: { readonly key: string } | { readonly value: unknown } | undefined
}

/** Nobody reads on; and each takes a look at the whole schema. */
const MOST_COMPLAINTS = 100

/** Keys of other gateways, and what takes their place here. */
const HINTS: Readonly<Record<string, string>> = {
  '<<': 'merge keys (<<) are not read here; write the keys out, or stand an alias (*) for a whole value',
  audience: 'write authorizationParams: { audience: … }',
  callbackpath: 'the callback is always {basePath}/callback',
  callbackurl: 'it is built from publicUrl and basePath',
  cookiedomain: 'the cookie belongs to publicUrl’s host alone',
  cookiesecret: 'write session.keysFile, and make a key with `sidegate keygen`',
  issuerurl: 'write issuer',
  pkce: 'PKCE is always on, with S256',
  redirecturi: 'it is built from publicUrl and basePath',
  redirecturl: 'it is built from publicUrl and basePath',
  responsetype: 'it is always code',
  sslverify: 'certificates are always verified; a private authority goes into tls.caFile',
  tlsverify: 'certificates are always verified; a private authority goes into tls.caFile',
  trustproxy: 'write trustedProxies with the addresses of the proxies in front',
}

/** The complaints of one parse; `input` is what was parsed, and never appears in a message. */
export function explainIssues(issues: readonly z.core.$ZodIssue[], input: unknown): Complaint[] {
  return issues.slice(0, MOST_COMPLAINTS).flatMap((issue) => explainIssue(issue, toPath(issue.path), input))
}

function explainIssue(issue: z.core.$ZodIssue, path: ConfigPath, input: unknown): Complaint[] {
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.slice(0, MOST_COMPLAINTS).map((key) => unknownKey(path, key, valueAt(input, path)))
    case 'invalid_type':
      return [{ path, at: 'value', message: wrongType(issue, path, valueAt(input, path)) }]
    case 'invalid_value':
      return [wrongChoice(issue.values, path, valueAt(input, path), issue.message)]
    case 'invalid_union':
      return explainUnion(issue, path, input)
    case 'invalid_key':
      return [{ path, at: 'key', message: issue.issues[0]?.message ?? 'expected another name' }]
    case 'too_small':
    case 'too_big':
      return [{ path, at: 'value', message: issue.message.startsWith('expected') ? issue.message : outOfRange(issue) }]
    default:
      return [{ path, at: 'value', message: issue.message }]
  }
}

function unknownKey(parent: ConfigPath, key: string, siblings: unknown): Complaint {
  const path = [...parent, key]
  const known = keysAt(parent)
  const meant = suggest(key, known)
  const plain = key.replaceAll(/[-_]/g, '').toLowerCase()
  const hint = Object.hasOwn(HINTS, plain) ? HINTS[plain] : undefined
  const complaint = { path, at: 'key' as const }
  if (hint !== undefined) return { ...complaint, message: `unknown key: ${hint}` }
  if (meant !== undefined) {
    const taken = isRecord(siblings) && Object.hasOwn(siblings, meant)
    return { ...complaint, message: `unknown key; did you mean ${meant}?`, ...(!taken && { meant: { key: meant } }) }
  }
  const elsewhere = placesOf(key)
  if (elsewhere.length > 0)
    return { ...complaint, message: `unknown key here; did you mean ${elsewhere.slice(0, 3).join(' or ')}?` }
  return { ...complaint, message: `unknown key; known here: ${known.join(', ')}` }
}

function wrongType(issue: z.core.$ZodIssueInvalidType, path: ConfigPath, value: unknown): string {
  const expected: string = issue.expected
  if (value === undefined) {
    const description = descriptionAt(path)
      ?.split(/(?<=[.:;]) /)[0]
      ?.replace(/[.:;]$/, '')
    return `is missing${description === undefined ? '' : ` (${description})`}`
  }
  if (issue.message.startsWith('expected')) return issue.message
  const words: Record<string, string> = {
    string: 'a text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
    array: 'a list',
    object: 'a mapping of keys and values',
    record: 'a mapping of keys and values',
  }
  const wanted = words[expected] ?? expected
  if (expected === 'string' && (typeof value === 'number' || typeof value === 'boolean')) {
    return `expected a text, got a ${typeof value === 'number' ? 'number' : 'truth value'}; write it in quotes, or with its unit`
  }
  if (expected === 'array' && typeof value === 'string')
    return 'expected a list, got a text: write [ … ], or one entry a line with - in front'
  if (expected === 'boolean' && typeof value === 'string' && /^(yes|no|on|off|y|n)$/i.test(value))
    return 'expected true or false; yes, no, on and off are texts in YAML 1.2'
  return `expected ${wanted}, got ${kindOf(value)}`
}

function wrongChoice(values: readonly unknown[], path: ConfigPath, value: unknown, message: string): Complaint {
  const choices = values.map(String)
  const meant = typeof value === 'string' ? suggest(value, choices) : undefined
  const listed = message.startsWith('expected')
    ? message
    : `expected ${choices.length > 1 ? 'one of ' : ''}${choices.join(', ')}`
  if (value === undefined) return { path, at: 'value', message: `is missing; ${listed}` }
  return {
    path,
    at: 'value',
    message: meant === undefined ? listed : `${listed}; did you mean ${meant}?`,
    meant: meant === undefined ? undefined : { value: meant },
  }
}

/** Of the alternatives, the one that was probably meant is the one whose kind fits and that finds least wrong. */
function explainUnion(
  issue: Extract<z.core.$ZodIssue, { code: 'invalid_union' }>,
  path: ConfigPath,
  input: unknown,
): Complaint[] {
  if (issue.message.startsWith('expected')) return [{ path, at: 'value', message: issue.message }]
  const value = valueAt(input, path)
  const fitting = issue.errors.filter(
    (errors) =>
      !errors.some(
        (error) =>
          error.path.length === 0 &&
          (error.code === 'invalid_type' || (error.code === 'invalid_value' && typeof value !== 'string')),
      ),
  )
  const best = fitting.toSorted((one, other) => rank(one) - rank(other))[0]
  if (!best) return [{ path, at: 'value', message: `expected ${choices(path)}, got ${kindOf(value)}` }]
  return best.flatMap((error) => explainIssue(error, [...path, ...toPath(error.path)], input))
}

/** A deeper complaint comes from an alternative that fitted further. */
function rank(issues: readonly z.core.$ZodIssue[]): number {
  const depth = Math.max(...issues.map((issue) => issue.path.length))
  const unknown = issues.filter((issue) => issue.code === 'unrecognized_keys').length
  return issues.length + 10 * unknown - depth
}

function choices(path: ConfigPath): string {
  return schemasAt(path)
    .map((schema) =>
      schema.enum
        ? schema.enum.map(String).join(', ')
        : schema.properties
          ? `{ ${Object.keys(schema.properties).join(', ')} }`
          : `a ${String(schema.type)}`,
    )
    .join(' or ')
}

function outOfRange(issue: Extract<z.core.$ZodIssue, { code: 'too_small' | 'too_big' }>): string {
  const bound = issue.code === 'too_small' ? `at least ${String(issue.minimum)}` : `at most ${String(issue.maximum)}`
  return issue.origin === 'array' || issue.origin === 'string'
    ? `expected ${bound} ${issue.origin === 'array' ? 'entries' : 'characters'}`
    : `expected ${bound}`
}

/** Every place where a key of this name is known. */
function placesOf(name: string): string[] {
  const places: string[] = []
  const visit = (schema: JsonSchema, at: string, depth: number) => {
    if (depth > 6) return
    for (const [key, below] of Object.entries(schema.properties ?? {})) {
      const place = at === '' ? key : `${at}.${key}`
      if (key === name) places.push(place)
      visit(below, place, depth + 1)
    }
    if (schema.items) visit(schema.items, `${at}[]`, depth + 1)
    for (const one of schema.anyOf ?? []) visit(one, at, depth + 1)
  }
  visit(configJsonSchema(), '', 0)
  return places
}

/** What stands at this path; `undefined` where nothing does. */
export function valueAt(input: unknown, path: ConfigPath): unknown {
  let value = input
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    // Own members only, by the line above.
    value = (value as Record<string | number, unknown>)[key]
  }
  return value
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function kindOf(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'number' && !Number.isInteger(value))
    return Number.isFinite(value) ? 'a fraction' : 'no finite number'
  const words: Record<string, string> = {
    string: 'a text',
    number: 'a number',
    boolean: 'a truth value',
    object: 'a mapping',
  }
  return words[typeof value] ?? 'something else'
}

function toPath(path: readonly PropertyKey[]): ConfigPath {
  return path.map((key) => (typeof key === 'number' ? key : String(key)))
}

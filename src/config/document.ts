/** The YAML file as plain values, each with its place, where it came from, and what of it may be shown. */
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml'
import type { Document, ErrorCode, Scalar, YAMLError } from 'yaml'
import { interpolate } from './interpolate.ts'
import { isSecret, takesAnything, takesText } from './json-schema.ts'
import type { ConfigPath, Problem, SourceLine } from './problem.ts'
import { keyOfLine, sourceLine } from './source-line.ts'
import type { Range } from './source-line.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** What is known of one value of the file. */
export interface Entry {
  readonly path: ConfigPath
  readonly key: Range | undefined
  readonly value: Range
  /** The environment variables whose values are in it. */
  readonly environment: readonly string[]
  /** Whether all of it is in the file itself. */
  readonly literal: boolean
}

const DEEPEST = 32

/** Own words: the parser's may quote the file, and with it a secret. */
const SYNTAX: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: 'an alias (*) without its anchor (&); a text that begins with * is written in quotes',
  BAD_INDENT: 'this line is indented differently from its neighbours',
  BAD_SCALAR_START: 'a text that begins with this character is written in quotes',
  BAD_DQ_ESCAPE: 'this escape is unknown in double quotes; use single quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a key and a value too many on this line; a text with ": " in it is written in quotes',
  BLOCK_IN_FLOW: 'a block cannot stand within [ ] or { }',
  DUPLICATE_KEY: 'is there twice; keep one',
  MISSING_CHAR: 'a character is missing here: a colon, a comma, a quote or a bracket',
  MULTILINE_IMPLICIT_KEY: 'a key cannot go over several lines; is a colon missing?',
  MULTIPLE_DOCS: 'a second document begins here (---); one file holds one configuration',
  NON_STRING_KEY: 'expected a key that is a text',
  TAB_AS_INDENT: 'a tab cannot indent; use spaces',
  TAG_RESOLVE_FAILED: 'this tag (!) is not known here',
  UNEXPECTED_TOKEN: 'this cannot stand here; a text with special characters is written in quotes',
}

/** One parsed configuration file. */
export class ConfigDocument {
  readonly #text: string
  readonly #lines = new LineCounter()
  readonly #document: Document.Parsed
  readonly #environment: Environment
  readonly #entries = new Map<string, Entry>()
  readonly #scalars: { range: Range; path: ConfigPath; isKey: boolean }[] = []
  readonly #keyPaths = new Map<number, ConfigPath>()
  readonly problems: Problem[] = []
  /** Whether the text is YAML at all; if not, `value` means nothing. */
  readonly parsed: boolean
  readonly value: unknown

  constructor(text: string, environment: Environment) {
    this.#text = text
    this.#environment = environment
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      stringKeys: true,
      logLevel: 'silent',
    })
    this.value = this.#document.contents === null ? {} : this.#read(this.#document.contents, [], undefined)
    this.parsed = this.#document.errors.every((error) => error.code === 'DUPLICATE_KEY')
    // Of broken YAML nothing else can be said: what was read may be anything.
    if (!this.parsed) this.problems.length = 0
    for (const error of this.#document.errors) {
      if (this.parsed || error.code !== 'DUPLICATE_KEY') this.problems.push(this.#syntaxProblem(error))
    }
  }

  /** All values that are in the file. */
  entries(): Iterable<Entry> {
    return this.#entries.values()
  }

  entry(path: ConfigPath): Entry | undefined {
    return this.#entries.get(JSON.stringify(path))
  }

  /** A problem with the value at this path; at its key, or at the nearest place above, where the value is not there. */
  problem(path: ConfigPath, message: string, at: 'key' | 'value' = 'value'): Problem {
    const range = this.#locate(path, at)
    const { line, col } = this.#lines.linePos(range[0])
    return { path, message, line: Math.max(1, line), column: Math.max(1, col), source: this.#sourceLine(range) }
  }

  #locate(path: ConfigPath, at: 'key' | 'value'): Range {
    const entry = this.entry(path) ?? this.#fileEntry(path)
    if (entry) return (at === 'key' && entry.key) || entry.value
    for (let length = path.length - 1; length > 0; length--) {
      const above = this.entry(path.slice(0, length))
      if (above) return above.key ?? [above.value[0], above.value[0] + 1]
      const named = this.#fileEntry(path.slice(0, length))
      if (named) return named.value
    }
    return [0, 0]
  }

  /** `clientSecret` came by `clientSecretFile`. */
  #fileEntry(path: ConfigPath): Entry | undefined {
    const last = path.at(-1)
    return typeof last === 'string' ? this.entry([...path.slice(0, -1), `${last}File`]) : undefined
  }

  #read(node: unknown, path: ConfigPath, key: Range | undefined): unknown {
    if (path.length > DEEPEST) {
      this.problems.push(this.problem(path.slice(0, 2), 'is nested too deeply'))
      return undefined
    }
    if (isAlias(node)) return this.#read(node.resolve(this.#document), path, key)
    if (isMap(node)) {
      this.#record(path, key, node.range)
      const value: Record<string, unknown> = {}
      for (const pair of node.items) {
        // `stringKeys` makes every key a text; anything else has been reported.
        if (!isScalar(pair.key) || typeof pair.key.value !== 'string') continue
        const name = pair.key.value
        const keyRange: Range = [pair.key.range?.[0] ?? 0, pair.key.range?.[1] ?? 0]
        const below = [...path, name]
        this.#scalars.push({ range: keyRange, path: below, isKey: true })
        this.#keyPaths.set(keyRange[0], below)
        if (isEmpty(pair.value) && !takesAnything(below)) {
          // `session:` with everything below it commented out is the same as no `session` at all.
          this.#record(below, keyRange, pair.key.range)
          continue
        }
        // defineProperty: a key `__proto__` is a key like any other, and unknown.
        const item = this.#read(pair.value, below, keyRange)
        Object.defineProperty(value, name, { value: item, enumerable: true, configurable: true, writable: true })
      }
      return value
    }
    if (isSeq(node)) {
      this.#record(path, key, node.range)
      return node.items.map((item, index) => this.#read(item, [...path, index], undefined))
    }
    return isScalar(node) ? this.#readScalar(node, path, key) : undefined
  }

  #readScalar(node: Scalar, path: ConfigPath, key: Range | undefined): unknown {
    const range: Range = [node.range?.[0] ?? 0, node.range?.[1] ?? 0]
    this.#scalars.push({ range, path, isKey: false })
    if (typeof node.value === 'object' && node.value !== null) {
      // `!!binary` and its like make objects that no key of ours is.
      this.#record(path, key, range)
      this.problems.push(this.problem(path, 'expected a plain value, without a tag (!!)'))
      return undefined
    }
    if (typeof node.value !== 'string') {
      this.#record(path, key, range)
      return node.value
    }
    const result = interpolate(node.value, this.#environment)
    if ('problem' in result) {
      this.#record(path, key, range)
      this.problems.push(this.problem(path, result.problem))
      return undefined
    }
    this.#record(path, key, range, result.names)
    // `port: ${PORT}` is a text in YAML; where no text can stand, it is read as what it says.
    if ((result.names.length > 0 || result.defaulted) && !takesText(path)) return plainValue(result.text)
    return result.text
  }

  #record(
    path: ConfigPath,
    key: Range | undefined,
    value: readonly number[] | null | undefined,
    environment: readonly string[] = [],
  ): void {
    const range: Range = [value?.[0] ?? 0, value?.[1] ?? 0]
    const id = JSON.stringify(path)
    // Of a key that is there twice, the first place is kept; the problem points at the second.
    if (!this.#entries.has(id))
      this.#entries.set(id, { path, key, value: range, environment, literal: environment.length === 0 })
  }

  #syntaxProblem(error: YAMLError): Problem {
    const [start, end] = error.pos
    const { line, col } = this.#lines.linePos(start)
    const [, before = ''] = /([^\n]*)$/.exec(this.#text.slice(0, start)) ?? []
    // The braces of ${NAME} begin a mapping there.
    const bare = /[[{].*\$\{?$/.test(before)
    const message = bare ? 'within [ ] and { } write "${NAME}" in quotes' : (SYNTAX[error.code] ?? 'this is not YAML')
    if (error.code === 'DUPLICATE_KEY') {
      return {
        path: this.#keyPaths.get(start) ?? [],
        message,
        line,
        column: col,
        source: this.#sourceLine([start, Math.max(start + 1, end)]),
      }
    }
    return {
      path: [],
      message: `not valid YAML: ${message}`,
      line: Math.max(1, line),
      column: Math.max(1, col),
      source: keyOfLine(this.#text, start),
    }
  }

  #sourceLine(place: Range): SourceLine | undefined {
    const scalars = this.#scalars.map(({ range, path, isKey }) => ({ range, hidden: !isKey && isSecret(path) }))
    return sourceLine(this.#text, scalars, place)
  }
}

function isEmpty(node: unknown): boolean {
  return node === null || (isScalar(node) && node.value === null)
}

function plainValue(text: string): unknown {
  if (/^(true|false)$/.test(text)) return text === 'true'
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text
}

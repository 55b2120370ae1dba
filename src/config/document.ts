/** The YAML file as plain values, each with its place, where it came from, and what of it may be shown. */
import { LineCounter, isAlias, isMap, isNode, isScalar, isSeq, parseDocument } from 'yaml'
import type { Alias, Document, ParsedNode, Scalar, YAMLMap, YAMLSeq } from 'yaml'
import { interpolate } from './interpolate.ts'
import { isSecret, takesAnything, takesText } from './json-schema.ts'
import type { ConfigPath, Problem, SourceLine } from './problem.ts'
import { keyOfLine, sourceLine } from './source-line.ts'
import type { Range } from './source-line.ts'
import { UNKNOWN_ALIAS, lookalike, syntaxMistakes, unseenCharacter, unusableText } from './syntax.ts'
import type { SyntaxMistake } from './syntax.ts'

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
/** Many times what the largest honest file holds; aliases of aliases (a billion laughs) make more out of one page. */
const MOST_VALUES = 20_000

const TOO_MANY = `the file holds, or its aliases (*) make, more than ${MOST_VALUES} values: is it the right one?`
/** What YAML itself gives to plain values. */
const PLAIN_TAG = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/

/** One parsed configuration file. */
export class ConfigDocument {
  readonly #text: string
  readonly #lines = new LineCounter()
  readonly #document: Document.Parsed
  readonly #environment: Environment
  readonly #entries = new Map<string, Entry>()
  readonly #scalars: { range: Range; path: ConfigPath; isKey: boolean }[] = []
  /** What is being read right now: a value cannot be a part of itself. */
  readonly #within = new Set<unknown>()
  /** Where a quote or a bracket was opened. */
  readonly #opened: number[] = []
  #count = 0
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
      // Found below: the parser compares each key with every other, which takes a minute for a large file.
      uniqueKeys: false,
      // Nothing is printed either way; silent would also swallow a second document.
      logLevel: 'error',
    })
    const { contents, errors } = this.#document
    this.value = contents === null ? {} : this.#read(contents, [], undefined)
    const unseen = unseenCharacter(text)
    const mistakes = unseen ? [unseen] : syntaxMistakes(text, errors, this.#opened)
    this.parsed = mistakes.length === 0 && this.#count <= MOST_VALUES && isMap(contents)
    // Of broken YAML nothing else can be said: what was read may be anything.
    if (!this.parsed) this.problems.length = 0
    for (const mistake of mistakes) this.problems.push(this.#syntaxProblem(mistake))
    if (mistakes.length === 0 && this.#count > MOST_VALUES) this.problems.push(this.problem([], TOO_MANY))
    else if (mistakes.length === 0 && !isMap(contents)) this.problems.push(this.problem([], rootMessage(contents)))
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
    return this.#problemAt(this.#locate(path, at), path, message)
  }

  #problemAt(range: Range, path: ConfigPath, message: string): Problem {
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
    this.#count += 1
    if (this.#count > MOST_VALUES) return undefined
    if (isAlias(node)) return this.#readAlias(node, path, key)
    if (isNode(node) && node.tag !== undefined && !PLAIN_TAG.test(node.tag)) {
      // `!!set`, `!!js/function`, `!env`: objects that no key of ours is, or the name of what is to be run.
      this.#record(path, key, node.range)
      this.problems.push(this.problem(path, 'expected a plain value, without a tag (!)'))
      return undefined
    }
    if (!isMap(node) && !isSeq(node)) return isScalar(node) ? this.#readScalar(node, path, key) : undefined
    if (node.flow) this.#opened.push(node.range?.[0] ?? 0)
    this.#within.add(node)
    const value = isMap(node) ? this.#readMap(node, path, key) : this.#readList(node, path, key)
    this.#within.delete(node)
    return value
  }

  #readMap(node: YAMLMap, path: ConfigPath, key: Range | undefined): Record<string, unknown> {
    this.#record(path, key, node.range)
    const value: Record<string, unknown> = {}
    for (const pair of node.items) {
      // `stringKeys` makes every key a text; anything else has been reported.
      if (!isScalar(pair.key) || typeof pair.key.value !== 'string') continue
      const name = pair.key.value
      const keyRange: Range = [pair.key.range?.[0] ?? 0, pair.key.range?.[1] ?? 0]
      const below = [...path, name]
      this.#scalars.push({ range: keyRange, path: below, isKey: true })
      if (Object.hasOwn(value, name)) this.problems.push(this.#problemAt(keyRange, below, 'is there twice; keep one'))
      const odd = lookalike(name)
      if (odd !== undefined) {
        this.#record(below, keyRange, pair.key.range)
        this.problems.push(this.problem(below, odd, 'key'))
      }
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

  #readList(node: YAMLSeq, path: ConfigPath, key: Range | undefined): unknown[] {
    this.#record(path, key, node.range)
    return node.items.map((item, index) => this.#read(item, [...path, index], undefined))
  }

  #readAlias(node: Alias, path: ConfigPath, key: Range | undefined): unknown {
    const target = node.resolve(this.#document)
    if (target !== undefined && !this.#within.has(target)) return this.#read(target, path, key)
    this.#record(path, key, node.range)
    this.problems.push(
      this.problem(path, target ? 'an alias (*) cannot stand within what it stands for' : UNKNOWN_ALIAS),
    )
    return undefined
  }

  #readScalar(node: Scalar, path: ConfigPath, key: Range | undefined): unknown {
    const range: Range = [node.range?.[0] ?? 0, node.range?.[1] ?? 0]
    this.#scalars.push({ range, path, isKey: false })
    if (typeof node.value !== 'string') {
      this.#record(path, key, range)
      return node.value
    }
    if (node.type?.startsWith('QUOTE')) this.#opened.push(range[0])
    const result = interpolate(node.value, this.#environment)
    const problem = 'problem' in result ? result.problem : unusableText(result.text, node.type === 'PLAIN')
    if ('problem' in result || problem !== undefined) {
      this.#record(path, key, range)
      this.problems.push(this.problem(path, problem ?? ''))
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

  #syntaxProblem({ at, message }: SyntaxMistake): Problem {
    const { line, col } = this.#lines.linePos(at)
    return {
      path: [],
      message: `not valid YAML: ${message}`,
      line: Math.max(1, line),
      column: Math.max(1, col),
      source: keyOfLine(this.#text, at),
    }
  }

  #sourceLine(place: Range): SourceLine | undefined {
    const scalars = this.#scalars.map(({ range, path, isKey }) => ({ range, hidden: !isKey && isSecret(path) }))
    return sourceLine(this.#text, scalars, place)
  }
}

function rootMessage(contents: ParsedNode | null): string {
  if (contents === null || isEmpty(contents)) return 'the file is empty; `sidegate init` writes one to begin with'
  return `expected keys with values, such as publicUrl: https://app.example.com, and found ${isSeq(contents) ? 'a list' : 'a text'}`
}

function isEmpty(node: unknown): boolean {
  return node === null || (isScalar(node) && node.value === null)
}

function plainValue(text: string): unknown {
  if (/^(true|false)$/.test(text)) return text === 'true'
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text
}

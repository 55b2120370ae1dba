/** Reads the configuration file: YAML, environment, secret files, schema; every problem at once. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { ConfigDocument } from './document.ts'
import type { Entry } from './document.ts'
import { explainIssues, isRecord, valueAt } from './explain.ts'
import type { Complaint } from './explain.ts'
import { isSecret } from './json-schema.ts'
import { ConfigError, formatPath } from './problem.ts'
import type { ConfigPath, Problem } from './problem.ts'
import { routeOverlaps } from './route-overlaps.ts'
import { Config } from './schema.ts'
import { readSecretFiles } from './secret-files.ts'

export interface LoadOptions {
  /** Left out: the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

const ROUNDS = 5
const LARGEST = 1_048_576
/** Functions that zod generates would pay for themselves with the hundredth configuration. */
const PARSING = { jitless: true }

/** A configuration that can be used, and where it came from. */
export interface LoadedConfig {
  /** As it was named. */
  readonly file: string
  /** Secrets from files and environment are in place: `clientSecret`, `keys`, … */
  readonly config: Config
  readonly warnings: readonly Problem[]
  /** The YAML file and every file that it names, absolute. */
  readonly files: readonly string[]
  /** The values of the YAML side, after environment and files, before defaults. */
  readonly input: unknown
  readonly entries: readonly Entry[]
  /** Line and column of a value in the file. */
  readonly place: (path: ConfigPath) => { readonly line: number; readonly column: number }
}

/**
 * @throws ConfigError with every problem, each with its place and what to write instead
 */
export function loadConfig(file: string, options: LoadOptions = {}): LoadedConfig {
  return parseConfig(readText(file), file, options)
}

function readText(file: string): string {
  const refuse = (message: string): never => {
    throw new ConfigError(file, [{ path: [], message, line: 0, column: 0 }])
  }
  let bytes: Buffer
  try {
    if (statSync(file).size > LARGEST) return refuse('the file is larger than 1 MB: is it the right one?')
    bytes = readFileSync(file)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT')
      return refuse('there is no such file; name one with --config, or write one with `sidegate init`')
    if (code === 'EISDIR') return refuse('this is a directory; name the file in it')
    if (code === 'EACCES') return refuse('this process may not read the file')
    return refuse('the file cannot be read')
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return refuse('the file is not text in UTF-8: save it as such')
  }
}

/** As `loadConfig`, of a text; relative paths in it start at the directory of `file`. */
export function parseConfig(text: string, file: string, options: LoadOptions = {}): LoadedConfig {
  const document = new ConfigDocument(text, options.env ?? process.env)
  if (!document.parsed) throw new ConfigError(file, inOrder(document.problems))

  const directory = dirname(resolve(file))
  const findings = readSecretFiles(document.value, directory)
  resolveDirectories(document.value, directory)
  const problems = [
    ...document.problems,
    ...findings.problems.map(({ path, message }) => document.problem(path, message)),
  ]

  const result = Config.safeParse(document.value, PARSING)
  if (!result.success || problems.length > 0) {
    const complaints = result.success ? [] : findComplaints(document.value)
    // What could not be read or resolved has been told; that it is missing besides would be no news.
    const told = problems.map((problem) => problem.path)
    for (const { path, message, at } of complaints) {
      if (!told.some((known) => covers(known, path))) problems.push(document.problem(path, message, at))
    }
    throw new ConfigError(file, inOrder(problems))
  }
  const warnings = [
    ...findings.warnings.map(({ path, message }) => document.problem(path, message)),
    ...literalSecrets(document),
    ...missingDirectories(document),
    ...routeOverlaps(result.data.routes).map(({ path, message }) => document.problem(path, message)),
  ]
  return {
    file,
    config: result.data,
    warnings,
    files: [resolve(file), ...findings.files],
    input: document.value,
    entries: [...document.entries()],
    place: (path) => document.problem(path, ''),
  }
}

/**
 * Everything that is wrong: rules look at whole values only, and a misspelt key hides what is below it, so what is
 * wrong is repaired in a copy (a misspelt key renamed, a wrong value taken out) and the copy judged again.
 */
function findComplaints(input: unknown): Complaint[] {
  const found: Complaint[] = []
  const renamed: { from: ConfigPath; to: ConfigPath }[] = []
  const current: unknown = structuredClone(input)
  for (let round = 0; round < ROUNDS && isRecord(current); round++) {
    const complaints = complaintsOf(current).filter(
      (one) => !found.some((known) => covers(known.path, one.path) || isConsequence(one, known)),
    )
    if (complaints.length === 0) break
    // That a key is missing is no news beside the misspelt one.
    const meant = complaints.flatMap((one) =>
      one.meant && 'key' in one.meant ? [{ from: one.path, to: [...one.path.slice(0, -1), one.meant.key] }] : [],
    )
    const news = complaints.filter(
      (one) =>
        !meant.some(({ to }) => formatPath(to) === formatPath(one.path)) &&
        !complaints.some((other) => other.path.length > one.path.length && isConsequence(one, other)),
    )
    found.push(...news)
    renamed.push(...meant)
    for (const complaint of news) repair(current, complaint)
  }
  // Which origins are of the same site cannot be told without a public URL.
  const unsure = found.some(({ path, meant }) => path[0] === 'publicUrl' && !meant)
  return found
    .filter(({ path, message }) => !(unsure && path[0] === 'cors' && message.includes('publicUrl')))
    .map((complaint) => ({
      ...complaint,
      path: renamed.reduceRight((path, { from, to }) => asWritten(path, from, to), complaint.path),
    }))
}

/** What was taken out because of a complaint is missing then: no news either. */
function isConsequence(complaint: Complaint, known: Complaint): boolean {
  return (
    /^is (missing|empty)/.test(complaint.message) && complaint.path.every((key, index) => key === known.path[index])
  )
}

/** The path by which the file has it: below the misspelt key. */
function asWritten(path: ConfigPath, from: ConfigPath, to: ConfigPath): ConfigPath {
  return to.every((key, index) => key === path[index]) ? [...from, ...path.slice(to.length)] : path
}

function complaintsOf(input: unknown): Complaint[] {
  const result = Config.safeParse(input, PARSING)
  return result.success ? [] : explainIssues(result.error.issues, input)
}

/** Values that stand in for required ones that are wrong, so that everything else can be judged. */
const STAND_INS: Readonly<Record<string, unknown>> = {
  publicUrl: 'http://localhost:8080',
  issuer: 'https://issuer.invalid',
  clientId: 'unknown',
  audience: 'unknown',
  host: 'localhost',
  port: 0,
  type: 'unknown',
}

function repair(root: Record<string, unknown>, { path, meant }: Complaint): void {
  if (path.length === 0) return
  const last = path.at(-1)
  const parent = valueAt(root, path.slice(0, -1))
  if (typeof last === 'number' || !isRecord(parent)) {
    // An entry of a list cannot be taken out without moving the others: the whole list is.
    repair(root, { path: path.slice(0, -1), message: '', at: 'value' })
    return
  }
  const key = String(last)
  const before = parent[key]
  delete parent[key]
  if (meant && 'key' in meant) parent[meant.key] = before
  else if (meant) parent[key] = meant.value
  else if (key === 'routes') parent[key] = [{ path: '/', upstream: 'http://upstream.invalid' }]
  else if (key === 'path' && typeof path.at(-2) === 'number') parent[key] = `/unknown-${String(path.at(-2))}`
  else if (Object.hasOwn(STAND_INS, key)) parent[key] = STAND_INS[key]
}

/** Whether a complaint about `path` would say again what one about `known` has said. */
function covers(known: ConfigPath, path: ConfigPath): boolean {
  const matches = (one: string | number | undefined, other: string | number | undefined) =>
    one === other || one === `${String(other)}File`
  return known.length > 0 && known.length <= path.length && known.every((key, index) => matches(key, path[index]))
}

function inOrder(problems: readonly Problem[]): Problem[] {
  return problems.toSorted((one, other) => one.line - other.line || one.column - other.column)
}

/** Apps are found whatever the working directory is. */
function resolveDirectories(input: unknown, directory: string): void {
  const routes = valueAt(input, ['routes'])
  if (!Array.isArray(routes)) return
  for (const index of routes.keys()) {
    const spa = valueAt(routes, [index, 'spa'])
    if (isRecord(spa) && typeof spa['directory'] === 'string') spa['directory'] = resolve(directory, spa['directory'])
  }
}

/** CF-02: a secret in the file is in version control, in backups and in every editor's history. */
function literalSecrets(document: ConfigDocument): Problem[] {
  const warnings: Problem[] = []
  for (const { path, literal } of document.entries()) {
    const value = valueAt(document.value, path)
    if (!literal || typeof value !== 'string' || !isSecret(path) || path.includes('set')) continue
    // An address of Redis is a secret only if there is one in it.
    if (path.at(-1) === 'url' && !URL.parse(value)?.password) continue
    const key = path.findLast((one) => typeof one === 'string')
    warnings.push(
      document.problem(
        path,
        `a secret stands in the file itself; write ${String(key)}File, or \${NAME} from the environment`,
      ),
    )
  }
  return warnings
}

function missingDirectories(document: ConfigDocument): Problem[] {
  return [...document.entries()].flatMap(({ path }) => {
    const value = path.at(-1) === 'directory' && path[0] === 'routes' ? valueAt(document.value, path) : undefined
    if (typeof value !== 'string') return []
    const there = statSync(value, { throwIfNoEntry: false })?.isDirectory() === true
    return there ? [] : [document.problem(path, 'there is no such directory here')]
  })
}

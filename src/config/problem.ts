/** One mistake in the configuration, and the error that carries all of them. */

/** Keys and list positions from the root of the file. */
export type ConfigPath = readonly (string | number)[]
/** How rules tell of a mistake. The message says what to write instead, never a secret's value. */
export type Report = (path: ConfigPath, message: string) => void

/** A line to show; `start` and `length` are the marked part of `text`. */
export interface SourceLine {
  readonly text: string
  readonly start: number
  readonly length: number
}

export interface Problem {
  readonly path: ConfigPath
  readonly message: string
  /** 1-based; 0 where there is no place, as for a file that cannot be read. */
  readonly line: number
  readonly column: number
  /** The offending line with secrets masked, and which part of it the caret marks. */
  readonly source?: SourceLine | undefined
}

/** `routes[0].session` */
export function formatPath(path: ConfigPath): string {
  let text = ''
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`
    else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(key)) text += text === '' ? key : `.${key}`
    else text += `[${JSON.stringify(key)}]`
  }
  return text
}

/** One problem as `file:line:column: key.path: what to write`, the line below it and a caret under the place. */
export function formatProblem(file: string, problem: Problem): string {
  const place = problem.line > 0 ? `${file}:${problem.line}:${problem.column}` : file
  const path = formatPath(problem.path)
  const head = `${place}: ${path === '' ? '' : `${path}: `}${problem.message}`
  if (!problem.source) return head
  const number = String(problem.line)
  const gutter = ' '.repeat(number.length)
  const before = problem.source.text.slice(0, problem.source.start).replaceAll(/[^\t]/g, ' ')
  return `${head}\n  ${number} | ${problem.source.text}\n  ${gutter} | ${before}${'^'.repeat(Math.max(1, problem.source.length))}`
}

/** A configuration that cannot be used: every problem at once. The command line ends with 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly exitCode = 2
  readonly file: string
  readonly problems: readonly Problem[]

  constructor(file: string, problems: readonly Problem[]) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    super(
      `${file}: the configuration has ${count}\n\n${problems.map((problem) => formatProblem(file, problem)).join('\n\n')}`,
    )
    this.file = file
    this.problems = problems
  }
}

/** The same as data, for `--json`. */
export function problemReport({ file, problems }: ConfigError): object {
  return { ok: false, file, warnings: [], problems: problems.map(plainProblem) }
}

/** A problem without the line of the file. */
export function plainProblem({ path, message, line, column }: Problem): object {
  return { path: formatPath(path), message, line, column }
}

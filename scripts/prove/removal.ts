/** One guard taken out of the code: a text of one file and what stands in its place then. */
export interface GuardRemoval {
  /** The requirement that is broken by it, which the failing test has to cite. */
  readonly id: string
  /** What the gateway does without the guard. */
  readonly without: string
  /** From the root of the project. */
  readonly file: string
  /** Stands in the file exactly once. */
  readonly text: string
  readonly replacement: string
  /** Test files of which at least one has to notice. */
  readonly tests: readonly string[]
}

/** The changed text; throws where the guard is not found exactly once, for then the entry is stale. */
export function withoutGuard(source: string, { id, file, text, replacement }: GuardRemoval): string {
  const at = source.indexOf(text)
  if (at === -1) throw new Error(`${id}: the guard is not in ${file} any more: ${text.split('\n', 1)[0]}`)
  if (source.indexOf(text, at + 1) !== -1) throw new Error(`${id}: the guard is in ${file} more than once`)
  return source.slice(0, at) + replacement + source.slice(at + text.length)
}

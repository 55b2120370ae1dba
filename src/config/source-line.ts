/** A line of the configuration file as it may be shown. */
import type { SourceLine } from './problem.ts'

export type Range = readonly [start: number, end: number]

/** A key or a value of the file; a hidden one is shown as `***`. */
export interface ShownScalar {
  readonly range: Range
  readonly hidden: boolean
}

interface Piece {
  readonly shown: string
  readonly range: Range
}

const LONGEST = 160

/**
 * The line around a place, with secrets as `***` and comments cut off (old secrets rest there), and the place marked.
 * Nothing for a line that is empty then, or too long to help.
 */
export function sourceLine(text: string, scalars: readonly ShownScalar[], place: Range): SourceLine | undefined {
  const [start, end] = lineAt(text, place[0])
  const pieces = cutLine(text, [start, end], scalars)
  const line = pieces
    .map(({ shown }) => shown)
    .join('')
    .replace(/[\s\r]+$/, '')
  if (line === '' || line.length > LONGEST) return undefined
  const from = Math.min(shownAt(pieces, place[0], 'start'), line.length)
  const to = Math.min(shownAt(pieces, Math.min(place[1], end), 'end'), line.length)
  return { text: line, start: from, length: Math.max(1, to - from) }
}

/** Of a line that cannot be parsed only its key is shown: nobody can tell where a secret begins. */
export function keyOfLine(text: string, offset: number): SourceLine | undefined {
  const [start, end] = lineAt(text, offset)
  const key = /^\s*(?:- +)*[A-Za-z0-9_-]{1,64}\s*:/.exec(text.slice(start, end))?.[0]
  if (key === undefined || key.length > LONGEST) return undefined
  return { text: `${key} …`, start: Math.min(offset - start, key.length + 1), length: 1 }
}

function lineAt(text: string, offset: number): Range {
  const start = offset === 0 ? 0 : text.lastIndexOf('\n', offset - 1) + 1
  const next = text.indexOf('\n', offset)
  return [start, next === -1 ? text.length : next]
}

function cutLine(text: string, [start, end]: Range, scalars: readonly ShownScalar[]): Piece[] {
  const pieces: Piece[] = []
  let at = start
  const inLine = scalars
    .filter(({ range }) => range[0] < end && range[1] > start)
    .toSorted((a, b) => a.range[0] - b.range[0])
  for (const { range, hidden } of inLine) {
    const [from, to] = [Math.max(start, range[0]), Math.min(end, range[1])]
    if (from < at) continue
    if (!pushBetween(pieces, text, [at, from])) return pieces
    pieces.push({ shown: hidden ? '***' : withoutCredentials(text.slice(from, to)), range: [from, to] })
    at = to
  }
  pushBetween(pieces, text, [at, end])
  return pieces
}

/** Punctuation and space between two scalars; `false` when a comment begins there. */
function pushBetween(pieces: Piece[], text: string, [from, to]: Range): boolean {
  const between = text.slice(from, to)
  const comment = between.search(/(?:^|\s)#/)
  pieces.push({ shown: comment === -1 ? between : between.slice(0, comment), range: [from, to] })
  return comment === -1
}

/** Where a place of the file stands in what is shown; a hidden piece is marked as a whole. */
function shownAt(pieces: readonly Piece[], offset: number, side: 'start' | 'end'): number {
  let length = 0
  for (const { shown, range } of pieces) {
    const inside = side === 'start' ? offset < range[1] : offset <= range[1]
    if (inside) {
      if (shown.length === range[1] - range[0]) return length + Math.max(0, offset - range[0])
      return side === 'start' ? length : length + shown.length
    }
    length += shown.length
  }
  return length
}

/** Credentials in a URL become as many stars, so that the caret stays where it belongs. */
function withoutCredentials(text: string): string {
  return text.replaceAll(
    /(\/\/)([^/@\s]+)(?=@)/g,
    (_, slashes: string, credentials: string) => slashes + '*'.repeat(credentials.length),
  )
}

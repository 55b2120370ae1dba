/** What is wrong with a text as YAML, in own words: the parser's may quote the file, and with it a secret. */
import type { ErrorCode, YAMLError } from 'yaml'

/** A mistake of the text itself, before anything of it has a meaning. */
export interface SyntaxMistake {
  /** Where in the text. */
  readonly at: number
  readonly message: string
}

/** Of an alias that stands for nothing; the parser lets it pass. */
export const UNKNOWN_ALIAS = 'an alias (*) without its anchor (&); a text that begins with * is written in quotes'

const MESSAGES: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: UNKNOWN_ALIAS,
  BAD_INDENT: 'this line is indented differently from its neighbours',
  BAD_SCALAR_START: 'a text that begins with this character is written in quotes',
  BAD_DQ_ESCAPE: 'this escape is unknown in double quotes; use single quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a key and a value too many on this line; a text with ": " in it is written in quotes',
  BLOCK_IN_FLOW: 'a block cannot stand within [ ] or { }',
  MISSING_CHAR: 'a character is missing here: a colon, a comma, a quote or a bracket',
  MULTILINE_IMPLICIT_KEY: 'a key cannot go over several lines; is a colon missing?',
  MULTIPLE_DOCS: 'a second document begins here (---); one file holds one configuration',
  NON_STRING_KEY: 'expected a key that is a text',
  RESOURCE_EXHAUSTION: 'this is nested too deeply',
  TAB_AS_INDENT: 'a tab cannot indent; use spaces',
  TAG_RESOLVE_FAILED: 'this tag (!) is not known here',
  UNEXPECTED_TOKEN: 'this cannot stand here; a text with special characters is written in quotes',
}

/** Not printable, and in no honest value; line feed and tab are, a carriage return ends a line together with one. */
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const UNSEEN = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F]|\r(?!\n)/
/** What editors and web pages put in the place of a space: no-break, of other widths, of no width. */
const ODD_INDENT = /^[ ]*(?=[\u00A0\u1680\u2000-\u200B\u202F\u205F\u2060\u3000\uFEFF])/m
/** Also those that change the direction of what stands beside them. */
const INVISIBLE = /[\u00A0\u00AD\u1680\u2000-\u200F\u2028-\u202F\u205F-\u2064\u3000\uFEFF]/

/** What no YAML parser says well: characters that nobody sees. */
export function unseenCharacter(text: string): SyntaxMistake | undefined {
  const control = UNSEEN.exec(text)
  if (control) {
    const message =
      control[0] === '\r'
        ? 'a line ends with a carriage return alone here: save the file with LF or CRLF'
        : `a character that cannot be seen (${codeOf(control[0])}) is here; is this a text file in UTF-8?`
    return { at: control.index, message }
  }
  // At the very beginning it is a byte order mark.
  const indent = ODD_INDENT.exec(text.replace(/^\uFEFF/, '-'))
  if (!indent) return undefined
  const at = indent.index + indent[0].length
  return { at, message: `this line is indented with a character that is no space (${codeOf(text.charAt(at))})` }
}

/** Of a key or a value: what is in it that looks like nothing, or like something else. */
export function lookalike(text: string): string | undefined {
  const invisible = INVISIBLE.exec(text)
  return invisible ? `holds a character that cannot be seen (${codeOf(invisible[0])}); type it anew` : undefined
}

/** What is wrong with a value that no rule of a key would say as well: by way of an escape, or of the environment. */
export function unusableText(text: string, isPlain: boolean): string | undefined {
  if (UNSEEN.test(text.replaceAll('\r', '')) || !text.isWellFormed()) return 'holds a character that cannot be seen'
  if (isPlain && /^[“”„‘’«].*[“”‘’»]$/su.test(text))
    return 'stands in typographic quotes, which are a part of it for YAML; write " or none'
  return undefined
}

/**
 * The parser's errors, each line once: what follows from the first is no news.
 *
 * @param opened places of quotes and brackets that were opened, in order
 */
export function syntaxMistakes(text: string, errors: readonly YAMLError[], opened: readonly number[]): SyntaxMistake[] {
  const deep = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION')
  const mistakes = (deep ? [deep] : errors).map((error) => mistakeOf(text, error, opened))
  const lines = new Set<number>()
  return mistakes.filter(({ at }) => {
    const line = text.lastIndexOf('\n', at - 1)
    const isFirst = !lines.has(line)
    lines.add(line)
    return isFirst
  })
}

function mistakeOf(text: string, error: YAMLError, opened: readonly number[]): SyntaxMistake {
  const at = error.pos[0]
  // The parser notices at the end of the file; where it began is what one looks for.
  if (/^Missing closing .quote/.test(error.message)) {
    const quote = opened.findLast((place) => place < at && /["']/.test(text.charAt(place)))
    return { at: quote ?? at, message: 'the quote that is opened here is not closed' }
  }
  if (/^Flow .* end with a [\]}]/.test(error.message)) {
    const bracket = opened.findLast((place) => place < at && /[[{]/.test(text.charAt(place)))
    return {
      at: bracket ?? at,
      message: `the ${bracket === undefined ? '[ or {' : text.charAt(bracket)} that is opened here is not closed`,
    }
  }
  const [, before = ''] = /([^\n]*)$/.exec(text.slice(0, at)) ?? []
  // The braces of ${NAME} begin a mapping there.
  if (/[[{].*\$\{?$/.test(before)) return { at, message: 'within [ ] and { } write "${NAME}" in quotes' }
  return { at, message: MESSAGES[error.code] ?? 'this is not YAML' }
}

function codeOf(character: string): string {
  return `U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`
}

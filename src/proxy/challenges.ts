/** What an upstream asks for in `WWW-Authenticate` (RFC 9110 §11.6.1). */
import { valuesOf } from './response-headers.ts'

export interface Challenge {
  /** In lower case: schemes are compared without it. */
  readonly scheme: string
  /** By names in lower case; quoted values without their quotes. Of a doubled one the first counts. */
  readonly params: ReadonlyMap<string, string>
}

/** RFC 9110 §5.6.2. */
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
/** The first stands at the beginning, every other behind a comma; behind it comes a space, a comma or nothing. */
const SCHEME = new RegExp(`(?:^|,)[ \\t,]*(${TOKEN})(?=[ \\t,]|$)`, 'y')
/** A scheme has this or parameters. `a=` may be either; what follows tells. */
const TOKEN68 = /[ \t]+[0-9A-Za-z._~+/-]+=*(?=[ \t]*(?:,|$))/y
const QUOTED = '"((?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t -\\x7e\\x80-\\xff])*)"'
const PARAMETER = new RegExp(`[ \\t,]*[ \\t,](${TOKEN})[ \\t]*=[ \\t]*(?:(${TOKEN})|${QUOTED})`, 'y')
const REST = /[ \t]*(?=,|$)/y

/** All challenges of an answer. Each field stands for itself: a malformed one hides no other. */
export function challengesIn(raw: readonly Buffer[]): Challenge[] {
  return valuesOf(raw, 'www-authenticate').flatMap(parseChallenges)
}

/** The challenges of one field, up to the first place that is malformed: servers forget to escape quotes in texts. */
export function parseChallenges(field: string): Challenge[] {
  const challenges: Challenge[] = []
  let at = 0
  /** Reads on by one pattern; `undefined` leaves the place where it was. */
  const read = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at
    const found = pattern.exec(field)
    if (!found) return undefined
    at = pattern.lastIndex
    return found
  }
  for (let scheme = read(SCHEME); scheme; scheme = read(SCHEME)) {
    const params = new Map<string, string>()
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), params })
    if (read(TOKEN68)) {
      read(REST)
      continue
    }
    for (let found = read(PARAMETER); found; found = read(PARAMETER)) {
      const [, name = '', token, quoted = ''] = found
      const lower = name.toLowerCase()
      if (!params.has(lower)) params.set(lower, token ?? quoted.replaceAll(/\\(.)/gs, '$1'))
      if (!read(REST)) return challenges
    }
    read(REST)
  }
  return challenges
}

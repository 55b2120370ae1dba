/** The query of our own endpoints: each known parameter at most once, unknown ones ignored. */
import { BffError } from '../errors.ts'

/** More is no form of ours. */
const MOST_PARAMETERS = 100
const LONGEST_VALUE = 4_096

/**
 * The known parameters that are there, decoded once.
 *
 * @param query `''` or `?…`, as sent
 * @throws BffError `invalid_request` for a known parameter that is doubled, malformed or longer than 4 kB
 */
export function parseQuery(query: string, known: readonly string[]): Map<string, string> {
  return parsePairs(query.startsWith('?') ? query.slice(1) : query, known)
}

/** The same for a form body (`application/x-www-form-urlencoded`). */
export function parsePairs(text: string, known: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  if (text === '') return found
  const pairs = text.split('&', MOST_PARAMETERS + 1)
  if (pairs.length > MOST_PARAMETERS) throw new BffError('invalid_request', 'the request has too many parameters')
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const name = decode(at === -1 ? pair : pair.slice(0, at))
    if (name === undefined || !known.includes(name)) continue
    if (found.has(name)) throw new BffError('invalid_request', `the parameter ${name} is given twice`)
    const value = at === -1 ? '' : decode(pair.slice(at + 1))
    if (value === undefined) throw new BffError('invalid_request', `the parameter ${name} is malformed`)
    if (value.length > LONGEST_VALUE) throw new BffError('invalid_request', `the parameter ${name} is too long`)
    found.set(name, value)
  }
  return found
}

/** `undefined` where the escapes are broken or are no UTF-8; `URLSearchParams` would put U+FFFD there and go on. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

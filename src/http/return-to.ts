/** Where a browser goes after a login or logout: a path of our own application, never another site (AR-10). */
import { BffError } from '../errors.ts'
import { parseRequestTarget } from './request-path.ts'

export interface ReturnTo {
  /** What `Location` will hold: an absolute path, or an absolute URL on a listed origin. Printable ASCII. */
  readonly returnTo: string
  /** An address was given and `/` takes its place. */
  readonly refused: boolean
}

export interface ReturnToOptions {
  readonly publicUrl: URL
  /** Nothing under it is a place to come back to: login loops, forced logouts, replayed callbacks. */
  readonly basePath: string
  /** `login.returnOrigins`: for absolute addresses. */
  readonly allowedOrigins: readonly string[]
}

const LONGEST = 2_048
const START: ReturnTo = { returnTo: '/', refused: false }
const REFUSED: ReturnTo = { returnTo: '/', refused: true }

/**
 * White space, controls and invisible characters of Unicode, which browsers drop or servers fold into something
 * else; quotes and angle brackets, which no browser leaves in an address. The two joiners belong to words and emoji.
 */
const FORBIDDEN = /(?![\u200c\u200d])[\p{Z}\p{Cc}\p{Cf}\p{Cs}\\"<>]/u
const NON_ASCII = /\P{ASCII}+/gu

/**
 * Takes an address as it came, decoded once from its parameter. Nothing in a good one is dropped, decoded or
 * re-ordered; non-ASCII characters come out percent-encoded.
 *
 * The text itself is what is judged and sent, not a URL made of it: `new URL('/.//evil', base).pathname` is `//evil`.
 */
export function parseReturnTo(value: string | undefined, options: ReturnToOptions): ReturnTo {
  if (value === undefined || value === '') return START
  if (FORBIDDEN.test(value)) return REFUSED
  const text = value.replace(NON_ASCII, encodeURIComponent)
  if (text.length > LONGEST) return REFUSED

  if (text.startsWith('/')) return isOwnPath(text, options) ? { returnTo: text, refused: false } : REFUSED
  // A listed origin's paths are its own business. No browser can take the host for another: with no backslash in the
  // text it ends at the first slash.
  const isListed = options.allowedOrigins.some((origin) => text === origin || text.startsWith(`${origin}/`))
  return isListed ? { returnTo: text, refused: false } : REFUSED
}

/** What we would not serve is nothing to return to: the same judgment as for the request that will follow. */
function isOwnPath(text: string, { publicUrl, basePath }: ReturnToOptions): boolean {
  const hashAt = text.indexOf('#')
  const target = hashAt === -1 ? text : text.slice(0, hashAt)
  try {
    const { path, readings } = parseRequestTarget(target, publicUrl)
    return ![path, ...readings].some((reading) => isUnder(reading.toLowerCase(), basePath.toLowerCase()))
  } catch (error) {
    if (error instanceof BffError) return false
    throw error
  }
}

function isUnder(path: string, basePath: string): boolean {
  return path === basePath || path.startsWith(`${basePath}/`)
}

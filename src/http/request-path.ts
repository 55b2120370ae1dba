/**
 * The path and query of a request, exactly as sent, and every other way in which a server might read them.
 *
 * What is matched is what is sent on: nothing here decodes or repairs a path for anyone. A path with a dot segment in
 * any spelling is refused; a path with several readings is handed on with them, so that the route table can refuse
 * one that another server would take for another route's.
 */
import { BffError } from '../errors.ts'

export interface RequestPath {
  /** Byte for byte as sent; begins with exactly one `/`. */
  readonly path: string
  /** `''`, or `?…` byte for byte. */
  readonly query: string
  /**
   * The path as others may read it: percent-decoded (also repeatedly), without `;parameters`, cut at a decoded `?`, with
   * slashes merged, with characters that look like a slash taken for one, without dots and spaces behind a name.
   */
  readonly readings: readonly string[]
}

const LONGEST_TARGET = 16_384
/** A path encoded more often than this is no address but an attempt. */
const DEEPEST_ENCODING = 3

/** Printable ASCII without the space and without `#`, which Node would take into the path and others would cut. */
const TARGET = /^[!"$-~]+$/
const ABSOLUTE_FORM = /^(https?):\/\/([^/?]*)(.*)$/i
/** What makes a path readable in more than one way. */
const AMBIGUOUS = /[%;]|\/[/.]|\.(?:\/|$)/
const ENCODED_ASCII = /%([0-7][0-9a-f])/gi
/** What is left of these by a compatibility normalisation, or by Windows' conversion to its own character sets. */
const SLASH_LOOK_ALIKES = /[\u2044\u2215\u2216\u29f8\u29f9]/g
const NO_READINGS: readonly string[] = []

/**
 * Reads the request target (RFC 9112 §3.2).
 *
 * @throws BffError `invalid_request`, `uri_too_long`; `misdirected_request` for an absolute form of a foreign authority
 */
export function parseRequestTarget(target: string, publicUrl: URL): RequestPath {
  if (target.length > LONGEST_TARGET) throw new BffError('uri_too_long', 'the request target is over 16 kB')
  if (!TARGET.test(target)) throw invalid('holds a control, a space, a # or a byte that is no ASCII')

  const origin = target.startsWith('/') ? target : fromAbsoluteForm(target, publicUrl)
  const queryAt = origin.indexOf('?')
  const path = queryAt === -1 ? origin : origin.slice(0, queryAt)
  const query = queryAt === -1 ? '' : origin.slice(queryAt)
  // A WHATWG URL parser makes a slash of it.
  if (path.includes('\\')) throw invalid('holds a backslash')
  return { path, query, readings: AMBIGUOUS.test(path) ? readingsOf(path) : NO_READINGS }
}

function invalid(what: string): BffError {
  return new BffError('invalid_request', `the request target ${what}`)
}

function fromAbsoluteForm(target: string, publicUrl: URL): string {
  const [, , authority, rest] = ABSOLUTE_FORM.exec(target) ?? []
  if (authority === undefined || rest === undefined) throw invalid('is neither a path nor an http URL')
  if (authority.includes('@')) throw invalid('holds user information')
  const defaultPort = publicUrl.protocol === 'https:' ? '443' : '80'
  const own = publicUrl.port ? [publicUrl.host] : [publicUrl.host, `${publicUrl.hostname}:${defaultPort}`]
  if (!own.includes(authority.toLowerCase())) {
    throw new BffError('misdirected_request', 'the request target names another authority')
  }
  return rest.startsWith('/') ? rest : `/${rest}`
}

function readingsOf(path: string): string[] {
  const readings = new Set<string>()
  let text = path
  for (let depth = 0; ; depth += 1) {
    const slashed = withPlainSlashes(text)
    if (slashed.split('/').some(isDotSegment)) throw invalid('holds a dot segment')
    // What follows two slashes is an authority to a URL parser.
    if (slashed.startsWith('//')) throw invalid('begins with two slashes')
    if (text !== slashed) readings.add(text.replaceAll('\\', '/'))
    const all = spellings(slashed)
    for (const reading of all) readings.add(reading)
    const decoded = depth === 0 ? decode(text) : text.replace(ENCODED_ASCII, fromHex)
    if (decoded === text) {
      for (const reading of all) readings.add(reading.split('/').map(withoutTail).join('/'))
      break
    }
    if (depth === DEEPEST_ENCODING) throw invalid('is percent-encoded over and over')
    text = decoded
  }
  readings.delete(path)
  return [...readings]
}

/** Everything that some server takes for a slash as one. */
function withPlainSlashes(text: string): string {
  return text.normalize('NFKC').replace(SLASH_LOOK_ALIKES, '/').replaceAll('\\', '/')
}

/**
 * Of one decoding: as it is; without path parameters (RFC 3986 §3.3); up to where the query begins for a server that
 * decodes before it looks for one; each also with empty segments left out.
 */
function spellings(text: string): string[] {
  const bare = text.replace(/;[^/]*/g, '')
  const cut = /^[^?#]*/.exec(text)?.[0] ?? ''
  return [text, bare, cut].flatMap((one) => [one, one.replace(/\/{2,}/g, '/')])
}

/** Windows drops dots and spaces at the end of the name of a file, which nobody decodes any more. */
function withoutTail(name: string): string {
  let end = name.length
  while (end > 0 && (name[end - 1] === '.' || name[end - 1] === ' ')) end -= 1
  return name.slice(0, end)
}

/** The one decoding that the standard knows; overlong and other broken UTF-8 fails with it (RFC 3629 §3). */
function decode(text: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch {
    throw invalid('holds a malformed escape, or one that is no UTF-8')
  }
  // oxlint-disable-next-line no-control-regex -- controls are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(decoded)) throw invalid('holds an encoded control character')
  return decoded
}

function fromHex(_: string, hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16))
}

/** `.` and `..`, also with parameters (`..;x`, Tomcat), before a decoded `?`, and with spaces that Windows drops. */
function isDotSegment(segment: string): boolean {
  const name = (segment.split(/[;?#]/, 1)[0] ?? '').replaceAll(/\s+/g, '')
  return name === '.' || name === '..'
}

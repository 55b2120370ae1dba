/**
 * What comes back: the upstream's header fields less those of its connection and those that would speak for the
 * gateway or the whole origin, with caching and `Location` put right; pure.
 */
import { BffError } from '../errors.ts'
import { isDroppedDownwards, namedByConnection } from './field-names.ts'
import type { Route } from './route-table.ts'

export interface ResponseHeadersOptions {
  /** Whether an upstream's `Set-Cookie` leaves our cookies alone. */
  readonly upstreamSetCookieAllowed: (setCookie: string) => boolean
  /** The upstream's own origin as it is dialled, such as `http://orders:3000`. */
  readonly upstreamOrigin: string
  readonly basePath: string
}

/** The header fields of answers of one route. Made once per route. */
export class ResponseHeaders {
  readonly #route: Route
  readonly #options: ResponseHeadersOptions
  readonly #internalHost: string

  constructor(route: Route, options: ResponseHeadersOptions) {
    this.#route = route
    this.#options = options
    this.#internalHost = new URL(options.upstreamOrigin).host
  }

  /**
   * Names and values in turn, for `writeHead`.
   *
   * @param raw the upstream's fields as they arrived
   * @param sessionUsed the answer belongs to one user
   * @param ownVary what the gateway itself lets the answer depend on, such as `Origin`
   * @throws BffError `upstream_unavailable` when the body has a coding that the gateway cannot hand on
   */
  build(raw: readonly Buffer[], sessionUsed: boolean, ownVary = ''): string[] {
    let codings = 0
    const fields: string[] = []
    const named = namedByConnection(valueOf(raw, 'connection'))
    let cacheControl: string | undefined
    let vary = ownVary
    let hasNosniff = false
    let hasResourcePolicy = false
    for (let at = 0; at + 1 < raw.length; at += 2) {
      const name = text(raw[at])
      const lower = name.toLowerCase()
      const value = text(raw[at + 1])
      if (lower === 'transfer-encoding' && (value.toLowerCase() !== 'chunked' || (codings += 1) > 1)) {
        throw new BffError('upstream_unavailable', 'the answer has another transfer coding than chunked, once')
      }
      if (isDroppedDownwards(lower) || named?.has(lower)) continue
      if (lower === 'cache-control') {
        cacheControl = cacheControl === undefined ? value : `${cacheControl}, ${value}`
        continue
      }
      if (lower === 'vary') {
        vary = vary === '' ? value : `${vary}, ${value}`
        continue
      }
      const kept = this.#judge(lower, value, sessionUsed)
      if (kept === undefined) continue
      hasNosniff ||= lower === 'x-content-type-options'
      hasResourcePolicy ||= lower === 'cross-origin-resource-policy'
      fields.push(name, kept)
    }
    if (sessionUsed) cacheControl = privateCacheControl(cacheControl)
    if (cacheControl !== undefined) fields.push('cache-control', cacheControl)
    // Also for an anonymous answer of an optional route: a signed-in one would be another.
    if (this.#route.policy.session !== 'none') vary = withCookie(vary)
    if (vary !== '') fields.push('vary', vary)
    if (!hasNosniff) fields.push('x-content-type-options', 'nosniff')
    if (!hasResourcePolicy) fields.push('cross-origin-resource-policy', 'same-origin')
    return fields
  }

  #judge(name: string, value: string, sessionUsed: boolean): string | undefined {
    switch (name) {
      case 'set-cookie':
        return this.#options.upstreamSetCookieAllowed(value) ? value : undefined
      case 'location':
      case 'content-location':
        return this.publicLocation(value)
      case 'www-authenticate':
        // A Basic or Negotiate challenge opens a password window over somebody's application (PX-13).
        return opensNoWindow(value) ? value : undefined
      case 'cdn-cache-control':
      case 'cloudflare-cdn-cache-control':
      case 'surrogate-control':
        // RFC 9213: these outrank Cache-Control in the caches that know them.
        return sessionUsed ? undefined : value
      default:
        return value
    }
  }

  /**
   * A `Location` as the browser can follow it. One that names the upstream's own authority, or a path below the
   * route's prefix there, is mapped back; an internal one that has no public address is left out, since names of
   * the inside are nobody's business; any other passes. Also `undefined` for one that no URL parser takes.
   */
  publicLocation(location: string): string | undefined {
    const { upstreamOrigin, basePath } = this.#options
    const isPath = location.startsWith('/') && !namesAuthority(location)
    if (!isPath && !/^(?:[a-z][a-z0-9+.-]*:|[/\\]{2})/i.test(location)) return location
    const url = URL.parse(location, upstreamOrigin)
    if (!url) return undefined
    if (!isPath && url.host !== this.#internalHost) return location
    const path = isPath ? (/^[^?#]*/.exec(location)?.[0] ?? '') : url.pathname
    const rest = isPath ? location.slice(path.length) : url.search + url.hash
    // An application that knows where it is mounted has said the public path already.
    const isPublicAlready = isPath && (this.#route.covers(path) || path.startsWith(`${basePath}/`))
    const mapped = isPublicAlready ? path : this.#route.publicPath(path)
    if (mapped === undefined || namesAuthority(mapped)) return isPath ? location : undefined
    return mapped + rest
  }
}

/** Whether a URL parser finds a host in it: it takes a backslash for a slash and drops tabs. */
function namesAuthority(path: string): boolean {
  return /^\/\t*[/\\]/.test(path)
}

/** Whether a field holds nothing but challenges of token schemes. */
function opensNoWindow(challenges: string): boolean {
  let isClosed = true
  // Never fails, so that no upstream makes it try again at each of thousands of quotes.
  const bare = challenges.replace(/"(?:[^"\\]|\\.?)*("?)/gs, (_, end: string) => {
    isClosed &&= end !== ''
    return '""'
  })
  if (!isClosed) return false
  const schemes = bare.match(/(?:^|,)[ \t]*[A-Za-z0-9-]+(?=[ \t]+[A-Za-z0-9]|[ \t]*(?:,|$))/g) ?? []
  return schemes.length > 0 && schemes.every((scheme) => /(?:Bearer|DPoP)$/i.test(scheme))
}

function text(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : bytes.toString('latin1')
}

/** The value of a field among raw ones, several joined by commas; by its name in lower case. */
export function valueOf(raw: readonly Buffer[], wanted: string): string | undefined {
  let found: string | undefined
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if (raw[at]?.length !== wanted.length || text(raw[at]).toLowerCase() !== wanted) continue
    found = found === undefined ? text(raw[at + 1]) : `${found},${text(raw[at + 1])}`
  }
  return found
}

/** The values of a field among raw ones, each by itself; by its name in lower case. */
export function valuesOf(raw: readonly Buffer[], wanted: string): string[] {
  const found: string[] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if (raw[at]?.length === wanted.length && text(raw[at]).toLowerCase() === wanted) found.push(text(raw[at + 1]))
  }
  return found
}

/** RFC 9111 §3.5: what was made for one user is stored by no shared cache, whatever the upstream thought. */
function privateCacheControl(value: string | undefined): string {
  if (value === undefined) return 'private'
  if (value === 'no-store') return value
  // Commas in quotes divide nothing. Never fails, as above.
  const directives = (value.match(/(?:[^",]|"[^"]*"?)+/g) ?? [])
    .map((directive) => directive.trim())
    .filter((directive) => directive !== '' && !/^(?:public|s-maxage(?:\s*=.*)?|private\s*=.*)$/i.test(directive))
  const isPrivate = directives.some((directive) => /^(?:private|no-store)$/i.test(directive))
  return (isPrivate ? directives : ['private', ...directives]).join(', ')
}

function withCookie(vary: string): string {
  if (vary === '') return 'Cookie'
  const names = vary.split(',').map((name) => name.trim().toLowerCase())
  return names.includes('*') || names.includes('cookie') ? vary : `${vary}, Cookie`
}

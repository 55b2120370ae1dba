/** The cookies of the scripted browser, kept and sent as Chromium does (RFC 6265bis §5.6-5.8, layered-cookies). */

const MAX_NAME_AND_VALUE = 4_096
const MAX_ATTRIBUTE = 1_024
/** No cookie outlives 400 days (RFC 6265bis §5.5). */
const MAX_LIFETIME_MS = 400 * 86_400_000

/** Chromium sends a young cookie without `SameSite` with a cross-site POST too, for the sake of old sign-in forms. */
const LAX_ALLOWING_UNSAFE_MS = 120_000

/**
 * How a request relates to the site that caused it; decides which `SameSite` cookies go along. `lax-unsafe` is a
 * top-level navigation from another site by an unsafe method; `third-party`, a frame or a call of another site's page,
 * has no cookies at all.
 */
export type SiteContext = 'strict' | 'lax' | 'lax-unsafe' | 'third-party'

export interface Cookie {
  readonly name: string
  readonly value: string
  /** The host, or the domain for cookies that its subdomains get too. */
  readonly domain: string
  readonly hostOnly: boolean
  readonly path: string
  readonly secure: boolean
  readonly httpOnly: boolean
  readonly sameSite: 'strict' | 'lax' | 'none' | 'default'
  /** Epoch ms; infinity for a cookie that ends with the browser. */
  readonly expiresAt: number
  /** Epoch ms. */
  readonly createdAt: number
  readonly order: number
}

export class CookieJar {
  readonly #now: () => number
  readonly #cookies = new Map<string, Cookie>()
  /** Every value that was ever set, for searches of what must not leave: names and values. */
  readonly history: { readonly name: string; readonly value: string }[] = []
  #created = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** Takes or refuses one `Set-Cookie` field; returns the reason of a refusal. */
  set(field: string, url: URL, context: SiteContext): string | undefined {
    const [pair = '', ...attributes] = field.split(';')
    const equals = pair.indexOf('=')
    const name = equals < 0 ? '' : pair.slice(0, equals).trim()
    const value = pair.slice(equals + 1).trim()
    if (name === '' && value === '') return 'empty'
    if (name.length + value.length > MAX_NAME_AND_VALUE) return 'too long'

    const given = new Map<string, string>()
    for (const attribute of attributes) {
      const [key = '', ...rest] = attribute.split('=')
      const text = rest.join('=').trim()
      if (text.length <= MAX_ATTRIBUTE) given.set(key.trim().toLowerCase(), text)
    }

    const host = url.hostname.toLowerCase()
    const domain = given.get('domain')?.replace(/^\./, '').toLowerCase() ?? ''
    if (domain !== '' && !domainMatches(host, domain)) return 'foreign domain'
    const cookie: Cookie = {
      name,
      value,
      domain: domain || host,
      hostOnly: domain === '',
      path: given.get('path')?.startsWith('/') ? (given.get('path') ?? '/') : defaultPath(url.pathname),
      secure: given.has('secure'),
      httpOnly: given.has('httponly'),
      sameSite: sameSiteOf(given.get('samesite')),
      expiresAt: this.#expiry(given),
      createdAt: this.#now(),
      order: (this.#created += 1),
    }

    if (cookie.secure && !isTrustworthy(url)) return 'secure cookie over plain http'
    if (cookie.sameSite === 'none' && !cookie.secure) return 'SameSite=None without Secure'
    if (context === 'third-party') return 'third-party cookie'
    const broken = brokenPrefix(cookie, given)
    if (broken) return broken

    const key = `${cookie.domain};${cookie.hostOnly};${cookie.path};${cookie.name}`
    const old = this.#cookies.get(key)
    if (cookie.value !== '') this.history.push({ name, value })
    if (cookie.expiresAt <= this.#now()) this.#cookies.delete(key)
    else this.#cookies.set(key, old ? { ...cookie, createdAt: old.createdAt, order: old.order } : cookie)
    return undefined
  }

  /** The `Cookie` field of a request, longest path first, then oldest first; `undefined` when there is none to send. */
  header(url: URL, context: SiteContext): string | undefined {
    const sent = this.all()
      .filter((cookie) => this.#goesTo(cookie, url) && this.#allowedIn(cookie, context))
      .toSorted((a, b) => b.path.length - a.path.length || a.order - b.order)
    return sent.length > 0 ? sent.map(({ name, value }) => `${name}=${value}`).join('; ') : undefined
  }

  /** The cookies that have not expired. */
  all(): Cookie[] {
    for (const [key, cookie] of this.#cookies) if (cookie.expiresAt <= this.#now()) this.#cookies.delete(key)
    return [...this.#cookies.values()]
  }

  /** The one cookie of this name. */
  get(name: string): Cookie | undefined {
    return this.all().find((cookie) => cookie.name === name)
  }

  /** Deletes by name, as a user does in the settings. */
  delete(name: string): void {
    for (const [key, cookie] of this.#cookies) if (cookie.name === name) this.#cookies.delete(key)
  }

  clear(): void {
    this.#cookies.clear()
  }

  #goesTo(cookie: Cookie, url: URL): boolean {
    const host = url.hostname.toLowerCase()
    const atHost = cookie.hostOnly ? host === cookie.domain : domainMatches(host, cookie.domain)
    return atHost && pathMatches(url.pathname, cookie.path) && (!cookie.secure || isTrustworthy(url))
  }

  #allowedIn(cookie: Cookie, context: SiteContext): boolean {
    if (context === 'strict') return true
    if (context === 'third-party') return false
    if (cookie.sameSite === 'none' || cookie.sameSite === 'strict') return cookie.sameSite === 'none'
    return (
      context === 'lax' || (cookie.sameSite === 'default' && cookie.createdAt > this.#now() - LAX_ALLOWING_UNSAFE_MS)
    )
  }

  #expiry(given: ReadonlyMap<string, string>): number {
    const maxAge = given.get('max-age')
    const latest = this.#now() + MAX_LIFETIME_MS
    if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) {
      const seconds = Number(maxAge)
      return seconds <= 0 ? 0 : Math.min(latest, this.#now() + seconds * 1_000)
    }
    const expires = given.get('expires')
    const time = expires === undefined ? Number.NaN : Date.parse(expires)
    return Number.isNaN(time) ? Number.POSITIVE_INFINITY : Math.min(latest, time)
  }
}

/** Whether the browser treats the address as if it were https: loopback is, in Chromium and Firefox. */
export function isTrustworthy(url: URL): boolean {
  return url.protocol === 'https:' || /^(localhost|(.+\.)localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
}

function sameSiteOf(value: string | undefined): Cookie['sameSite'] {
  const lower = value?.toLowerCase()
  return lower === 'strict' || lower === 'none' || lower === 'lax' ? lower : 'default'
}

function brokenPrefix(cookie: Cookie, given: ReadonlyMap<string, string>): string | undefined {
  const prefix = /^__(host-http|http|host|secure)-/i.exec(cookie.name)?.[1]?.toLowerCase()
  if (!prefix) return undefined
  if (!cookie.secure) return 'prefix without Secure'
  if (prefix.startsWith('host') && !(cookie.hostOnly && given.get('path') === '/'))
    return '__Host- with Domain or a path'
  if (prefix.endsWith('http') && !cookie.httpOnly) return '__Http- without HttpOnly'
  return undefined
}

function domainMatches(host: string, domain: string): boolean {
  return host === domain || (host.endsWith(`.${domain}`) && !/^[\d.]+$/.test(host))
}

function pathMatches(requested: string, path: string): boolean {
  if (requested === path) return true
  return requested.startsWith(path) && (path.endsWith('/') || requested[path.length] === '/')
}

function defaultPath(pathname: string): string {
  const end = pathname.lastIndexOf('/')
  return end <= 0 ? '/' : pathname.slice(0, end)
}

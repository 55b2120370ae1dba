/**
 * Our cookies: their names and attributes, reading them strictly, and keeping them away from upstreams.
 *
 * | cookie | value | attributes |
 * | --- | --- | --- |
 * | `__Host-Http-<name>` | the session: 32 random bytes, base64url | Secure, HttpOnly, Path=/, SameSite by the routes |
 * | `__Secure-<name>-tx-<id>` | a login on its way, sealed | Secure, HttpOnly, Path={basePath}/callback, 600 s |
 * | `__Secure-<name>-current` | the last session's ref, sealed | as above, until the session's absolute end |
 */
import { hash } from 'node:crypto'
import type { CookieSerializeOptions } from '@fastify/cookie'
import type { FastifyReply } from 'fastify'
import type { Config } from '../config/schema.ts'

/** @fastify/cookie would also guess `Secure` from the request; ours is configured. */
type CookieOptions = Omit<CookieSerializeOptions, 'secure'> & { readonly secure: boolean }

/** What every cookie of ours says; `path`, flags and `SameSite` are the same when it is set and when it is cleared. */
type Attributes = Required<Pick<CookieOptions, 'path' | 'secure' | 'httpOnly' | 'sameSite'>>

/** A cookie for `addCookie`. */
export interface SetCookie {
  readonly name: string
  readonly value: string
  readonly options: CookieOptions
}

export interface CookieNames {
  readonly session: string
  /** Followed by the transaction's id. */
  readonly transactionPrefix: string
  readonly current: string
}

/** The parts of the configuration that cookies depend on. */
export type CookieConfig = Pick<Config, 'name' | 'basePath' | 'provider' | 'providers' | 'routes'> & {
  readonly session: Pick<Config['session'], 'cookie'>
}

interface CarriesCookies {
  readonly headers: { readonly cookie?: string | undefined }
}

/** 32 bytes in base64url. */
const SESSION_VALUE = /^[A-Za-z0-9_-]{43}$/
const SEALED_VALUE = /^[A-Za-z0-9._-]{1,4096}$/
const TRANSACTION_ID = /^[A-Za-z0-9_-]{1,64}$/
const TRANSACTION_SECONDS = 600
/** A `Cookie` field whose pieces are joined by anything else than `; `. */
const ODDLY_JOINED = /[ \t];|;(?! [^ \t;])|^[ \t;]|[ \t;]$/

/**
 * Sets a cookie in an answer. `reply.setCookie` of @fastify/cookie, whose serializer writes the line, would also parse
 * the request's cookies, of which nothing is used, and hold a list until the answer leaves.
 */
export function addCookie(reply: FastifyReply, { name, value, options }: SetCookie): void {
  reply.header('set-cookie', reply.server.serializeCookie(name, value, options))
}

/** Our names; without prefixes where `session.cookie.insecure` is on. */
export function cookieNames(config: Pick<CookieConfig, 'name' | 'session'>): CookieNames {
  const { insecure } = config.session.cookie
  return {
    session: insecure ? config.name : `__Host-Http-${config.name}`,
    transactionPrefix: `${insecure ? '' : '__Secure-'}${config.name}-tx-`,
    current: `${insecure ? '' : '__Secure-'}${config.name}-current`,
  }
}

/**
 * `Strict` where no route ever needs the cookie on a navigation from elsewhere, else `Lax`: after a sign-in form a
 * browser sends no `Strict` cookie on the way back.
 */
export function sessionSameSite(config: Pick<CookieConfig, 'session' | 'routes'>): 'strict' | 'lax' {
  const configured = config.session.cookie.sameSite
  if (configured) return configured
  return config.routes.every((route) => route.session === 'required' || route.session === 'none') ? 'strict' : 'lax'
}

/** Reads, writes and strips the cookies of one gateway. Made once; holds nothing about any request. */
export class CookieJar {
  readonly names: CookieNames
  readonly #sessionAttributes: Attributes
  readonly #callbackAttributes: Attributes
  readonly #isPersistent: boolean
  readonly #ownNames: { readonly exact: readonly string[]; readonly prefix: string }
  readonly #mayBeOurs: RegExp

  constructor(config: CookieConfig) {
    this.names = cookieNames(config)
    const flags = { secure: !config.session.cookie.insecure, httpOnly: true }
    const providers = [config.provider, ...Object.values(config.providers ?? {})]
    // A form post from the provider is a cross-site POST, which carries nothing but `None` (CB-03).
    const isPosted = providers.some((provider) => provider?.responseMode.startsWith('form_post'))
    this.#sessionAttributes = { path: '/', ...flags, sameSite: sessionSameSite(config) }
    this.#callbackAttributes = { path: `${config.basePath}/callback`, ...flags, sameSite: isPosted ? 'none' : 'lax' }
    this.#isPersistent = config.session.cookie.persistent
    this.#ownNames = {
      exact: [fold(this.names.session), fold(this.names.current)],
      prefix: fold(this.names.transactionPrefix),
    }
    // Names hold lower-case letters, digits and hyphens only, so they are safe in a pattern.
    this.#mayBeOurs = new RegExp(`%|${config.name.replaceAll('-', '.')}`, 'i')
  }

  /**
   * The value of the session cookie. `undefined` when there is none, when it is malformed, and when there are two:
   * which of them is ours a sibling host must not decide (SC-05).
   */
  sessionOf(raw: CarriesCookies): string | undefined {
    const only = onlyValueOf(raw.headers.cookie, this.names.session)
    if (only !== undefined && SESSION_VALUE.test(only)) return only
    const values = valuesOf(raw.headers.cookie, this.names.session)
    return values.length === 1 && SESSION_VALUE.test(values[0] ?? '') ? values[0] : undefined
  }

  /** Whether any cookie has a name of ours, in whatever spelling and however often: the request is a browser's. */
  carriesOwnCookie(raw: CarriesCookies): boolean {
    const { cookie } = raw.headers
    if (cookie === undefined || !this.#mayBeOurs.test(cookie)) return false
    return cookie.split(';').some((piece) => this.#holdsOwnName(piece))
  }

  /** The public handle of the session with this cookie value: base64url of SHA-256. */
  refOf(value: string): string {
    return hash('sha256', value, 'base64url')
  }

  /** The sealed login transactions, by id; those that came twice or malformed are left out. */
  transactionsOf(raw: CarriesCookies): Map<string, string> {
    const found = new Map<string, string>()
    const doubled = new Set<string>()
    for (const [name, value] of pairsOf(raw.headers.cookie)) {
      if (!name.startsWith(this.names.transactionPrefix)) continue
      const id = name.slice(this.names.transactionPrefix.length)
      if (found.has(id)) doubled.add(id)
      if (TRANSACTION_ID.test(id) && SEALED_VALUE.test(value)) found.set(id, value)
    }
    for (const id of doubled) found.delete(id)
    return found
  }

  /** The sealed ref of the session that the last callback made. */
  currentOf(raw: CarriesCookies): string | undefined {
    const values = valuesOf(raw.headers.cookie, this.names.current)
    return values.length === 1 && SEALED_VALUE.test(values[0] ?? '') ? values[0] : undefined
  }

  /** Both times in epoch ms; the end counts only where the cookie is persistent. */
  setSession(value: string, expiresAt: number, now: number): SetCookie {
    const lifetime = this.#isPersistent ? { maxAge: seconds(expiresAt - now) } : {}
    return { name: this.names.session, value, options: { ...this.#sessionAttributes, ...lifetime } }
  }

  clearSession(): SetCookie {
    return cleared(this.names.session, this.#sessionAttributes)
  }

  setTransaction(id: string, sealed: string): SetCookie {
    const options = { ...this.#callbackAttributes, maxAge: TRANSACTION_SECONDS }
    return { name: `${this.names.transactionPrefix}${id}`, value: sealed, options }
  }

  clearTransaction(id: string): SetCookie {
    return cleared(`${this.names.transactionPrefix}${id}`, this.#callbackAttributes)
  }

  /** @param expiresAt the session's absolute end, epoch ms */
  setCurrent(sealed: string, expiresAt: number, now: number): SetCookie {
    const options = { ...this.#callbackAttributes, maxAge: seconds(expiresAt - now) }
    return { name: this.names.current, value: sealed, options }
  }

  /**
   * A `Cookie` field without our cookies, in whatever spelling a server might read them; `undefined` when nothing is
   * left. What stays is not rewritten.
   */
  stripOwnCookies(header: string | undefined): string | undefined {
    if (header === undefined || header === '') return undefined
    if (!this.#mayBeOurs.test(header)) return header
    const rest = withoutOnly(header, this.names.session)
    if (rest !== undefined && !this.#mayBeOurs.test(rest) && !ODDLY_JOINED.test(rest)) {
      return rest === '' ? undefined : rest
    }
    const kept = header
      .split(';')
      .map(trimmed)
      // The whole test is dear, and most cookies beside ours do not come near our names.
      .filter((piece) => piece !== '' && !(this.#mayBeOurs.test(piece) && this.#holdsOwnName(piece)))
    return kept.length > 0 ? kept.join('; ') : undefined
  }

  /** Whether a cookie name is one of ours, in any spelling. */
  isOwnCookieName(name: string): boolean {
    const folded = fold(name)
    return this.#ownNames.exact.includes(folded) || folded.startsWith(this.#ownNames.prefix)
  }

  /** Whether an upstream's `Set-Cookie` may pass: not when it would set or clear one of ours (PX-16). */
  upstreamSetCookieAllowed(setCookie: string): boolean {
    return !this.#holdsOwnName(setCookie.split(';', 1)[0] ?? '')
  }

  /**
   * A piece is ours when our name is any word of it, not only the first: old parsers begin another cookie at a comma,
   * a quote or white space, of which some know more than others, and a nameless cookie comes back from a browser
   * without its `=`.
   */
  #holdsOwnName(piece: string): boolean {
    if (piece.startsWith(`${this.names.session}=`)) return true
    return decoded(piece)
      .split(/[=,;&\s\u0080-\u009f"'\\]+/)
      .some((word) => this.isOwnCookieName(word))
  }
}

/** Name and value of each cookie, as RFC 6265 §5.4 writes them: nothing is decoded, quotes stay. */
function* pairsOf(header: string | undefined): Generator<[name: string, value: string]> {
  if (header === undefined) return
  for (const piece of header.split(';')) {
    const at = piece.indexOf('=')
    if (at > 0) yield [trimmed(piece.slice(0, at)), trimmed(piece.slice(at + 1))]
  }
}

/**
 * The value of a cookie as nearly every request brings it: once, between `; ` and `;`. `undefined` says nothing: the
 * field may be written in another way.
 */
function onlyValueOf(header: string | undefined, name: string): string | undefined {
  const at = header?.indexOf(name) ?? -1
  if (header === undefined || at === -1 || header.includes(name, at + name.length)) return undefined
  if ((at > 0 && !header.startsWith('; ', at - 2)) || header[at + name.length] !== '=') return undefined
  const end = header.indexOf(';', at)
  return header.slice(at + name.length + 1, end === -1 ? undefined : end)
}

/** The field without that cookie, as nearly every request brings it; `undefined` where it is written in another way. */
function withoutOnly(header: string, name: string): string | undefined {
  const at = header.indexOf(`${name}=`)
  if (at === -1 || (at > 0 && !header.startsWith('; ', at - 2))) return undefined
  const end = header.indexOf(';', at)
  if (end === -1) return header.slice(0, Math.max(0, at - 2))
  return header.startsWith('; ', end) ? header.slice(0, at) + header.slice(end + 2) : undefined
}

function valuesOf(header: string | undefined, wanted: string): string[] {
  // The common case of an anonymous request: no cookie of that name, nothing to split.
  if (header === undefined || !header.includes(wanted)) return []
  const values: string[] = []
  for (const [name, value] of pairsOf(header)) if (name === wanted) values.push(value)
  return values
}

/**
 * Without the spaces and tabs around it, and nothing else: `trim` takes a no-break space, too, and a sibling host may
 * set a cookie that has our name behind one, since no browser sees our prefix there.
 */
function trimmed(text: string): string {
  let from = 0
  let to = text.length
  while (from < to && isBlank(text.charCodeAt(from))) from += 1
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1
  return text.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** One spelling for all: letters, and what PHP and others turn into an underscore. */
function fold(name: string): string {
  return name.toLowerCase().replace(/[._]/g, '-')
}

function decoded(text: string): string {
  let last = text
  for (let depth = 0; depth < 3 && last.includes('%'); depth += 1) {
    last = last.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  }
  return last
}

/** A browser drops a cookie only by one with the same name, path and flags. */
function cleared(name: string, attributes: Attributes): SetCookie {
  return { name, value: '', options: { ...attributes, maxAge: 0, expires: new Date(0) } }
}

function seconds(ms: number): number {
  return Math.max(0, Math.floor(ms / 1_000))
}

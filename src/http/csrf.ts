/**
 * Is this request our own application's? The rules of `docs/security.md`, as a function of plain data.
 *
 * Asked for every request that carries our session cookie and goes where the cookie counts, reads and WebSocket
 * handshakes included: SameSite alone does not stop a sibling subdomain (RFC 10017 §6.1.3.3).
 */
import type { IncomingHttpHeaders } from 'node:http'

/** What a request says about where it comes from; `undefined` where the field is absent. */
export interface CsrfFacts {
  readonly method: string
  readonly secFetchSite: string | undefined
  readonly secFetchMode: string | undefined
  readonly secFetchDest: string | undefined
  readonly origin: string | undefined
  readonly xCsrf: string | undefined
  readonly accept: string | undefined
}

/** What it asks for. */
export interface CsrfPlace {
  readonly session: 'required' | 'optional' | 'none' | 'login'
  readonly navigable: boolean
  readonly isEndpoint: boolean
  readonly isWebSocket: boolean
  readonly isEventStream: boolean
  readonly isForm?: boolean
}

export interface CsrfOptions {
  readonly publicOrigin: string
  readonly corsOrigins: readonly string[]
  readonly requireHeader: boolean
}

/** Why a request was refused; a label of metrics. */
export type CsrfReason =
  'foreign_origin' | 'cross_site' | 'same_site' | 'direct' | 'unknown_site' | 'no_proof' | 'header_missing'

export type CsrfVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: CsrfReason }

/** Reads the facts off a request. Node joins repeated fields with a comma, and what is joined equals nothing known. */
export function csrfFactsOf(method: string, headers: IncomingHttpHeaders): CsrfFacts {
  return {
    method,
    secFetchSite: textOf(headers['sec-fetch-site']),
    secFetchMode: textOf(headers['sec-fetch-mode']),
    secFetchDest: textOf(headers['sec-fetch-dest']),
    origin: textOf(headers.origin),
    xCsrf: textOf(headers['x-csrf']),
    accept: headers.accept,
  }
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value
}

/** The four rules, then `csrf.requireHeader`. */
export function judgeCsrf(facts: CsrfFacts, place: CsrfPlace, options: CsrfOptions): CsrfVerdict {
  const reason = judgeSource(facts, place, options)
  if (reason !== undefined) return { ok: false, reason }

  // None of the three can carry the field, and a document is no API call.
  const cannotCarry = place.isWebSocket || place.isEventStream || place.isForm === true
  const isExempt = cannotCarry || isOpenDocument(facts, place) || isDownload(facts, place)
  const lacksHeader = options.requireHeader && !isExempt && facts.xCsrf !== '1'
  return lacksHeader ? { ok: false, reason: 'header_missing' } : { ok: true }
}

function judgeSource(facts: CsrfFacts, place: CsrfPlace, options: CsrfOptions): CsrfReason | undefined {
  // Rules 3 and 4: an Origin that is there must be ours or a listed one, whatever else speaks for the request.
  const isListed = facts.origin !== undefined && options.corsOrigins.includes(facts.origin)
  if (facts.origin !== undefined && facts.origin !== options.publicOrigin && !isListed) return 'foreign_origin'

  const isDocument = isOpenDocument(facts, place)
  switch (facts.secFetchSite) {
    case undefined:
      return facts.origin !== undefined || facts.xCsrf === '1' || isDocument ? undefined : 'no_proof'
    case 'same-origin':
      return undefined
    case 'same-site':
      if (isDocument) return undefined
      if (!isListed) return 'same_site'
      return facts.xCsrf === '1' ? undefined : 'header_missing'
    case 'none':
      return isDocument || isDownload(facts, place) ? undefined : 'direct'
    case 'cross-site':
      return isDocument ? undefined : 'cross_site'
    default:
      return 'unknown_site'
  }
}

/** Rules 2 and 3: a document that is meant to be opened from anywhere. A frame is none, nor is a handshake. */
function isOpenDocument(facts: CsrfFacts, place: CsrfPlace): boolean {
  if (place.isEndpoint || (place.session !== 'login' && place.session !== 'optional')) return false
  if (facts.secFetchSite !== undefined) return isTopLevel(facts, place)
  return facts.method === 'GET' && !place.isWebSocket && prefersHtml(facts.accept)
}

/** Rule 1: a document of a `required` route that is marked `navigable`. */
function isDownload(facts: CsrfFacts, place: CsrfPlace): boolean {
  return !place.isEndpoint && place.session === 'required' && place.navigable && isTopLevel(facts, place)
}

function isTopLevel(facts: CsrfFacts, place: CsrfPlace): boolean {
  const isDocument = facts.secFetchMode === 'navigate' && facts.secFetchDest === 'document'
  return isDocument && facts.method === 'GET' && !place.isWebSocket
}

/**
 * Whether a person looks at the answer, so that it should be a page: `Sec-Fetch-Mode: navigate`, or without that
 * field an `Accept` that prefers HTML.
 */
export function isNavigation(headers: IncomingHttpHeaders): boolean {
  const mode = headers['sec-fetch-mode']
  return mode === undefined ? prefersHtml(headers.accept) : mode === 'navigate'
}

/** Whether `text/html` is wanted more than JSON (RFC 9110 §12.5.1); a bare wildcard prefers nothing. */
export function prefersHtml(accept: string | undefined): boolean {
  // What fetch, XHR and most programs send; and nobody needs a kilobyte of preferences.
  if (accept === undefined || accept === '*/*' || accept.length > 1_024) return false
  const html = qualityOf(accept, 'text/html', 'text/*')
  return html > 0 && html > qualityOf(accept, 'application/json', 'application/*')
}

/** The quality of a type: of its own range, else of its group's, else of the wildcard's. */
function qualityOf(accept: string, type: string, group: string): number {
  let best = 0
  let precision = 0
  for (const range of accept.toLowerCase().split(',')) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim())
    const rank = name === type ? 3 : name === group ? 2 : name === '*/*' ? 1 : 0
    if (rank === 0 || rank < precision) continue
    const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
    const quality = q === undefined ? 1 : /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(q) ? Number(q) : 0
    best = rank > precision ? quality : Math.max(best, quality)
    precision = rank
  }
  return best
}

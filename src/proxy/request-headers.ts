/**
 * What goes upstream: the client's header fields less what is ours, of the connection or a claim to identity, plus
 * what the gateway says itself. One function for HTTP requests and WebSocket handshakes; pure.
 */
import { randomBytes } from 'node:crypto'
import type { Config } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import { type ClaimSource, claimTexts } from '../session/claims.ts'
import type { TraceContext } from '../telemetry/tracing.ts'
import { foldName, isReservedUpwards, namedByConnection } from './field-names.ts'
import type { Route } from './route-table.ts'

/** The parts of an IncomingMessage that are looked at. */
export interface IncomingFields {
  readonly httpVersion: string
  /** Names and values in turn, as sent. */
  readonly rawHeaders: readonly string[]
  readonly headers: { readonly connection?: string | undefined }
}

/** What the gateway knows of a request besides its fields. */
export interface RequestFacts {
  /** Whose claims the identity headers show. */
  readonly session: ClaimSource | null
  /** For `X-Request-Id`. */
  readonly requestId: string
  /** The whole `X-Forwarded-For`: what a trusted proxy said, then the peer. */
  readonly forwardedFor: string
  /** `Authorization` and what belongs to it, names and values in turn; empty for a route without a token. */
  readonly credentials: readonly string[]
  /** Where the gateway takes part in the trace itself; else the client's goes on, or a new one begins. */
  readonly trace?: TraceContext | undefined
  /** The upstream's own authority, for `Host`. */
  readonly upstreamHost: string
}

export interface RequestHeadersOptions {
  readonly config: Pick<Config, 'name' | 'publicUrl' | 'routes'>
  /** Removes our cookies from a `Cookie` field; `undefined` when nothing is left. */
  readonly stripOwnCookies: (header: string) => string | undefined
}

type Verdict = 'pass' | 'drop' | 'cookie' | 'via' | 'traceparent' | 'tracestate'

/** An upstream that is told more than this about one claim would refuse the request with a 431 of its own. */
const LONGEST_IDENTITY = 8_192
/** Names repeat from request to request; what a client invents must not fill the memory. */
const MOST_REMEMBERED = 1_000
const LONGEST_REMEMBERED = 64
/** W3C Trace Context §3.2: version 00; all-zero ids are invalid. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/
const TRACESTATE =
  /^[ \t]*[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}(?:,[ \t]*[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}){0,31}[ \t]*$/

/** The header fields for one route's upstream. Made once per route. */
export class RequestHeaders {
  readonly #route: Route
  readonly #stripOwnCookies: RequestHeadersOptions['stripOwnCookies']
  readonly #verdicts = new Map<string, Verdict>()
  readonly #reserved: ReadonlySet<string>
  readonly #pseudonym: string
  readonly #fixed: readonly string[]
  readonly #publicHost: string
  readonly #identity: readonly (readonly [name: string, claim: string])[]
  /** Set by the route, under their lower-case names: they replace whatever else there would be. */
  readonly #set: ReadonlyMap<string, readonly [name: string, value: string]>

  constructor(route: Route, options: RequestHeadersOptions) {
    const { config } = options
    const publicUrl = new URL(config.publicUrl)
    const { set = {}, remove = [] } = route.config.headers ?? {}
    const identityNames = config.routes.flatMap((one) => Object.keys(one.identityHeaders ?? {}))
    this.#route = route
    this.#stripOwnCookies = options.stripOwnCookies
    this.#reserved = new Set([...identityNames, ...remove, ...Object.keys(set), 'x-request-id'].map(foldName))
    this.#pseudonym = config.name
    this.#publicHost = publicUrl.host
    this.#fixed = ['x-forwarded-host', publicUrl.host, 'x-forwarded-proto', publicUrl.protocol.slice(0, -1)]
    this.#identity = Object.entries(route.config.identityHeaders ?? {})
    this.#set = new Map(Object.entries(set).map(([name, value]) => [name.toLowerCase(), [name, value]]))
  }

  /**
   * Names and values in turn; no framing fields, which the sender adds.
   *
   * @throws BffError `loop_detected` when the request has been here before (RFC 9110 §7.6.3); `forbidden` when a
   * claim is too long for its header, since an upstream must not decide on half of a list
   */
  build(incoming: IncomingFields, facts: RequestFacts): string[] {
    const fields: string[] = ['host', this.#route.config.preserveHost ? this.#publicHost : facts.upstreamHost]
    const named = namedByConnection(incoming.headers.connection)
    const { rawHeaders } = incoming
    let via = ''
    let traceparent: string | undefined
    let tracestate: string | undefined
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      // In bounds by the loop's condition.
      const name = rawHeaders[at] as string
      const value = rawHeaders[at + 1] as string
      const verdict = this.#verdictOn(name)
      if (verdict === 'drop' || named?.has(name.toLowerCase())) continue
      if (verdict === 'pass') fields.push(name, value)
      else if (verdict === 'via') via = via === '' ? value : `${via}, ${value}`
      else if (verdict === 'traceparent') traceparent = value
      else if (verdict === 'tracestate') tracestate = tracestate === undefined ? value : `${tracestate},${value}`
      else {
        const kept = this.#route.config.cookies ? this.#stripOwnCookies(value) : undefined
        if (kept !== undefined) fields.push(name, kept)
      }
    }
    this.#addOwn(fields, incoming, facts, via)
    if (facts.trace) addOwnTrace(fields, facts.trace)
    else addTrace(fields, traceparent, tracestate)
    return this.#set.size === 0 ? fields : this.#withConfigured(fields)
  }

  #verdictOn(name: string): Verdict {
    let verdict = this.#verdicts.get(name)
    if (verdict !== undefined) return verdict
    verdict = this.#judge(name)
    if (this.#verdicts.size < MOST_REMEMBERED && name.length <= LONGEST_REMEMBERED) this.#verdicts.set(name, verdict)
    return verdict
  }

  #judge(name: string): Verdict {
    const lower = name.toLowerCase()
    if (isReservedUpwards(name) || this.#reserved.has(foldName(name))) return 'drop'
    if (lower === 'cookie' || lower === 'via' || lower === 'traceparent' || lower === 'tracestate') return lower
    // Neither a browser nor a server writes these with underscores, but something behind the upstream may read them.
    const folded = foldName(name)
    return folded === 'cookie' || folded === 'via' ? 'drop' : 'pass'
  }

  #addOwn(fields: string[], incoming: IncomingFields, facts: RequestFacts, via: string): void {
    if (via !== '' && namesPseudonym(via, this.#pseudonym)) {
      throw new BffError('loop_detected', 'the request has passed a gateway of this name before')
    }
    const own = `${incoming.httpVersion} ${this.#pseudonym}`
    fields.push('via', via === '' ? own : `${via}, ${own}`)
    fields.push('x-forwarded-for', facts.forwardedFor, ...this.#fixed, 'x-request-id', facts.requestId)
    if (facts.session) fields.push(...identityFields(this.#identity, facts.session))
    fields.push(...facts.credentials)
  }

  #withConfigured(fields: string[]): string[] {
    const kept: string[] = []
    for (let at = 0; at + 1 < fields.length; at += 2) {
      const name = fields[at] as string
      if (!this.#set.has(name.toLowerCase())) kept.push(name, fields[at + 1] as string)
    }
    for (const [name, value] of this.#set.values()) kept.push(name, value)
    return kept
  }
}

/** `1.1 sidegate`, `HTTP/1.1 sidegate (comment)`, several in a line; a pseudonym is compared without case. */
function namesPseudonym(via: string, pseudonym: string): boolean {
  return via.split(',').some((element) => {
    const [, receivedBy = ''] = element.trim().split(/[ \t]+/)
    return receivedBy.toLowerCase() === pseudonym
  })
}

/**
 * What a session says of its user, as header fields, names and values in turn. A claim that is missing has none.
 *
 * @throws BffError `forbidden` for a claim that is too long
 */
export function identityFields(
  headers: Iterable<readonly [name: string, claim: string]>,
  session: ClaimSource,
): string[] {
  const fields: string[] = []
  for (const [name, claim] of headers) {
    const value = identityValue(claimTexts(session, claim))
    if (value.length > LONGEST_IDENTITY)
      throw new BffError('forbidden', `the claim for ${name} is too long for a header field`)
    if (value !== '') fields.push(name, value)
  }
  return fields
}

/** One value per element; `%` and the comma are encoded too, so that no two different claims read the same. */
function identityValue(texts: readonly string[]): string {
  return texts.map(encodeText).join(',')
}

/** Percent-encodes what is not visible ASCII, so that no claim can end a line, and spaces at the ends. */
function encodeText(text: string): string {
  const wellFormed = text.toWellFormed()
  return wellFormed.replace(/^ +| +$|[^\x20-\x24\x26-\x2b\x2d-\x7e]+/g, (part) =>
    encodeURIComponent(part).replaceAll(/[!'()*]/g, (character) => character),
  )
}

function addOwnTrace(fields: string[], { traceparent, tracestate }: TraceContext): void {
  fields.push('traceparent', traceparent)
  if (tracestate !== undefined) fields.push('tracestate', tracestate)
}

function addTrace(fields: string[], traceparent: string | undefined, tracestate: string | undefined): void {
  if (traceparent === undefined || !TRACEPARENT.test(traceparent)) {
    // 00: nobody here records the trace, so nobody downstream is told that somebody does.
    fields.push('traceparent', `00-${randomHex()}-00`)
    return
  }
  fields.push('traceparent', traceparent)
  if (tracestate !== undefined && tracestate.length <= 512 && TRACESTATE.test(tracestate))
    fields.push('tracestate', tracestate)
}

const POOL_BYTES = 24 * 256
let pool = ''
let poolAt = 0

/** 32 and 16 hexadecimal digits joined by a hyphen; drawn from a pool, since a call per request costs more than all else here. */
function randomHex(): string {
  if (poolAt + 48 > pool.length) {
    pool = randomBytes(POOL_BYTES).toString('hex')
    poolAt = 0
  }
  const digits = pool.slice(poolAt, poolAt + 48)
  poolAt += 48
  return `${digits.slice(0, 32)}-${digits.slice(32)}`
}

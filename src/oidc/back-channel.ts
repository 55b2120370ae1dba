/** The gateway's own connection to the provider: bounded in time and size, never redirected, aware of what was sent. */
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import type { CustomFetchOptions } from 'openid-client'
import { Agent } from 'undici'

/** An honest answer has a few kilobytes; more is a mistake or an attack on our memory (R67). */
const BODY_LIMIT = 262_144
/** Calls at once: a refresh storm queues here and not at the provider (R18). */
const CONNECTIONS = 50
/** Of statuses that `Response` cannot carry with a body. */
const BODYLESS = new Set([204, 205, 304])

/** What is called, as a label of metrics and in log lines. */
export type ProviderEndpoint = 'metadata' | 'jwks' | 'token' | 'par' | 'userinfo' | 'revocation'

export interface BackChannelOptions {
  readonly timeoutMs: number
  /** The same server as the gateway reaches it: scheme, host and port are replaced, a path is put in front. */
  readonly baseUrl?: string
  /** Origin whose URLs `baseUrl` replaces: the issuer's. */
  readonly publicOrigin: string
  /** Client certificate for mutual TLS (RFC 8705), PEM. */
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly observe?: (endpoint: ProviderEndpoint, seconds: number) => void
}

export interface ExchangeOptions {
  /** From the call to the last byte of the body; default the back channel's. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal | undefined
  /** What the library is shown instead of a JSON object in an answer. */
  readonly prepare?: (body: Record<string, unknown>) => Record<string, unknown>
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

/**
 * One request to the provider and what became of it: with these facts a failed refresh is judged,
 * not with the shape of a library's error.
 */
export class Exchange {
  readonly endpoint: ProviderEndpoint
  /** As the library asked for it. */
  url: string | undefined
  /** Whether the request may have reached the provider. `false` is certain. */
  isSent = false
  /** Set once the answer has come in whole. */
  status: number | undefined
  headers: Headers | undefined
  body: string | undefined
  /** The body, where it is a JSON object of whatever status. */
  json: Record<string, unknown> | undefined
  /** What the server wants in the next proof (RFC 9449 §8); it may say so only in the answer that refuses. */
  dpopNonce: string | undefined
  /** Why no answer came in. */
  failure: Error | undefined
  readonly #channel: BackChannel
  readonly #options: ExchangeOptions

  constructor(channel: BackChannel, endpoint: ProviderEndpoint, options: ExchangeOptions) {
    this.#channel = channel
    this.endpoint = endpoint
    this.#options = options
  }

  /** A `fetch` for openid-client and jose. A second call (a DPoP nonce was asked for) replaces the facts. */
  readonly fetch = async (
    url: string,
    options: Pick<CustomFetchOptions, 'method'> & {
      body?: CustomFetchOptions['body']
      headers: Record<string, string> | Headers
    },
  ): Promise<Response> => {
    this.url = url
    this.isSent = false
    this.status = this.headers = this.body = this.json = this.failure = undefined
    try {
      const answer = await this.#channel.send(this, url, options, this.#options)
      this.body = answer.body.toString()
      this.json = asJsonObject(this.body)
      this.headers = answer.headers
      this.dpopNonce = answer.headers.get('dpop-nonce') ?? this.dpopNonce
      this.status = answer.status
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error('the request failed')
      throw this.failure
    }
    const { prepare } = this.#options
    const shown = this.json && prepare ? JSON.stringify(prepare(this.json)) : this.body
    return new Response(BODYLESS.has(this.status) ? null : shown, { status: this.status, headers: this.headers })
  }

  /** The `error` of an OAuth error answer (RFC 6749 §5.2), safe to log. */
  get oauthError(): string | undefined {
    const error = this.json?.['error']
    if (typeof error !== 'string' || (this.status ?? 0) < 400) return undefined
    return /^[\x20-\x21\x23-\x5B\x5D-\x7E]{1,64}$/.test(error) ? error : 'malformed error'
  }

  /** The provider's wish in seconds, from 1 to 3600. */
  retryAfterSeconds(now: number): number | undefined {
    const value = this.headers?.get('retry-after')?.trim()
    if (!value) return undefined
    const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - now) / 1_000)
    return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 1), 3_600) : undefined
  }

  /** What happened, for the log: never a value out of a body. */
  describe(): string {
    const where = `the ${this.endpoint} endpoint`
    if (this.status === undefined) {
      return this.failure ? `${where} gave no answer (${reasonOf(this.failure)})` : `${where} was not called`
    }
    return `${where} answered ${this.status}${this.oauthError ? ` ${this.oauthError}` : ''}`
  }
}

export class BackChannel {
  readonly #options: BackChannelOptions
  readonly #agent: Agent
  readonly #base: URL | undefined

  constructor(options: BackChannelOptions) {
    this.#options = options
    this.#base = options.baseUrl === undefined ? undefined : new URL(options.baseUrl)
    this.#agent = new Agent({
      connections: CONNECTIONS,
      // A shorter idle time than servers have: a request on a connection that they just closed has an unknown outcome.
      keepAliveTimeout: 4_000,
      connect: { timeout: options.timeoutMs, ...options.tls },
      maxHeaderSize: 32_768,
    })
  }

  exchange(endpoint: ProviderEndpoint, options: ExchangeOptions = {}): Exchange {
    return new Exchange(this, endpoint, options)
  }

  /** Called by the exchange alone. Rejects unless a whole answer came in, whatever its status. */
  async send(
    exchange: Exchange,
    address: string,
    request: { method: string; body?: CustomFetchOptions['body']; headers: Record<string, string> | Headers },
    options: ExchangeOptions,
  ): Promise<Answer> {
    const { publicOrigin, observe, timeoutMs } = this.#options
    const url = new URL(address)
    const target = this.#base && url.origin === publicOrigin ? behind(this.#base, url) : url
    const body = request.body === undefined || request.body === null ? null : bodyText(request.body)
    const headers = request.headers instanceof Headers ? Object.fromEntries(request.headers) : { ...request.headers }
    // The server must see the name that is in its own metadata, or it would build its answers from another one.
    if (target !== url) headers['host'] = url.host

    const timeout = AbortSignal.timeout(options.timeoutMs ?? timeoutMs)
    const signal = options.signal ? AbortSignal.any([timeout, options.signal]) : timeout
    const startedAt = performance.now()
    try {
      const answer = await this.#dispatch(exchange, target, { method: request.method, headers, body }, signal)
      return { ...answer, body: await decoded(answer) }
    } finally {
      observe?.(exchange.endpoint, (performance.now() - startedAt) / 1_000)
    }
  }

  /** Requests that are under way finish, each within its own time limit: a grant must not be lost to a shutdown (R23). */
  close(): void {
    this.#agent.close().catch(() => {
      // It is being thrown away: there is nobody left to tell.
    })
  }

  #dispatch(
    exchange: Exchange,
    target: URL,
    request: { method: string; headers: Record<string, string>; body: string | null },
    signal: AbortSignal,
  ): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const chunks: Buffer[] = []
    let received = 0
    let status = 0
    let headers = new Headers()
    let abort: ((reason: Error) => void) | undefined

    const onAbort = (): void => {
      const reason = signal.reason instanceof Error ? signal.reason : new Error('aborted')
      abort?.(reason)
      reject(reason)
    }
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })

    this.#agent.dispatch(
      {
        origin: target.origin,
        path: `${target.pathname}${target.search}`,
        method: request.method,
        headers: request.headers,
        body: request.body,
        // One deadline for all of it, above; a body that trickles must not outlive it.
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      {
        onRequestStart(controller) {
          if (signal.aborted) {
            controller.abort(new Error('aborted before it was sent'))
            return
          }
          abort = (reason) => controller.abort(reason)
          exchange.isSent = true
        },
        onResponseStart(_controller, statusCode, incoming) {
          if (statusCode < 200) return
          status = statusCode
          headers = asHeaders(incoming)
        },
        onResponseData(controller, chunk) {
          received += chunk.length
          chunks.push(chunk)
          if (received > BODY_LIMIT) controller.abort(new Error('the answer is too large'))
        },
        onResponseEnd() {
          if (status > 599) reject(new Error('the status is none that HTTP has'))
          else resolve({ status, headers, body: Buffer.concat(chunks) })
        },
        onResponseError(_controller, error) {
          reject(error)
        },
      },
    )
    return promise.finally(() => signal.removeEventListener('abort', onAbort))
  }
}

function behind(base: URL, url: URL): URL {
  const path = base.pathname.replace(/\/$/, '')
  return new URL(`${base.origin}${path}${url.pathname}${url.search}`)
}

function bodyText(body: NonNullable<CustomFetchOptions['body']>): string {
  if (typeof body === 'string') return body
  if (body instanceof URLSearchParams) return body.toString()
  throw new TypeError('only forms are sent to the provider')
}

function asHeaders(incoming: NodeJS.Dict<string | string[]>): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming)) {
    for (const one of Array.isArray(value) ? value : [value ?? '']) {
      try {
        headers.append(name, one)
      } catch {
        // A field that is no HTTP field is no part of the answer.
      }
    }
  }
  return headers
}

const decoders: Record<string, (body: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>> = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
}

/** Nothing was asked for, but some proxies compress all the same; a megabyte of gzip may hold a gigabyte. */
async function decoded({ headers, body }: Answer): Promise<Buffer> {
  const encoding = headers.get('content-encoding')?.trim().toLowerCase() ?? 'identity'
  headers.delete('content-encoding')
  headers.delete('content-length')
  if (encoding === 'identity' || encoding === '' || body.length === 0) return body
  const decode = decoders[encoding]
  if (!decode) throw new Error('the answer has an unknown content coding')
  return await decode(body, { maxOutputLength: BODY_LIMIT })
}

function asJsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    // What JSON.parse calls an object and is no array has string keys.
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function reasonOf(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  if (error.name === 'TimeoutError') return 'timed out'
  return code ?? error.message.slice(0, 120)
}

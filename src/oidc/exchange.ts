/** One call of the provider: what was sent, what came back, and what that says about what the provider did. */
import type { CustomFetchOptions } from 'openid-client'

/** Statuses that `Response` cannot carry with a body. */
const BODYLESS = new Set([204, 205, 304])

/** What is called, as a label of metrics and in log lines. */
export type ProviderEndpoint = 'metadata' | 'jwks' | 'token' | 'par' | 'userinfo' | 'revocation' | 'introspection'

export interface ExchangeOptions {
  /** From the call to the last byte of the body; default the back channel's. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal | undefined
  /** What the library is shown instead of a JSON object in an answer. */
  readonly prepare?: (body: Record<string, unknown>) => Record<string, unknown>
}

/** What openid-client and jose ask a `fetch` for. */
export interface ProviderRequest {
  readonly method: string
  readonly headers: Record<string, string> | Headers
  readonly body?: CustomFetchOptions['body']
}

/** Carries a request; rejects unless a whole answer came in, whatever its status. */
export type Send = (
  exchange: Exchange,
  url: string,
  request: ProviderRequest,
  options: ExchangeOptions,
) => Promise<Answer>

/** A whole answer, decoded. */
export interface Answer {
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
  readonly #send: Send
  readonly #options: ExchangeOptions

  constructor(send: Send, endpoint: ProviderEndpoint, options: ExchangeOptions) {
    this.#send = send
    this.endpoint = endpoint
    this.#options = options
  }

  /** A `fetch` for openid-client and jose. A second call (a DPoP nonce was asked for) replaces the facts. */
  readonly fetch = async (url: string, request: ProviderRequest): Promise<Response> => {
    this.url = url
    this.isSent = false
    this.status = this.headers = this.body = this.json = this.failure = undefined
    try {
      const answer = await this.#send(this, url, request, this.#options)
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
    const { status, headers } = this
    if (this.json && prepare) return new JsonResponse(prepare(this.json), { status, headers })
    return new Response(BODYLESS.has(status) ? null : this.body, { status, headers })
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

/** An answer whose JSON is at hand: no stream has to be made of it, read and parsed again. */
class JsonResponse extends Response {
  override readonly json: () => Promise<unknown>
  override readonly text: () => Promise<string>
  /** The library asks a copy of a refusal for its error. */
  override readonly clone: () => Response

  constructor(value: Record<string, unknown>, init: ResponseInit) {
    super(null, init)
    this.json = () => Promise.resolve(value)
    this.text = () => Promise.resolve(JSON.stringify(value))
    this.clone = () => new JsonResponse(value, init)
  }
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

/** The gateway's own connection to the provider: bounded in time and size, never redirected, aware of what was sent. */
import { isIP } from 'node:net'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { Agent } from 'undici'
import type { Dispatcher } from 'undici'
import type { Tracing } from '../telemetry/tracing.ts'
import { Exchange } from './exchange.ts'
import type { Answer, ExchangeOptions, ProviderEndpoint, ProviderRequest } from './exchange.ts'

/** An honest answer has a few kilobytes; more is a mistake or an attack on our memory (R67). */
const BODY_LIMIT = 262_144
/** Calls at once: a refresh storm queues here and not at the provider (R18). */
const CONNECTIONS = 50

export interface BackChannelOptions {
  readonly timeoutMs: number
  /** The same server as the gateway reaches it: scheme, host and port are replaced, a path is put in front. */
  readonly baseUrl?: string
  /** Origin whose URLs `baseUrl` replaces: the issuer's. */
  readonly publicOrigin: string
  /** Client certificate for mutual TLS (RFC 8705), PEM. */
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly observe?: (endpoint: ProviderEndpoint, seconds: number) => void
  readonly tracing?: Pick<Tracing, 'startClient' | 'contextOf' | 'endClient'> | undefined
}

export class BackChannel {
  readonly #options: BackChannelOptions
  readonly #agent: Agent
  readonly #base: URL | undefined
  #isFailing = false

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

  /** Whether the last call found nobody, or a server that is out of order. */
  get isFailing(): boolean {
    return this.#isFailing
  }

  exchange(endpoint: ProviderEndpoint, options: ExchangeOptions = {}): Exchange {
    return new Exchange((...call) => this.#send(...call), endpoint, options)
  }

  /** Requests that are under way finish, each within its own time limit: a grant must not be lost to a shutdown (R23). */
  close(): void {
    this.#agent.close().catch(() => {
      // It is being thrown away: there is nobody left to tell.
    })
  }

  async #send(
    exchange: Exchange,
    address: string,
    request: ProviderRequest,
    options: ExchangeOptions,
  ): Promise<Answer> {
    const { publicOrigin, observe, timeoutMs, tracing } = this.#options
    const url = new URL(address)
    const target = this.#base && url.origin === publicOrigin ? behind(this.#base, url) : url
    const headers = request.headers instanceof Headers ? Object.fromEntries(request.headers) : { ...request.headers }
    // The server must see the name that is in its own metadata, or it would build its answers from another one.
    if (target !== url) headers['host'] = url.host

    const span = tracing?.startClient(`provider ${exchange.endpoint}`, {
      'http.request.method': request.method,
      'server.address': url.hostname,
    })
    if (tracing && span) Object.assign(headers, tracing.contextOf(span))

    const reception = new Reception(exchange, { timeoutMs, ...options })
    const startedAt = performance.now()
    try {
      this.#agent.dispatch(
        {
          origin: target.origin,
          path: `${target.pathname}${target.search}`,
          method: request.method,
          headers,
          body: bodyText(request.body),
          ...serverName(target),
          // One deadline for all of it, above; a body that trickles must not outlive it.
          headersTimeout: 0,
          bodyTimeout: 0,
        },
        reception,
      )
      const answer = await decoded(await reception.answer)
      this.#isFailing = answer.status >= 500
      if (span) tracing?.endClient(span, answer.status)
      return answer
    } catch (error) {
      // Who gives up by himself has found out nothing.
      this.#isFailing ||= !options.signal?.aborted
      if (span) tracing?.endClient(span, error)
      throw error
    } finally {
      reception.end()
      observe?.(exchange.endpoint, (performance.now() - startedAt) / 1_000)
    }
  }
}

/** Takes one answer off the wire, up to the limit and until time is up or the signal says stop. */
class Reception implements Dispatcher.DispatchHandler {
  readonly answer: Promise<Answer>
  readonly #exchange: Exchange
  readonly #signal: AbortSignal | undefined
  // Not `AbortSignal.timeout`: that one cannot be called off, and makes its error when everybody has gone.
  readonly #timer: NodeJS.Timeout
  readonly #settle: Pick<PromiseWithResolvers<Answer>, 'resolve' | 'reject'>
  readonly #chunks: Buffer[] = []
  #received = 0
  #status = 0
  #headers = new Headers()
  #controller: Dispatcher.DispatchController | undefined
  #stoppedBy: Error | undefined

  constructor(exchange: Exchange, { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined }) {
    const { promise, ...settle } = Promise.withResolvers<Answer>()
    // Whoever awaits it hears of it; until then an early end is not an unhandled one.
    promise.catch(() => {})
    this.answer = promise
    this.#settle = settle
    this.#exchange = exchange
    this.#signal = signal
    this.#timer = setTimeout(() => this.#stop(new DOMException('the time is up', 'TimeoutError')), timeoutMs)
    this.#timer.unref()
    signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (signal?.aborted) this.#onAbort()
  }

  /** Called when a connection is there and the first byte is about to leave. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#stoppedBy) {
      controller.abort(this.#stoppedBy)
      return
    }
    this.#controller = controller
    this.#exchange.isSent = true
  }

  onResponseStart(_controller: unknown, status: number, headers: NodeJS.Dict<string | string[]>): void {
    if (status < 200) return
    this.#status = status
    this.#headers = asHeaders(headers)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#received += chunk.length
    this.#chunks.push(chunk)
    if (this.#received > BODY_LIMIT) controller.abort(new Error('the answer is too large'))
  }

  onResponseEnd(): void {
    if (this.#status > 599) this.#settle.reject(new Error('the status is none that HTTP has'))
    else this.#settle.resolve({ status: this.#status, headers: this.#headers, body: Buffer.concat(this.#chunks) })
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.#settle.reject(error)
  }

  end(): void {
    clearTimeout(this.#timer)
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#signal?.reason
    this.#stop(reason instanceof Error ? reason : new Error('aborted'))
  }

  #stop(reason: Error): void {
    this.#stoppedBy = reason
    this.#controller?.abort(reason)
    this.#settle.reject(reason)
  }
}

function behind(base: URL, url: URL): URL {
  const path = base.pathname.replace(/\/$/, '')
  return new URL(`${base.origin}${path}${url.pathname}${url.search}`)
}

/**
 * Whose certificate is expected: that of the address that is called. undici would take the name in `Host`, which is
 * another one behind `baseUrl`; for an IP address that name is the only one there is, and is left to it.
 */
function serverName(target: URL): { servername?: string } {
  const isName = target.protocol === 'https:' && isIP(target.hostname.replace(/^\[(.*)\]$/, '$1')) === 0
  return isName ? { servername: target.hostname } : {}
}

function bodyText(body: ProviderRequest['body']): string | null {
  if (body === undefined || body === null) return null
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
async function decoded({ status, headers, body }: Answer): Promise<Answer> {
  const encoding = headers.get('content-encoding')?.trim().toLowerCase() ?? 'identity'
  headers.delete('content-encoding')
  headers.delete('content-length')
  if (encoding === 'identity' || encoding === '' || body.length === 0) return { status, headers, body }
  const decode = decoders[encoding]
  if (!decode) throw new Error('the answer has an unknown content coding')
  return { status, headers, body: await decode(body, { maxOutputLength: BODY_LIMIT }) }
}

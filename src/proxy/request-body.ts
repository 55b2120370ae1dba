/** A request's body on its way up: counted, bounded in time, stopped when either side stops. */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { BffError } from '../errors.ts'

/** Longest time without a byte from the client, or without the upstream taking one. Any connection alive does better. */
const STALLED_MS = 25_000
/** What is still on its way after the answer is read and thrown away for so long; then the connection is cut. */
const LINGER_MS = 5_000

export interface RequestBodyOptions {
  readonly limit: number | undefined
  /** The last byte has arrived: from here the upstream's first byte is awaited. */
  readonly onLastByte: () => void
  readonly stalledMs?: number
}

/**
 * Whether a request has a body to send on: framing was judged before, so one of the two fields says so. That of a
 * HEAD, which no application reads, stays here: unread it would be the upstream's next request. One with GET goes on
 * (searches use it), and undici gives up the connection afterwards.
 */
export function hasBody(raw: IncomingMessage): boolean {
  if (raw.method === 'HEAD') return false
  const length = raw.headers['content-length']
  return raw.headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) > 0)
}

/**
 * The body as undici reads it. Not the IncomingMessage itself: undici destroys what it reads when the upstream fails,
 * and with that the client's connection, over which the failure is still to be told.
 *
 * Fails with BffError `payload_too_large`, `invalid_request` (stopped half way) or `upstream_timeout` (not taken).
 */
export class RequestBody extends Readable {
  readonly #source: IncomingMessage
  readonly #options: RequestBodyOptions
  #timer: NodeJS.Timeout | undefined
  #received = 0
  #isPaused = false

  constructor(source: IncomingMessage, options: RequestBodyOptions) {
    super({ highWaterMark: 65_536 })
    this.#source = source
    this.#options = options
  }

  override _read(): void {
    if (this.#timer) {
      this.#timer.refresh()
      if (this.#isPaused) {
        this.#isPaused = false
        this.#source.resume()
      }
      return
    }
    this.#timer = setTimeout(() => this.#stalled(), this.#options.stalledMs ?? STALLED_MS)
    this.#source.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onClose)
    if (this.#source.destroyed && !this.#source.readableEnded) this.#onClose()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#source.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#timer?.refresh()
    this.#received += chunk.length
    const { limit } = this.#options
    if (limit !== undefined && this.#received > limit) {
      this.destroy(new BffError('payload_too_large', `the body is longer than the ${limit} bytes allowed`))
    } else if (!this.push(chunk)) {
      this.#isPaused = true
      this.#source.pause()
    }
  }

  readonly #onEnd = (): void => {
    clearTimeout(this.#timer)
    this.#options.onLastByte()
    this.push(null)
  }

  readonly #onClose = (): void => {
    if (!this.#source.readableEnded) this.destroy(new BffError('invalid_request', 'the request body stopped half way'))
  }

  #stalled(): void {
    this.destroy(
      this.#isPaused
        ? new BffError('upstream_timeout', 'the upstream stopped taking the request body')
        : new BffError('invalid_request', 'the request body stopped coming'),
    )
  }
}

/**
 * After an answer that came before the whole body: closing at once would reset the connection and take the answer
 * from the client that is still writing (RFC 9112 §9.6); reading for ever would serve an endless upload.
 */
export function discardRest(raw: IncomingMessage): void {
  if (raw.complete || raw.destroyed) return
  raw.resume()
  const timer = setTimeout(() => raw.socket.destroy(), LINGER_MS)
  timer.unref()
  raw.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer))
}

/** A request's body on its way up: counted, bounded in time, stopped when either side stops. */
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { BffError } from '../errors.ts'

/** Longest time without a byte from the client, or without the upstream taking one. Any connection alive does better. */
const STALLED_MS = 25_000
/** What is still on its way after the answer is read and thrown away for so long; then the connection is cut. */
const LINGER_MS = 5_000
/** What Node reads at a time, at most. */
const SLAB = 65_536
/** Pieces of less do not come fast enough to matter. */
const SMALL_PIECE = 16_384
/** So many slabs has a body at most. */
const MOST_LENT = 2

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
 * A long body goes up in a few slabs of memory that are used again and again. Node reads and parses into new memory
 * for each piece, and V8 collects the whole heap for every 64 MiB of that: two thirds of what an upload takes. So a
 * piece is copied, and its memory given back at once.
 *
 * Nothing waits in here: who reads it pauses it, which pauses the source, and goes on when all of it has been written.
 *
 * Fails with BffError `payload_too_large`, `invalid_request` (stopped half way) or `upstream_timeout` (not taken).
 */
export class RequestBody extends Readable {
  readonly #source: IncomingMessage
  readonly #options: RequestBodyOptions
  #timer: NodeJS.Timeout | undefined
  #received = 0
  #isHeld = false
  /** Slabs that may still be written from, and those that may be written into. */
  #lent: Buffer[] = []
  readonly #spare: Buffer[] = []

  constructor(source: IncomingMessage, options: RequestBodyOptions) {
    super({ highWaterMark: SLAB })
    this.#source = source
    this.#options = options
  }

  override _read(): void {
    if (this.#timer) return
    this.#timer = setTimeout(() => this.#stalled(), this.#options.stalledMs ?? STALLED_MS)
    this.#source.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onClose)
    // After the parser, which has copied what it found. Where nobody but the parser listens it reads in native code,
    // and a listener would take the connection from it in the middle.
    const { socket } = this.#source
    if (socket.listenerCount('data') > 1) socket.on('data', this.#onPacket)
    if (this.#source.destroyed && !this.#source.readableEnded) this.#onClose()
  }

  override pause(): this {
    this.#isHeld = true
    if (!this.destroyed) this.#source.pause()
    return super.pause()
  }

  /** undici goes on when its socket has drained: nothing that went out before is written from any more. */
  override resume(): this {
    super.resume()
    if (this.#isHeld && !this.destroyed) {
      this.#isHeld = false
      this.#timer?.refresh()
      // What waits in here has not gone out; then the slabs stay lent, and what follows goes up uncopied.
      if (this.readableLength === 0) {
        this.#spare.push(...this.#lent)
        this.#lent = []
      }
      this.#source.resume()
    }
    return this
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#source.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose)
    this.#source.socket.off('data', this.#onPacket)
    callback(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#timer?.refresh()
    this.#received += chunk.length
    const { limit } = this.#options
    if (limit !== undefined && this.#received > limit) {
      this.destroy(new BffError('payload_too_large', `the body is longer than the ${limit} bytes allowed`))
    } else {
      this.push(this.#lend(chunk))
    }
  }

  /** What has been read from the connection. All of it was the body's as long as there is more to come. */
  readonly #onPacket = (packet: Buffer): void => {
    if (!this.#source.complete) giveBack(packet)
  }

  #lend(chunk: Buffer): Buffer {
    if (this.#lent.length === MOST_LENT || !hasOwnMemory(chunk)) return chunk
    const slab = this.#spare.pop() ?? Buffer.allocUnsafeSlow(SLAB)
    this.#lent.push(slab)
    const piece = slab.subarray(0, chunk.copy(slab))
    giveBack(chunk)
    return piece
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
      this.#isHeld
        ? new BffError('upstream_timeout', 'the upstream stopped taking the request body')
        : new BffError('invalid_request', 'the request body stopped coming'),
    )
  }
}

/** Whether the memory is of this piece alone, and of a size to matter. */
function hasOwnMemory({ buffer, length }: Buffer): boolean {
  return length >= SMALL_PIECE && length <= SLAB && length === buffer.byteLength
}

/** Frees the memory before a collection would; the piece is empty from then on. Nobody may be writing from it. */
function giveBack(piece: Buffer): void {
  if (hasOwnMemory(piece) && piece.buffer instanceof ArrayBuffer) piece.buffer.transfer(0)
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

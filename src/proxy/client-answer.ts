/** An answer on its way to the client: its head and bytes, as fast as they are taken and no longer than they may take. */
import type { ServerResponse } from 'node:http'
import { BffError } from '../errors.ts'

/** A client that takes no byte for so long is not reading any more. */
const CLIENT_STALLED_MS = 55_000
const SMALL_PIECE = 16_384

/** Where the answer comes from. */
export interface AnswerSource {
  /** The client takes bytes again. */
  drained(): void
  clientIsStalled(): void
  /** Nothing has come for as long as `timeout.idle`. */
  upstreamIsIdle(): void
}

/** Made when the head has come; after `end`, `cut` or `letGo` nothing is written any more. */
export class ClientAnswer {
  readonly #response: ServerResponse
  readonly #source: AnswerSource
  readonly #idleMs: number | undefined
  /** What the head tells, in bytes. */
  #length: number | undefined
  #timer: NodeJS.Timeout | undefined
  #hasWritten = false
  #isOver = false

  constructor(response: ServerResponse, source: AnswerSource, idleMs: number | undefined) {
    this.#response = response
    this.#source = source
    this.#idleMs = idleMs
  }

  /** @throws BffError `upstream_unavailable` for a field that Node lets nobody write */
  writeHead(status: number, fields: string[]): void {
    try {
      this.#response.writeHead(status, fields)
    } catch (error) {
      // Those before it may be set already and are not the failure's.
      for (const name of this.#response.getHeaderNames()) this.#response.removeHeader(name)
      throw new BffError('upstream_unavailable', 'the answer has a malformed header field', { cause: error })
    }
  }

  /** From now on bytes are expected: as many as this, where the head tells. */
  begin(length: number | undefined): void {
    this.#length = length
    process.nextTick(awaitBytes, this)
  }

  /** Whether more may come at once; else `drained` tells when. */
  write(chunk: Buffer): boolean {
    // The first small piece goes as text, byte for byte: Node joins it with the head into one write.
    const isFirst = !this.#hasWritten
    const piece = isFirst && chunk.length <= SMALL_PIECE ? chunk.toString('latin1') : chunk
    this.#hasWritten = true
    const takesMore = this.#response.write(piece, 'latin1')
    // Nothing follows a whole body. Node would hold it for the rest of its turn, and write it together with nothing.
    if (isFirst && chunk.length === this.#length) this.#response.socket?.uncork()
    if (takesMore) {
      if (this.#idleMs !== undefined) this.#timer?.refresh()
      return true
    }
    clearTimeout(this.#timer)
    this.#timer = setTimeout(clientStalled, CLIENT_STALLED_MS, this.#source)
    this.#response.once('drain', () => this.#drained())
    return false
  }

  /** It is whole. The upstream is done with, but its last bytes may wait for a client that never reads them. */
  end(): void {
    this.letGo()
    this.#response.end()
    if (this.#response.writableLength === 0) return
    const timer = setTimeout(() => this.#response.destroy(), CLIENT_STALLED_MS)
    timer.unref()
    this.#response.once('close', () => clearTimeout(timer))
  }

  /** It breaks off, and must not look like a whole one: no last chunk, no full length. */
  cut(): void {
    this.letGo()
    this.#response.destroy()
  }

  letGo(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
  }

  /**
   * Headers and first bytes leave in one segment when they came in one; a head without a body is not kept waiting. Most
   * answers are over by then, and need no timer.
   */
  awaitBytes(): void {
    if (this.#isOver) return
    if (!this.#hasWritten) this.#response.flushHeaders()
    if (this.#timer === undefined) this.#armIdle()
  }

  #drained(): void {
    if (this.#isOver) return
    clearTimeout(this.#timer)
    this.#armIdle()
    this.#source.drained()
  }

  #armIdle(): void {
    this.#timer = this.#idleMs === undefined ? undefined : setTimeout(upstreamIdle, this.#idleMs, this.#source)
  }
}

// Functions of the module: a closure for each request and timer would be made in vain nearly always.
function clientStalled(source: AnswerSource): void {
  source.clientIsStalled()
}

function upstreamIdle(source: AnswerSource): void {
  source.upstreamIsIdle()
}

function awaitBytes(answer: ClientAnswer): void {
  answer.awaitBytes()
}

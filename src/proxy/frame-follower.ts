/** Follows the frames of a WebSocket (RFC 6455 §5.2) through a byte stream without touching them. */

const CLOSE = 0x8

/**
 * Knows after each chunk whether the stream stands between two frames, which is the only place where a frame of our
 * own can be put in. Reads headers only, of either direction; payloads are skipped by their length.
 */
export class FrameFollower {
  /** Bytes of the frame's header so far; at most 14. */
  readonly #header = Buffer.alloc(14)
  #headerLength = 0
  #payloadLeft = 0
  #hasClosed = false

  /** Whether the bytes so far end where a frame ends. */
  get isBetweenFrames(): boolean {
    return this.#headerLength === 0 && this.#payloadLeft === 0
  }

  /** Whether a whole Close frame has passed: after it nothing may follow (§5.5.1). */
  get hasClosed(): boolean {
    return this.#hasClosed && this.isBetweenFrames
  }

  /** Takes note of a whole chunk. */
  advance(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) at = this.#step(chunk, at)
  }

  /** Takes note of a chunk up to the first end of a frame in it; the number of bytes that were taken. */
  advanceToEndOfFrame(chunk: Buffer): number {
    let at = 0
    while (at < chunk.length) {
      at = this.#step(chunk, at)
      if (this.isBetweenFrames) break
    }
    return at
  }

  /** Goes on to the end of the header or of the payload, or of the chunk. */
  #step(chunk: Buffer, from: number): number {
    if (this.#payloadLeft > 0) {
      const skipped = Math.min(this.#payloadLeft, chunk.length - from)
      this.#payloadLeft -= skipped
      return from + skipped
    }
    let at = from
    while (at < chunk.length) {
      this.#header[this.#headerLength] = chunk[at] ?? 0
      this.#headerLength += 1
      at += 1
      if (this.#headerLength >= 2 && this.#headerLength === headerLengthOf(this.#header)) {
        this.#begin()
        break
      }
    }
    return at
  }

  #begin(): void {
    const header = this.#header
    if (((header[0] ?? 0) & 0x0f) === CLOSE) this.#hasClosed = true
    const length = (header[1] ?? 0) & 0x7f
    // A length over 2^53 is no message but an attempt; it only makes the frame longer than any connection lives.
    this.#payloadLeft =
      length < 126 ? length : length === 126 ? header.readUInt16BE(2) : Number(header.readBigUInt64BE(2))
    this.#headerLength = 0
  }
}

function headerLengthOf(header: Buffer): number {
  const second = header[1] ?? 0
  const length = second & 0x7f
  return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (second & 0x80 ? 4 : 0)
}

/** A Close frame (§5.5.1). A client's frames are masked (§5.3), for which `mask` is four unpredictable bytes. */
export function closeFrame(code: number, reason: string, mask?: Buffer): Buffer {
  const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)])
  if (!mask) return Buffer.concat([Buffer.from([0x88, payload.length]), payload])
  const masked = payload.map((byte, at) => byte ^ (mask[at % 4] ?? 0))
  return Buffer.concat([Buffer.from([0x88, 0x80 | payload.length]), mask, masked])
}

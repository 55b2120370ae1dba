/** Two sockets that speak WebSocket to each other through us, joined as they are: what one sends the other gets. */
import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { closeFrame, FrameFollower } from './frame-follower.ts'

/** How long both sides may take to say goodbye. */
const GOODBYE_MS = 5_000
/** A side that takes no byte for so long is not there any more; nor would we hear of the other, which is not read. */
const STALLED_MS = 60_000

export interface TunnelOptions {
  readonly client: Duplex
  readonly upstream: Duplex
  /** Longest time without a byte either way, in milliseconds; `undefined` for none. */
  readonly idleMs: number | undefined
  /** Called once, when both sockets are gone. */
  readonly onClosed: () => void
}

/** One way of the tunnel. */
interface Way {
  readonly from: Duplex
  readonly to: Duplex
  readonly frames: FrameFollower
  /** Our Close frame, once it is to be sent; `sent` when it has been. */
  goodbye: Buffer | 'sent' | undefined
  stalled: NodeJS.Timeout | undefined
}

/**
 * Bytes are handed on as they come, with the back-pressure of the sockets: no frame is parsed, put together or
 * limited here, so a slow reader costs its sender's patience and not our memory. Only the boundaries of frames are
 * followed, since a Close of our own must not land in the middle of one.
 */
export class WebSocketTunnel {
  readonly #options: TunnelOptions
  readonly #ways: readonly [down: Way, up: Way]
  #idle: NodeJS.Timeout | undefined
  #goodbye: NodeJS.Timeout | undefined
  #open = 2

  constructor(options: TunnelOptions) {
    const { client, upstream, idleMs } = options
    this.#options = options
    this.#ways = [
      { from: upstream, to: client, frames: new FrameFollower(), goodbye: undefined, stalled: undefined },
      { from: client, to: upstream, frames: new FrameFollower(), goodbye: undefined, stalled: undefined },
    ]
    if (idleMs !== undefined) this.#idle = setTimeout(() => this.close(1001, 'idle'), idleMs)
    for (const way of this.#ways) this.#join(way)
  }

  /**
   * Says Close to both sides as soon as no frame is under way, and cuts what has not closed after five seconds.
   * Nothing that comes afterwards is handed on.
   */
  close(code: number, reason: string): void {
    if (this.#goodbye) return
    const [down, up] = this.#ways
    down.goodbye = closeFrame(code, reason)
    up.goodbye = closeFrame(code, reason, randomBytes(4))
    this.#goodbye = setTimeout(() => this.#destroy(), GOODBYE_MS)
    for (const way of this.#ways) if (way.frames.isBetweenFrames) this.#sayGoodbye(way)
  }

  #join(way: Way): void {
    const { from, to } = way
    from.on('data', (chunk: Buffer) => this.#hand(way, chunk))
    to.on('drain', () => {
      clearTimeout(way.stalled)
      from.resume()
    })
    from.on('end', () => to.end())
    from.on('error', () => this.#destroy())
    from.on('close', () => {
      this.#open -= 1
      if (this.#open > 0) return this.#destroy()
      clearTimeout(this.#idle)
      clearTimeout(this.#goodbye)
      this.#options.onClosed()
    })
  }

  #hand(way: Way, chunk: Buffer): void {
    this.#idle?.refresh()
    const { frames, to, from, goodbye } = way
    if (goodbye === undefined) {
      frames.advance(chunk)
      if (to.write(chunk)) return
      from.pause()
      way.stalled = setTimeout(() => this.#destroy(), STALLED_MS)
      return
    }
    if (goodbye !== 'sent') {
      const taken = frames.advanceToEndOfFrame(chunk)
      to.write(chunk.subarray(0, taken))
      if (!frames.isBetweenFrames) return
      this.#sayGoodbye(way)
      chunk = chunk.subarray(taken)
    }
    // From here on only the answer to our Close matters.
    frames.advance(chunk)
    if (frames.hasClosed) from.end()
  }

  #sayGoodbye(way: Way): void {
    // After a Close of the end itself a second one would be a protocol error.
    if (way.goodbye instanceof Buffer && !way.frames.hasClosed && way.to.writable) way.to.write(way.goodbye)
    way.goodbye = 'sent'
    way.from.resume()
  }

  #destroy(): void {
    for (const { from, stalled } of this.#ways) {
      clearTimeout(stalled)
      from.destroy()
    }
  }
}

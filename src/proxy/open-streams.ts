/** WebSockets and event streams that are open: each ends with its session, and all of them with the gateway (PX-19). */
import type { BearerToken } from '../oidc/access-token.ts'
import type { Session } from '../session/session.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** The session behind a stream, with the cookie value that opens it. */
export interface StreamOwner {
  readonly session: Session
  readonly sessionCookie: string
}

/** Who a request is from: a session, or a token that an app sent. */
export type RequestOwner = StreamOwner | BearerToken

export interface OpenStreamsOptions {
  readonly manager: Pick<SessionManager, 'onSessionEvent' | 'peek'>
  readonly metrics?: Pick<Metrics, 'openStreams'> | undefined
  readonly now?: () => number
}

export type StreamEnd = 'session_ended' | 'token_expired' | 'shutdown'

/** A longer one would fire at once. */
const LONGEST_TIMER_MS = 2_147_483_647

/** Made once; every stream of the proxy is registered here. */
export class OpenStreams {
  readonly #options: OpenStreamsOptions
  readonly #open = new Set<(reason: StreamEnd) => void>()

  constructor(options: OpenStreamsOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#open.size
  }

  /**
   * Registers a stream. `end` is called once at most: when the session ends on whatever instance, when its idle or
   * absolute time is over, when the token that it was opened with expires, or at shutdown. The returned function takes the
   * stream out again.
   */
  open(kind: 'websocket' | 'event_stream', owner: RequestOwner | null, end: (reason: StreamEnd) => void): () => void {
    const { metrics } = this.#options
    let isOpen = true
    const close = (): void => {
      if (!isOpen) return
      isOpen = false
      this.#open.delete(finish)
      stopWatching?.()
      metrics?.openStreams.dec({ kind })
    }
    const finish = (reason: StreamEnd): void => {
      if (!isOpen) return
      close()
      end(reason)
    }
    this.#open.add(finish)
    metrics?.openStreams.inc({ kind })
    const stopWatching = owner ? this.#watchOwner(owner, finish) : undefined
    return close
  }

  /** Ends them all; later ones can still be opened. */
  closeAll(): void {
    for (const finish of [...this.#open]) finish('shutdown')
  }

  #watchOwner(owner: RequestOwner, finish: (reason: StreamEnd) => void): () => void {
    if ('session' in owner) return this.#watch(owner, () => finish('session_ended'))
    return this.#watchToken(owner.expiresAt, () => finish('token_expired'))
  }

  /** A token of five minutes must not open a stream for ever. */
  #watchToken(expiresAt: number | undefined, ended: () => void): () => void {
    if (expiresAt === undefined) return () => {}
    const now = this.#options.now ?? Date.now
    let timer: NodeJS.Timeout
    const look = (): void => {
      const leftMs = expiresAt - now()
      if (leftMs <= 0) ended()
      else timer = setTimeout(look, Math.min(leftMs, LONGEST_TIMER_MS)).unref()
    }
    timer = setTimeout(look, 0).unref()
    return () => clearTimeout(timer)
  }

  #watch(owner: StreamOwner, ended: () => void): () => void {
    const { manager } = this.#options
    const { session, sessionCookie } = owner
    const unsubscribe = manager.onSessionEvent(
      session.ref,
      (event) => {
        if (event.type === 'ended') ended()
      },
      session.expiresAt,
    )
    // The session may have ended while the upstream was still being asked: that event is gone.
    manager.peek(sessionCookie).then(
      (found) => {
        if (!found) ended()
      },
      // "Cannot tell" is not "ended". The manager goes on watching and says so when it can.
      () => {},
    )
    return unsubscribe
  }
}

/** WebSockets and event streams that are open: each ends with its session, and all of them with the gateway (PX-19). */
import type { Session } from '../session/session.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** The session behind a stream, with the cookie value that opens it. */
export interface StreamOwner {
  readonly session: Session
  readonly sessionCookie: string
}

export interface OpenStreamsOptions {
  readonly manager: Pick<SessionManager, 'onSessionEvent' | 'peek' | 'idleExpiresAt'>
  readonly metrics?: Pick<Metrics, 'openStreams'> | undefined
  readonly now: () => number
}

export type StreamEnd = 'session_ended' | 'shutdown'

/** Node's timers hold 31 bits. */
const LONGEST_TIMER_MS = 2_147_483_647
/** How soon a store that could not answer is asked again. */
const ASK_AGAIN_MS = 5_000

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
   * absolute time is over, or at shutdown. The returned function takes the stream out again.
   */
  open(kind: 'websocket' | 'event_stream', owner: StreamOwner | null, end: (reason: StreamEnd) => void): () => void {
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
    const stopWatching = owner ? this.#watch(owner, () => finish('session_ended')) : undefined
    return close
  }

  /** Ends them all; later ones can still be opened. */
  closeAll(): void {
    for (const finish of [...this.#open]) finish('shutdown')
  }

  #watch(owner: StreamOwner, ended: () => void): () => void {
    const { manager, now } = this.#options
    const unsubscribe = manager.onSessionEvent(owner.session.ref, (event) => {
      if (event.type === 'ended') ended()
    })
    // Nobody announces that a session has grown old: the stream looks when it may have, and again if it has not.
    const lookAt = (at: number): void => {
      if (!isWatching) return
      timer = setTimeout(() => void look(), Math.min(Math.max(at - now(), 0), LONGEST_TIMER_MS))
      timer.unref()
    }
    const look = async (): Promise<void> => {
      if (!isWatching) return
      if (now() >= owner.session.expiresAt) return ended()
      try {
        const session = await manager.peek(owner.sessionCookie)
        if (!session) return ended()
        lookAt(Math.min(manager.idleExpiresAt(session), session.expiresAt))
      } catch {
        // "Cannot tell" is not "ended": until the absolute end the stream has the benefit of the doubt.
        lookAt(Math.min(now() + ASK_AGAIN_MS, owner.session.expiresAt))
      }
    }
    // At once for the first time: the session may have ended while the upstream was still being asked.
    let timer: NodeJS.Timeout | undefined
    let isWatching = true
    void look()
    return () => {
      isWatching = false
      clearTimeout(timer)
      unsubscribe()
    }
  }
}

/** From a cookie's value to an opened session: one read of the store, shared by those who ask at once. */
import type { Log } from '../telemetry/log.ts'
import type { Activity, SessionUse } from './activity.ts'
import type { SessionCache } from './cache.ts'
import type { KeyRing } from './key-ring.ts'
import type { Session } from './session.ts'
import type { SessionStore, StoredSession } from './store.ts'

/** For one key id, the file of the keys is read again at most so often. */
const REREAD_MS = 5_000

/** A session as it was read, with its use as this process knows it. */
export interface OpenedSession {
  readonly session: Session
  readonly use: SessionUse
}

export interface SessionReaderOptions {
  readonly store: Pick<SessionStore, 'get'>
  readonly keyRing: Pick<KeyRing, 'openSession'>
  readonly cache: SessionCache
  readonly activity: Pick<Activity, 'useOf'>
  /** Reads the key file again: a record's key may be newer than the ring. */
  readonly onUnknownKey?: () => Promise<void>
  readonly log: Log
}

export class SessionReader {
  readonly #options: SessionReaderOptions
  readonly #shared = new Map<string, Promise<OpenedSession | undefined>>()
  readonly #rereads = new Map<string, { at: number; done: Promise<void> }>()

  constructor(options: SessionReaderOptions) {
    this.#options = options
  }

  /** As `read`, but joins one that is under way and was begun before nothing had happened to the session. */
  readShared(cookieValue: string, ref: string): Promise<OpenedSession | undefined> {
    const underWay = this.#shared.get(ref)
    if (underWay) return underWay
    const reading = this.read(cookieValue, ref).finally(() => {
      if (this.#shared.get(ref) === reading) this.#shared.delete(ref)
    })
    this.#shared.set(ref, reading)
    return reading
  }

  /** Something happened to the session: who asks from now on must not get an answer from before. */
  forget(ref: string): void {
    this.#shared.delete(ref)
  }

  /** `undefined` when there is no such session, or nothing that this cookie and the ring can open (R39). */
  async read(cookieValue: string, ref: string): Promise<OpenedSession | undefined> {
    const { store, cache } = this.#options
    const ticket = cache.begin(ref)
    let opened: OpenedSession | undefined
    try {
      const stored = await store.get(ref)
      opened = stored && (await this.open(cookieValue, ref, stored))
      return opened
    } finally {
      cache.finish(ticket, opened)
    }
  }

  async open(cookieValue: string, ref: string, stored: StoredSession): Promise<OpenedSession | undefined> {
    const { keyRing, activity, log } = this.#options
    let result = keyRing.openSession(cookieValue, ref, stored)
    if ('failure' in result && result.failure === 'unknown_key') {
      await this.#rereadKeys(stored.keyId)
      result = keyRing.openSession(cookieValue, ref, stored)
    }
    const session = 'json' in result ? parse(result.json) : undefined
    if (session) return { session, use: activity.useOf(ref, session.expiresAt, stored.lastSeenAt) }
    const why = 'failure' in result ? result.failure : 'unreadable'
    // Left where it is: it may be another gateway's, or a newer format's (R29).
    log.warn({ sessionRef: ref.slice(0, 16), why }, 'a stored session cannot be opened and counts as none')
    return undefined
  }

  async #rereadKeys(keyId: string): Promise<void> {
    const { onUnknownKey, log } = this.#options
    const last = this.#rereads.get(keyId)
    if (last && performance.now() - last.at < REREAD_MS) return last.done
    if (!onUnknownKey) return
    // A key id comes from our own store, but who can write there could invent many.
    if (this.#rereads.size > 100) this.#rereads.clear()
    const done = onUnknownKey().catch((error: unknown) => {
      log.error({ err: error }, 'the session keys could not be read again')
    })
    this.#rereads.set(keyId, { at: performance.now(), done })
    await done
  }
}

/** What opens was sealed by a gateway with this ring, for this ref and version. */
function parse(json: string): Session | undefined {
  try {
    return JSON.parse(json) as Session
  } catch {
    return undefined
  }
}

/** Who has which sessions: lists them, ends them together, holds the limit. None of it needs a cookie. */
import type { Config } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import type { EndReason, Session, SessionSummary } from './session.ts'
import type { IndexedSession, IndexKind, SessionIndex } from './session-index.ts'
import type { DeleteConditions, SessionStore } from './store.ts'

const ENDS_AT_ONCE = 100
/** An index entry without a session counts for so long: the session is being written. */
const PENDING_MS = 5_000

export type ListedSession = SessionSummary & { readonly lastSeenAt: number }

/** Whom an operator's question means. */
export type SessionTarget =
  | { readonly by: 'ref'; readonly ref: string }
  | { readonly by: 'sub' | 'sid'; readonly issuer: string; readonly value: string }

export interface SessionRosterOptions {
  readonly store: Pick<SessionStore, 'get' | 'refs' | 'lastSeen'>
  readonly index: SessionIndex
  /** Read at each use: they may change while running. */
  readonly settings: Pick<Config['session'], 'limit' | 'maxLifetime'>
  readonly end: (ref: string, reason: EndReason, onlyIf?: DeleteConditions) => Promise<boolean>
  readonly now: () => number
}

/** @throws BffError `store_unavailable` from every method when the store cannot answer */
export class SessionRoster {
  readonly #options: SessionRosterOptions

  constructor(options: SessionRosterOptions) {
    this.#options = options
  }

  async list({ issuer, sub }: Pick<Session, 'issuer' | 'sub'>): Promise<ListedSession[]> {
    return listed(await this.#options.index.findLive('u', issuer, sub))
  }

  async find(target: SessionTarget): Promise<ListedSession[]> {
    const { index, store, settings } = this.#options
    if (target.by !== 'ref') {
      return listed(await index.findLive(target.by === 'sub' ? 'u' : 'p', target.issuer, target.value))
    }
    const found: ListedSession[] = []
    for await (const refs of store.refs()) {
      for (const ref of refs.filter((one) => one.startsWith(target.ref))) {
        const stored = await store.get(ref)
        if (!stored) continue
        // Nothing but the cookie opens the record; its end follows from its beginning.
        const { createdAt, lastSeenAt } = stored
        found.push({ ref, createdAt, expiresAt: createdAt + settings.maxLifetime, lastSeenAt })
      }
    }
    return found
  }

  endByProviderSession(issuer: string, sid: string, reason: EndReason): Promise<number> {
    return this.#endIndexed('p', issuer, sid, reason)
  }

  /** @param begunBefore epoch ms: later sessions stay. Without it, all of the user's sessions end. */
  endBySubject(issuer: string, sub: string, reason: EndReason, begunBefore?: number): Promise<number> {
    return this.#endIndexed('u', issuer, sub, reason, begunBefore)
  }

  /** Ends every session begun before now, whoever's it is. */
  async endAll(reason: EndReason): Promise<number> {
    const createdBefore = this.#options.now() + 1
    let ended = 0
    for await (const refs of this.#options.store.refs()) ended += await this.#endEach(refs, reason, { createdBefore })
    return ended
  }

  /**
   * After the login's own entry is in the index: of two logins at once each sees the other, and the later gives way.
   *
   * @throws BffError `forbidden` when the user has as many sessions as the limit allows, and it says `refuse`
   */
  async refuseBeyondLimit(session: Session, replaces: readonly string[]): Promise<void> {
    const { index, store, settings } = this.#options
    const { perUser, onExceed } = settings.limit
    if (perUser === undefined || onExceed !== 'refuse') return
    const found = await index.find('u', session.issuer, session.sub)
    const seen = await store.lastSeen(found.map(({ ref }) => ref))
    const pendingSince = session.createdAt - PENDING_MS
    const earlier = found.filter(
      (other, i) =>
        (seen[i] !== undefined || begunAt(other) >= pendingSince) &&
        !replaces.includes(other.ref) &&
        isBefore(other, session),
    )
    if (earlier.length < perUser) return
    if (session.indexed) await index.remove(session.indexed)
    throw new BffError('forbidden', 'the user has as many sessions as session.limit.perUser allows')
  }

  /** After the login's session is there: whoever comes last sees all, so the limit holds for logins at once, too. */
  async endBeyondLimit({ issuer, sub }: Session): Promise<void> {
    const { perUser, onExceed } = this.#options.settings.limit
    if (perUser === undefined || onExceed !== 'endOldest') return
    const live = await this.#options.index.findLive('u', issuer, sub)
    const oldestFirst = live.toSorted((a, b) => (isBefore(a, { createdAt: begunAt(b), ref: b.ref }) ? -1 : 1))
    const surplus = oldestFirst.slice(0, Math.max(0, live.length - perUser))
    await this.#endEach(
      surplus.map(({ ref }) => ref),
      'session_limit',
    )
  }

  async #endIndexed(kind: IndexKind, issuer: string, id: string, reason: EndReason, begunBefore?: number) {
    const { index, store } = this.#options
    const found = await index.find(kind, issuer, id)
    const refs = found.map(({ ref }) => ref)
    const onlyIf: DeleteConditions = begunBefore === undefined ? {} : { createdBefore: begunBefore }
    const ended = await this.#endEach(refs, reason, onlyIf)
    // An entry comes before its session, which may be on its way: it is not begun when its entry is gone by then.
    const seen = await store.lastSeen(refs)
    const isMeant = (one: IndexedSession) => begunBefore === undefined || begunAt(one) < begunBefore
    const gone = found.filter((one, i) => seen[i] === undefined && isMeant(one))
    await Promise.all(gone.map(({ entry }) => index.remove(entry)))
    const since = this.#options.now() - PENDING_MS
    const pending = gone.filter((one) => begunAt(one) >= since).map(({ ref }) => ref)
    return ended + (await this.#endEach(pending, reason, onlyIf))
  }

  async #endEach(refs: readonly string[], reason: EndReason, onlyIf: DeleteConditions = {}): Promise<number> {
    let ended = 0
    for (let start = 0; start < refs.length; start += ENDS_AT_ONCE) {
      const batch = refs.slice(start, start + ENDS_AT_ONCE)
      const outcomes = await Promise.all(batch.map((ref) => this.#options.end(ref, reason, onlyIf)))
      ended += outcomes.filter(Boolean).length
    }
    return ended
  }
}

function listed(found: readonly (IndexedSession & { lastSeenAt: number })[]): ListedSession[] {
  return found.flatMap(({ summary, lastSeenAt }) => (summary ? [{ ...summary, lastSeenAt }] : []))
}

/** A summary that nothing opens any more is an old one. */
function begunAt({ summary }: IndexedSession): number {
  return summary?.createdAt ?? 0
}

function isBefore(other: IndexedSession, session: { createdAt: number; ref: string }): boolean {
  const begun = begunAt(other)
  return begun === session.createdAt ? other.ref < session.ref : begun < session.createdAt
}

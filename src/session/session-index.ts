/** Which sessions a user has, and which belong to a session at the provider: found without any cookie. */
import type { KeyRing } from './key-ring.ts'
import type { IndexEntries, Session, SessionSummary } from './session.ts'
import type { SessionStore } from './store.ts'

/** An entry is written before its session; so long a missing session may still be on its way. */
const PENDING_MS = 60_000

/** By user (`u`, issuer and subject) or by the provider's session (`p`, issuer and `sid`). */
export type IndexKind = 'u' | 'p'

export interface IndexedSession {
  readonly ref: string
  /** `undefined` when it was sealed by a key that the ring does not have any more. */
  readonly summary: SessionSummary | undefined
  readonly entry: IndexEntries
}

/** As it is sealed: the ref stands beside it. */
type Summary = Omit<SessionSummary, 'ref'>

export interface SessionIndexOptions {
  readonly store: Pick<SessionStore, 'addToIndex' | 'removeFromIndex' | 'readIndex' | 'isIndexed' | 'lastSeen'>
  readonly keyRing: Pick<KeyRing, 'keyedHash' | 'keyedHashes' | 'seal' | 'open'>
  readonly now: () => number
}

/** Names in keys are hashes keyed by the ring, so that a dump of the store tells nobody's subject. */
export class SessionIndex {
  readonly #options: SessionIndexOptions

  constructor(options: SessionIndexOptions) {
    this.#options = options
  }

  /** The entries of a session, under the ring's first key. */
  entriesFor(session: Omit<Session, 'indexed'>): IndexEntries {
    const { ref, createdAt, expiresAt, userAgent, issuer, sub, providerSid } = session
    const summary: Summary = { createdAt, expiresAt, ...(userAgent !== undefined && { userAgent }) }
    const member = `${ref}.${this.#options.keyRing.seal(purposeOf(ref), JSON.stringify(summary))}`
    const user = this.#key('u', issuer, sub)
    return { member, keys: providerSid === undefined ? [user] : [user, this.#key('p', issuer, providerSid)] }
  }

  /** Whether look-ups will find these entries when all keys but the first have left the ring. */
  isCurrent(session: Session): boolean {
    return session.indexed?.keys[0] === this.#key('u', session.issuer, session.sub)
  }

  async add({ keys, member }: IndexEntries, expiresAt: number): Promise<void> {
    await Promise.all(keys.map((key) => this.#options.store.addToIndex(key, member, expiresAt)))
  }

  /** Whether all of a session's entries are there: one that was taken out meanwhile means an end. */
  async has({ keys, member }: IndexEntries): Promise<boolean> {
    const found = await Promise.all(keys.map((key) => this.#options.store.isIndexed(key, member)))
    return found.every(Boolean)
  }

  async remove({ keys, member }: IndexEntries): Promise<void> {
    await Promise.all(keys.map((key) => this.#options.store.removeFromIndex(key, [member])))
  }

  /** All entries there are, under every key of the ring; their sessions may have ended. */
  async find(kind: IndexKind, issuer: string, id: string): Promise<IndexedSession[]> {
    const { store, keyRing } = this.#options
    const keys = keyRing.keyedHashes(PURPOSES[kind], name(issuer, id)).map((hash) => `${kind}:{${hash}}`)
    const members = await Promise.all(keys.map(async (key) => ({ key, members: await store.readIndex(key) })))
    const found = new Map<string, IndexedSession>()
    for (const { key, members: ofKey } of members) {
      for (const member of ofKey) {
        const at = member.indexOf('.')
        const ref = member.slice(0, at)
        if (at > 0 && !found.has(ref)) {
          found.set(ref, { ref, summary: this.#open(ref, member.slice(at + 1)), entry: { keys: [key], member } })
        }
      }
    }
    return [...found.values()]
  }

  /** Those whose sessions are there, with their last use; entries of sessions long gone are taken out. */
  async findLive(kind: IndexKind, issuer: string, id: string): Promise<(IndexedSession & { lastSeenAt: number })[]> {
    const found = await this.find(kind, issuer, id)
    const seen = await this.#options.store.lastSeen(found.map(({ ref }) => ref))
    const settled = this.#options.now() - PENDING_MS
    const gone = found.filter(({ summary }, i) => seen[i] === undefined && (summary?.createdAt ?? 0) < settled)
    await Promise.all(gone.map(({ entry }) => this.remove(entry)))
    return found.flatMap((indexed, i) => {
      const lastSeenAt = seen[i]
      return lastSeenAt === undefined ? [] : [{ ...indexed, lastSeenAt }]
    })
  }

  #key(kind: IndexKind, issuer: string, id: string): string {
    return `${kind}:{${this.#options.keyRing.keyedHash(PURPOSES[kind], name(issuer, id))}}`
  }

  #open(ref: string, sealed: string): SessionSummary | undefined {
    const json = this.#options.keyRing.open(purposeOf(ref), sealed)
    // What opens was sealed by us for this ref.
    return json && { ref, ...(JSON.parse(json.toString()) as Summary) }
  }
}

const PURPOSES = { u: 'user index', p: 'provider session index' } as const

/** As JSON, since both parts may hold any character (LO-10): no two pairs have the same name. */
function name(issuer: string, id: string): string {
  return JSON.stringify([issuer, id])
}

function purposeOf(ref: string): string {
  return `session summary ${ref}`
}

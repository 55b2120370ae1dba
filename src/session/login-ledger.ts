/** Which logins have been used and how they ended: a code is traded once, however often its callback comes. */
import { hash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { KeyRing } from './key-ring.ts'
import type { SessionStore } from './store.ts'

/** Longer than any exchange takes; a process that dies in the middle blocks a reload for no longer. */
const PENDING_MS = 60_000
/** How long the outcome of a login answers a reload or the back button. */
const SETTLED_MS = 3_600_000
const LOOK_AGAIN_MS = 100

/** How a login ended: in which browser, and where that went. */
export type LoginOutcome =
  { readonly kind: 'succeeded'; readonly browser: string; readonly returnTo: string } | { readonly kind: 'failed' }

/** The session that stands for all logins which one browser had under way at the same time. */
export interface LeadingLogin {
  readonly cookieValue: string
  readonly browser: string
}

interface LoginLedgerOptions {
  readonly store: Pick<SessionStore, 'note' | 'noteIfAbsent' | 'readNote' | 'takeNote'>
  readonly keyRing: Pick<KeyRing, 'seal' | 'open' | 'sealFor' | 'openFor'>
}

/** Keys hold a hash of the state: 256 random bits, which no dictionary reaches. */
function keyOf(kind: 't' | 'r', part: string, state: string): string {
  return `${kind}:{${hash('sha256', `${part} ${state}`, 'base64url')}}`
}

/** @throws BffError `store_unavailable` from every method when the store cannot answer */
export class LoginLedger {
  readonly #store: LoginLedgerOptions['store']
  readonly #keyRing: LoginLedgerOptions['keyRing']

  constructor(options: LoginLedgerOptions) {
    this.#store = options.store
    this.#keyRing = options.keyRing
  }

  /**
   * Makes a login ours to finish, or says how it ended. While another request is at it, waits for that one.
   *
   * @returns `undefined` when it is ours; `failed` also when the other request did not end within `patienceMs`
   */
  async claim(state: string, patienceMs: number): Promise<LoginOutcome | undefined> {
    const key = keyOf('t', 'used', state)
    let note = await this.#store.noteIfAbsent(key, 'pending', PENDING_MS)
    for (let waited = 0; note === 'pending' && waited < patienceMs; waited += LOOK_AGAIN_MS) {
      await delay(LOOK_AGAIN_MS)
      note = (await this.#store.readNote(key)) ?? 'failed'
    }
    return note === undefined ? undefined : this.#read(state, note)
  }

  /** How a login ended, `undefined` when it has not been used or was forgotten. */
  async lookUp(state: string): Promise<LoginOutcome | undefined> {
    const note = await this.#store.readNote(keyOf('t', 'used', state))
    return note === undefined || note === 'pending' ? undefined : this.#read(state, note)
  }

  async succeed(state: string, outcome: { browser: string; returnTo: string }): Promise<void> {
    const sealed = this.#keyRing.seal(`login ${state}`, JSON.stringify(outcome))
    await this.#store.note(keyOf('t', 'used', state), `succeeded ${sealed}`, SETTLED_MS)
  }

  async fail(state: string): Promise<void> {
    await this.#store.note(keyOf('t', 'used', state), 'failed', SETTLED_MS)
  }

  /** Keeps a return address that is too long for a cookie until the callback. */
  async keepReturnTo(state: string, returnTo: string, ttlMs: number): Promise<void> {
    await this.#store.note(keyOf('r', 'return', state), this.#keyRing.seal(`return ${state}`, returnTo), ttlMs)
  }

  async keptReturnTo(state: string): Promise<string | undefined> {
    const sealed = await this.#store.readNote(keyOf('r', 'return', state))
    return sealed === undefined ? undefined : this.#keyRing.open(`return ${state}`, sealed)?.toString()
  }

  /**
   * Makes `login` the leader of the logins that meet at one transaction, unless there is one: then resolves that.
   * The leader's cookie value is sealed with the meeting transaction's seed, which only the browser holds.
   */
  async lead(
    meeting: { state: string; seed: Buffer },
    login: LeadingLogin,
    ttlMs: number,
  ): Promise<LeadingLogin | undefined> {
    const sealed = this.#sealLeader(meeting, login)
    const note = await this.#store.noteIfAbsent(keyOf('t', 'leader', meeting.state), sealed, ttlMs)
    return this.#openLeader(meeting, note)
  }

  /** The leader that there is, and nothing else. */
  async leaderAt(meeting: { state: string; seed: Buffer }): Promise<LeadingLogin | undefined> {
    return this.#openLeader(meeting, await this.#store.readNote(keyOf('t', 'leader', meeting.state)))
  }

  /** Puts `login` in the place of a leader that is over. */
  async takeLead(meeting: { state: string; seed: Buffer }, login: LeadingLogin, ttlMs: number): Promise<void> {
    await this.#store.note(keyOf('t', 'leader', meeting.state), this.#sealLeader(meeting, login), ttlMs)
  }

  #openLeader({ seed }: { seed: Buffer }, note: string | undefined): LeadingLogin | undefined {
    const plain = note === undefined ? undefined : this.#keyRing.openFor(seed, 'leading login', note)
    // Ours: only a callback with this seed could seal it.
    return plain && (JSON.parse(plain.toString()) as LeadingLogin)
  }

  #sealLeader(meeting: { seed: Buffer }, login: LeadingLogin): string {
    return this.#keyRing.sealFor(meeting.seed, 'leading login', JSON.stringify(login))
  }

  #read(state: string, note: string): LoginOutcome {
    const plain = note.startsWith('succeeded ') && this.#keyRing.open(`login ${state}`, note.slice(10))
    if (!plain) return { kind: 'failed' }
    // Ours: sealed by our key ring for this state.
    return { kind: 'succeeded', ...(JSON.parse(plain.toString()) as { browser: string; returnTo: string }) }
  }
}

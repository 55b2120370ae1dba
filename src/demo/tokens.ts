/** What the demo's sign-in service knows of the tokens that it has made: their kinds and fingerprints, for the page to show. */
import { createHash } from 'node:crypto'

const MOST_RESPONSES = 1_000
const KINDS = { access_token: 'access', refresh_token: 'refresh', id_token: 'id' } as const

/** Fingerprints of the tokens that belong together; never a token. */
export type HeldTokens = Readonly<Partial<Record<(typeof KINDS)[keyof typeof KINDS], string>>>

/** Tells two tokens apart without telling either. */
export function fingerprintOf(token: string): string {
  return createHash('sha256').update(token).digest('hex').slice(0, 8)
}

/** The answers of the token endpoint, the last thousand. */
export class TokenBook {
  readonly #byFingerprint = new Map<string, HeldTokens>()

  /** Notes an answer (RFC 6749 §5.1); what it leaves out is kept from the one before it (§6). */
  note(answer: Readonly<Record<string, unknown>>, usedRefreshToken: string | undefined): void {
    const before = usedRefreshToken === undefined ? {} : this.heldWith(usedRefreshToken)
    const given = Object.entries(KINDS).flatMap(([name, kind]) => {
      const token = answer[name]
      return typeof token === 'string' ? [[kind, fingerprintOf(token)]] : []
    })
    const held: HeldTokens = { ...before, ...Object.fromEntries(given) }
    for (const fingerprint of [held.access, held.refresh]) {
      if (fingerprint !== undefined) this.#byFingerprint.set(fingerprint, held)
    }
    for (const oldest of this.#byFingerprint.keys()) {
      if (this.#byFingerprint.size <= 2 * MOST_RESPONSES) break
      this.#byFingerprint.delete(oldest)
    }
  }

  /** What was given out together with this access or refresh token. */
  heldWith(token: string): HeldTokens {
    return this.#byFingerprint.get(fingerprintOf(token)) ?? {}
  }
}

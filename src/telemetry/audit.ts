/** Audit events: who signed in, out, and what was refused (`docs/operations.md`, ASVS 16.3). */
import { createHash } from 'node:crypto'
import type { Log } from './log.ts'

/** Level and message of each event; failures and refusals are warnings. */
const events = {
  'login.succeeded': { level: 'info', message: 'signed in' },
  'login.failed': { level: 'warn', message: 'sign-in failed' },
  'session.refreshed': { level: 'info', message: 'tokens refreshed' },
  'refresh.failed': { level: 'warn', message: 'token refresh failed' },
  'session.ended': { level: 'info', message: 'session ended' },
  'logout.backchannel': { level: 'info', message: 'back-channel logout' },
  'csrf.rejected': { level: 'warn', message: 'cross-site request refused' },
  'admin.listed': { level: 'info', message: 'sessions listed for an administrator' },
  'admin.ended': { level: 'info', message: 'sessions ended by an administrator' },
  'admin.refused': { level: 'warn', message: 'an admin request without the right token' },
} as const satisfies Record<string, { level: 'info' | 'warn'; message: string }>

export type AuditEvent = keyof typeof events

export interface AuditFields {
  /** The whole ref; its first 16 characters are logged. */
  readonly sessionRef?: string | undefined
  /** Logged as a hash unless `log.hashSubject` is off. */
  readonly sub?: string | undefined
  /** A word from a fixed set, or the name of the check that failed; never what a client sent. */
  readonly reason?: string | undefined
  /** The name under `providers`. */
  readonly provider?: string | undefined
  readonly requestId?: string | undefined
  readonly ip?: string | undefined
  readonly [field: string]: string | number | boolean | undefined
}

export interface AuditOptions {
  readonly hashSubject: boolean
}

/** Writes audit events as log lines with the field `event`. */
export class Audit {
  readonly #log: Log
  readonly #hashSubject: boolean

  constructor(log: Log, options: AuditOptions) {
    this.#log = log
    this.#hashSubject = options.hashSubject
  }

  record(event: AuditEvent, fields: AuditFields): void {
    const { sessionRef, sub, ...rest } = fields
    const { level, message } = events[event]
    this.#log[level](
      {
        event,
        ...(sessionRef !== undefined && { sessionRef: sessionRef.slice(0, 16) }),
        ...(sub !== undefined && { sub: this.#hashSubject ? subjectHash(sub) : sub }),
        ...rest,
      },
      message,
    )
  }
}

/**
 * What stands for a subject in the log: the first 16 characters of base64url(SHA-256(sub)).
 *
 * Without a key, so that an operator who knows the subject can compute it and search; a pseudonym, not anonymity.
 */
export function subjectHash(sub: string): string {
  return createHash('sha256').update(sub).digest('base64url').slice(0, 16)
}

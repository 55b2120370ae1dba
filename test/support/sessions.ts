/** Parts that tests of sessions are made of: configuration, clocks, login results, scripted providers. */
import { setTimeout as delay } from 'node:timers/promises'
import type { RedisConfig } from '../../src/config/schema.ts'
import type { LoginResult, RefreshableSession, RefreshOutcome } from '../../src/oidc/provider.ts'
import type { TokenSet } from '../../src/oidc/token-set.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import {
  type ResolveOptions,
  SessionManager,
  type SessionManagerOptions,
  type SessionSettings,
} from '../../src/session/manager.ts'
import { MemoryStore } from '../../src/session/memory-store.ts'
import type { RefreshProvider } from '../../src/session/refresh.ts'
import type { SessionStore } from '../../src/session/store.ts'
import { Audit } from '../../src/telemetry/audit.ts'
import type { Log } from '../../src/telemetry/log.ts'

/** The Redis part of a configuration as the loader gives it. */
export function redisConfig(redis: Partial<RedisConfig>): RedisConfig {
  // A busy machine is no outage; tests of those say how long they wait.
  return { commandTimeout: 2_000, ...redis }
}

/** Until the store's own events are proved to arrive. */
export async function untilInStep(store: Pick<SessionStore, 'inStep'>, patienceMs = 10_000): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!store.inStep) {
    if (performance.now() > deadline) throw new Error('the store did not get in step')
    await delay(10)
  }
}

/** Settings as the configuration's defaults give them. */
export function sessionSettings(changes: Partial<SessionSettings> = {}): SessionSettings {
  return {
    idleTimeout: 1_800_000,
    maxLifetime: 36_000_000,
    refreshMargin: 30_000,
    limit: { onExceed: 'endOldest' },
    outageGrace: 0,
    cache: { maxEntries: 10_000, ttl: 30_000 },
    ...changes,
  }
}

export interface Clock {
  (): number
  advance(ms: number): void
}

/** A clock that moves only when it is told to. */
export function manualClock(startAt = 1_800_000_000_000): Clock {
  let time = startAt
  return Object.assign(() => time, { advance: (ms: number) => void (time += ms) })
}

/** A provider that answers as it is told: rotates refresh tokens, counts, and keeps what it was asked. */
export class ScriptedProvider implements RefreshProvider {
  /** As configured: a reload may change it. */
  issuer = 'https://id.example'
  /** Whether its metadata has been good since. */
  ready = true
  /** Every refresh token it was sent, in order. */
  readonly asked: string[] = []
  readonly revoked: string[] = []
  lifetimeMs = 300_000
  /** Answers the next grants; when it is used up, they succeed. */
  readonly script: ((session: RefreshableSession) => RefreshOutcome | Promise<RefreshOutcome>)[] = []
  readonly #now: () => number
  #issued = 0

  constructor(now: () => number = Date.now) {
    this.#now = now
  }

  async refresh(session: RefreshableSession): Promise<RefreshOutcome> {
    this.asked.push(session.tokens.refreshToken ?? 'none')
    const answer = this.script.shift() ?? (() => this.succeed())
    return answer(session)
  }

  async revoke(token: string): Promise<void> {
    this.revoked.push(token)
  }

  /** The answer of a good day. */
  succeed(changes: Partial<TokenSet> = {}): RefreshOutcome {
    return { kind: 'refreshed', tokens: { ...this.issue(), ...changes } }
  }

  issue(): TokenSet {
    this.#issued += 1
    return {
      accessToken: `access-${this.#issued}`,
      tokenType: 'bearer',
      accessTokenExpiresAt: this.#now() + this.lifetimeMs,
      refreshToken: `refresh-${this.#issued}`,
      idToken: `id-${this.#issued}`,
    }
  }

  /** What a code grant brings. */
  login(changes: { sub?: string; sid?: string; tokens?: Partial<TokenSet> } = {}): LoginResult {
    return {
      tokens: { ...this.issue(), ...changes.tokens },
      issuer: this.issuer,
      claims: { iss: this.issuer, sub: changes.sub ?? 'alice', ...(changes.sid !== undefined && { sid: changes.sid }) },
    }
  }
}

/** Log and audit lines, kept for looking at. */
export class Recorder implements Log {
  readonly lines: { level: string; fields: Record<string, unknown>; message: string }[] = []
  debug = this.#at('debug')
  info = this.#at('info')
  warn = this.#at('warn')
  error = this.#at('error')

  #at(level: string) {
    return (fields: object, message: string) => void this.lines.push({ level, fields: { ...fields }, message })
  }

  /** Audit events by name, with their reason. */
  get events(): string[] {
    return this.lines.flatMap(({ fields: { event, reason } }) =>
      typeof event === 'string' ? [typeof reason === 'string' ? `${event} ${reason}` : event] : [],
    )
  }
}

export const REQUEST: ResolveOptions = { slides: true, token: true, safeMethod: true }

export interface ManagerWorld {
  readonly manager: SessionManager
  readonly store: SessionStore
  readonly provider: ScriptedProvider
  readonly keyRing: KeyRing
  readonly now: Clock
  readonly log: Recorder
}

/** A manager over a memory store with a clock of its own, or over whatever is given. */
export function managerWorld(
  changes: Partial<Omit<SessionManagerOptions, 'settings' | 'providers' | 'log' | 'audit'>> & {
    settings?: Partial<SessionSettings>
    provider?: ScriptedProvider
    /** By name; left out, `provider` is the only one. */
    providers?: ReadonlyMap<string, RefreshProvider>
    clock?: Clock
  } = {},
): ManagerWorld {
  const { settings, provider: givenProvider, providers, clock, ...options } = changes
  const now = clock ?? manualClock()
  const store = options.store ?? new MemoryStore({ now })
  const keyRing = options.keyRing ?? new KeyRing([KeyRing.generateKey()])
  const provider = givenProvider ?? new ScriptedProvider(now)
  const log = new Recorder()
  const manager = new SessionManager({
    now,
    ...options,
    store,
    keyRing,
    providers: providers ?? new Map([['default', provider]]),
    settings: sessionSettings(settings),
    log,
    audit: new Audit(log, { hashSubject: true }),
  })
  return { manager, store, provider, keyRing, now, log }
}

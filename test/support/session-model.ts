/** A model of the life of sessions, and the commands that fast-check plays against it and two real managers. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { BffError } from '../../src/errors.ts'
import type { RefreshableSession, RefreshOutcome } from '../../src/oidc/provider.ts'
import type { SessionManager } from '../../src/session/manager.ts'
import type { SessionStore } from '../../src/session/store.ts'
import type { Session } from '../../src/session/session.ts'
import { type Clock, REQUEST, ScriptedProvider } from './sessions.ts'

export const IDLE_MS = 600_000
export const LIFETIME_MS = 3_600_000
const TOKEN_MS = 60_000

/** How the provider answers the next grant. `lost` and `lostUnspent`: no answer arrives, and the token is spent or not. */
export type Answer = 'ok' | 'lost' | 'lostUnspent' | 'down' | 'invalid_grant'

/** A strict server: a refresh token is good once, and it remembers every use of every token. */
export class StrictProvider extends ScriptedProvider {
  readonly next: Answer[] = []
  /** Families whose refresh it has refused: their sessions may have ended. */
  readonly refused = new Set<string>()
  /** What must never happen, if it did. */
  readonly violations: string[] = []
  readonly #clock: Clock
  readonly #spent = new Set<string>()
  readonly #delivered = new Set<string>()
  readonly #underWay = new Set<string>()
  #count = 0

  constructor(clock: Clock) {
    super(clock)
    this.#clock = clock
  }

  tokensOf(family: string) {
    this.#count += 1
    return {
      accessToken: `at.${family}.${this.#count}`,
      tokenType: 'bearer' as const,
      accessTokenExpiresAt: this.#clock() + TOKEN_MS,
      refreshToken: `rt.${family}.${this.#count}`,
    }
  }

  override async refresh({ tokens, sub }: RefreshableSession): Promise<RefreshOutcome> {
    const token = tokens.refreshToken ?? ''
    const family = token.split('.')[1] ?? ''
    if (family !== sub) this.violations.push(`the token ${token} was sent for the session of ${sub}`)
    if (this.#underWay.has(token)) this.violations.push(`two grants at once for ${token}`)
    if (this.#delivered.has(token)) this.violations.push(`${token} was used again after its answer had arrived`)
    this.#underWay.add(token)
    await turns(3)
    this.#underWay.delete(token)
    const answer = this.#spent.has(token) ? 'invalid_grant' : (this.next.shift() ?? 'ok')
    switch (answer) {
      case 'ok':
        this.#spent.add(token)
        this.#delivered.add(token)
        return { kind: 'refreshed', tokens: this.tokensOf(family) }
      case 'lost':
        this.#spent.add(token)
        return { kind: 'lost', reason: 'reset' }
      case 'lostUnspent':
        return { kind: 'lost', reason: 'reset' }
      case 'down':
        return { kind: 'unavailable', reason: 'status 500' }
      case 'invalid_grant':
        this.refused.add(family)
        return { kind: 'rejected', reason: 'invalid_grant' }
      default:
        return answer satisfies never
    }
  }
}

/** Lets so many turns of the event loop pass. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

export interface ModelSession {
  readonly family: string
  readonly cookieValue: string
  readonly ref: string
  readonly createdAt: number
  lastUsedAt: number
  isEnded: boolean
}

export interface Model {
  readonly sessions: ModelSession[]
}

export interface Real {
  readonly managers: readonly [SessionManager, SessionManager]
  readonly stores: readonly [SessionStore, SessionStore]
  readonly provider: StrictProvider
  readonly clock: Clock
}

type Command = fc.AsyncCommand<Model, Real>

/** Until every event published so far has been heard by both: they keep their order. */
async function settle({ stores }: Real): Promise<void> {
  const key = `settled ${Math.random()}`
  await Promise.all(
    stores.map(async (store) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const stop = store.onEvent((event) => event.type === 'released' && event.ref === key && resolve())
      stores[0].publish({ type: 'released', ref: key, from: 'model' })
      await promise
      stop()
    }),
  )
}

/** Whether the session's time has come, by the model's own reckoning. */
function isOver(session: ModelSession, now: number): boolean {
  return now >= session.createdAt + LIFETIME_MS || now >= session.lastUsedAt + IDLE_MS
}

function checkOwn(session: Session, model: ModelSession): void {
  expect(session.sub).toBe(model.family)
  expect(session.ref).toBe(model.ref)
  expect(session.tokens.accessToken.split('.')[1]).toBe(model.family)
}

const pick = (model: Model, index: number): ModelSession | undefined =>
  model.sessions.length === 0 ? undefined : model.sessions[index % model.sessions.length]

async function create(model: Model, real: Real, side: 0 | 1): Promise<void> {
  const family = `family${Math.random().toString(36).slice(2)}`
  const { issuer } = real.provider
  const result = { tokens: real.provider.tokensOf(family), issuer, claims: { iss: issuer, sub: family } }
  const { cookieValue, session } = await real.managers[side].create({ provider: 'default', result })
  const { ref, createdAt } = session
  model.sessions.push({ family, cookieValue, ref, createdAt, lastUsedAt: createdAt, isEnded: false })
}

/** One request. What it may answer follows from the model; during other things at once, an end may come first. */
async function resolve(session: ModelSession, real: Real, side: 0 | 1, isAlone: boolean): Promise<void> {
  const mustFail = session.isEnded || isOver(session, real.clock())
  try {
    const resolved = await real.managers[side].resolve(session.cookieValue, REQUEST)
    // Of things at once, this one may have come first.
    if (isAlone) expect(mustFail).toBe(false)
    checkOwn(resolved, session)
    expect(resolved.tokens.accessTokenExpiresAt).toBeGreaterThan(real.clock())
    session.lastUsedAt = real.clock()
  } catch (error) {
    if (!(error instanceof BffError)) throw error
    if (error.code === 'session_expired') {
      // Never without a reason: it was ended, its time has come, or the provider has refused it.
      if (isAlone) expect(mustFail || real.provider.refused.has(session.family)).toBe(true)
      session.isEnded ||= isAlone
    } else {
      expect(error.code).toBe('provider_unavailable')
      // The request was one: it slid the session, although it got no token.
      session.lastUsedAt = real.clock()
    }
  }
}

async function check(model: Model, real: Real): Promise<void> {
  await settle(real)
  expect(real.provider.violations).toEqual([])
  for (const session of model.sessions) {
    for (const [side, manager] of real.managers.entries()) {
      const found = await manager.peek(session.cookieValue)
      const isKnown = session.isEnded || isOver(session, real.clock())
      if (isKnown) expect(found, `resurrected on side ${side}`).toBeUndefined()
      else if (!real.provider.refused.has(session.family)) expect(found, `lost on side ${side}`).toBeDefined()
      if (found) checkOwn(found, session)
      // Once gone is gone for good.
      else session.isEnded = true
    }
  }
}

class Step implements Command {
  readonly #name: string
  readonly #run: (model: Model, real: Real) => Promise<void>

  constructor(name: string, run: (model: Model, real: Real) => Promise<void>) {
    this.#name = name
    this.#run = run
  }

  check(): boolean {
    return true
  }

  async run(model: Model, real: Real): Promise<void> {
    await this.#run(model, real)
    await Promise.all(real.managers.map((manager) => manager.flush()))
    await check(model, real)
  }

  toString(): string {
    return this.#name
  }
}

interface Action {
  readonly kind: 'resolve' | 'end' | 'force' | 'subject'
  readonly index: number
  readonly side: 0 | 1
  /** Turns of the event loop before it begins, among things that happen at once. */
  readonly after: number
}

async function act(action: Action, model: Model, real: Real, isAlone: boolean): Promise<void> {
  const session = pick(model, action.index)
  if (!session) return
  if (!isAlone) await turns(action.after)
  const manager = real.managers[action.side]
  switch (action.kind) {
    case 'resolve':
      return resolve(session, real, action.side, isAlone)
    case 'end':
      await manager.end(session.cookieValue, 'logout')
      session.isEnded = true
      return
    case 'subject':
      await manager.endBySubject(real.provider.issuer, session.family, 'backchannel_logout')
      session.isEnded = true
      return
    case 'force':
      await manager.refreshNow(session.cookieValue).then(
        (refreshed) => checkOwn(refreshed, session),
        (error: unknown) => expect(error).toBeInstanceOf(BffError),
      )
      return
    default:
      action.kind satisfies never
  }
}

const side = fc.constantFrom<(0 | 1)[]>(0, 1)
const index = fc.nat({ max: 5 })
const action: fc.Arbitrary<Action> = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant('resolve' as const) },
    fc.constantFrom('end' as const, 'subject', 'force'),
  ),
  index,
  side,
  after: fc.nat({ max: 8 }),
})
const answer = fc.constantFrom<Answer[]>('ok', 'ok', 'lost', 'lostUnspent', 'down', 'invalid_grant')

/** Everything that can happen to sessions, in any order, and several things at once. */
export const sessionCommands = fc.commands(
  [
    side.map((on) => new Step(`create on ${on}`, (model, real) => create(model, real, on))),
    action.map(
      (one) => new Step(`${one.kind} ${one.index} on ${one.side}`, (model, real) => act(one, model, real, true)),
    ),
    fc.array(action, { minLength: 2, maxLength: 8 }).map(
      (actions) =>
        new Step(
          `at once: ${actions.map((one) => `${one.kind} ${one.index} on ${one.side}`).join(', ')}`,
          async (model, real) => {
            await Promise.all(actions.map((one) => act(one, model, real, false)))
          },
        ),
    ),
    fc.array(answer, { minLength: 1, maxLength: 3 }).map(
      (answers) =>
        new Step(`the provider answers ${answers.join(', ')}`, async (_model, real) => {
          real.provider.next.splice(0, Number.POSITIVE_INFINITY, ...answers)
        }),
    ),
    fc.constantFrom(1_000, 31_000, 61_000, 61_000, IDLE_MS, LIFETIME_MS).map(
      (ms) =>
        new Step(`${ms / 1_000} s pass`, async (_model, real) => {
          real.clock.advance(ms)
        }),
    ),
  ],
  { maxCommands: 30, size: 'max' },
)

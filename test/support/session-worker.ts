/** A process of its own with a session manager over Redis, told what to do by messages: `session-processes.ts`. */
import { readFile } from 'node:fs/promises'
import type { RefreshableSession, RefreshOutcome } from '../../src/oidc/provider.ts'
import type { TokenSet } from '../../src/oidc/token-set.ts'
import { BffError } from '../../src/errors.ts'
import { KeyRing } from '../../src/session/key-ring.ts'
import { RedisStore } from '../../src/session/redis-store.ts'
import { managerWorld, Recorder, ScriptedProvider } from './sessions.ts'
import type { WorkerCall, WorkerSettings } from './session-processes.ts'

const settings = JSON.parse(process.env.SESSION_WORKER ?? '{}') as WorkerSettings // what session-processes.ts wrote

/** Asks the token server of the test; what happens to the answer is what would happen to a real one. */
class RemoteProvider extends ScriptedProvider {
  override async refresh(session: RefreshableSession, signal?: AbortSignal): Promise<RefreshOutcome> {
    const query = new URLSearchParams({ refresh_token: session.tokens.refreshToken ?? '' })
    try {
      const answer = await fetch(`${settings.tokenServer}/?${query}`, { signal: signal ?? null })
      if (answer.status === 400) return { kind: 'rejected', reason: 'invalid_grant' }
      if (answer.status !== 200) return { kind: 'unavailable', reason: `status ${answer.status}` }
      return { kind: 'refreshed', tokens: (await answer.json()) as TokenSet } // what token-server.ts sends
    } catch {
      return { kind: 'lost', reason: 'reset' }
    }
  }
}

const readKeys = async () => (await readFile(settings.keysFile, 'utf8')).trim().split('\n')
const keyRing = new KeyRing(await readKeys())
const log = new Recorder()
const store = new RedisStore({ config: settings.redis, name: 'sidegate', log })
const provider = new RemoteProvider()
const { manager } = managerWorld({
  store,
  keyRing,
  provider,
  clock: Object.assign(Date.now, { advance: () => {} }),
  settings: settings.session ?? {},
  onUnknownKey: async () => keyRing.update(await readKeys()),
  ...(settings.leaseMs !== undefined && { leaseMs: settings.leaseMs }),
})

const calls: Record<string, (...args: never[]) => unknown> = {
  create: async (sub: string, tokens: Partial<TokenSet>, sid?: string) => {
    const result = provider.login({ sub, tokens, ...(sid !== undefined && { sid }) })
    return manager.create({ provider: 'default', result })
  },
  resolve: (cookieValue: string, changes: object) =>
    manager.resolve(cookieValue, { slides: true, token: true, safeMethod: true, ...changes }),
  resolveMany: async (cookieValue: string, count: number) => {
    const one = () => manager.resolve(cookieValue, { slides: true, token: true, safeMethod: true })
    const answers = await Promise.allSettled(Array.from({ length: count }, one))
    return answers.map((answer) =>
      answer.status === 'fulfilled' ? answer.value.tokens.accessToken : answer.reason.code,
    )
  },
  isCached: (cookieValue: string) =>
    manager.tryResolve(cookieValue, { slides: false, token: false, safeMethod: true }) !== undefined,
  peek: (cookieValue: string) => manager.peek(cookieValue),
  end: (cookieValue: string) => manager.end(cookieValue, 'logout'),
  endByProviderSession: (issuer: string, sid: string) =>
    manager.endByProviderSession(issuer, sid, 'backchannel_logout'),
  inStep: () => store.inStep,
  updateKeys: async () => keyRing.update(await readKeys()),
  watch: (ref: string) => {
    manager.onSessionEvent(ref, (event) => process.send?.({ event, ref, at: Date.now() }))
  },
  logLines: () => log.lines,
}

async function answer({ id, name, args }: WorkerCall): Promise<void> {
  try {
    const result = await calls[name]?.(...(args as never[])) // typed at the other end
    process.send?.({ id, result })
  } catch (error) {
    process.send?.({ id, error: { code: error instanceof BffError ? error.code : String(error) } })
  }
}
process.on('message', (call: WorkerCall) => void answer(call))
process.on('disconnect', () => process.exit(0))
process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection', error)
  process.exit(70)
})
process.send?.({ isReady: true })

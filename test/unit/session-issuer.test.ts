/** What a session's tokens were given by, and what becomes of it when the configuration says something else. */
import { describe, expect, onTestFinished, test } from 'vitest'
import type { RouteTokenOutcome } from '../../src/oidc/provider.ts'
import type { RefreshProvider } from '../../src/session/refresh.ts'
import { providerOf, type Session } from '../../src/session/session.ts'
import { managerWorld, manualClock, REQUEST, ScriptedProvider } from '../support/sessions.ts'

const ELSEWHERE = 'https://elsewhere.example'

/** A session of `default`, and the map of providers that a reload would change. */
async function signedIn() {
  const clock = manualClock()
  const provider = new ScriptedProvider(clock)
  const providers = new Map<string, RefreshProvider>([['default', provider]])
  const world = managerWorld({ clock, provider, providers })
  onTestFinished(() => world.manager.close())
  const { cookieValue, session } = await world.manager.create({ provider: 'default', result: provider.login() })
  const resolve = async () => (await world.manager.resolve(cookieValue, REQUEST)).tokens.accessToken
  const other = new ScriptedProvider(clock)
  other.issuer = ELSEWHERE
  return { ...world, provider, providers, other, cookieValue, session, resolve }
}

describe('the name of the provider stands for another issuer', () => {
  test('a refresh token goes there not even once: the session goes on while its token is good, and then ends (CB-05)', async () => {
    const { now, provider, resolve, log } = await signedIn()
    provider.issuer = ELSEWHERE
    now.advance(280_000) // within the margin

    expect(await resolve()).toBe('access-1')
    now.advance(20_000)
    await expect(resolve()).rejects.toMatchObject({ code: 'session_expired' })
    expect(provider.asked).toEqual([])
    expect(log.events).toContain('refresh.failed issuer_not_configured')
    expect(log.events).toContain('session.ended refresh_rejected')
  })

  test('one that was never reached may be a mistake: an alarm, nobody is signed out, and the issuer may come back', async () => {
    const { now, provider, resolve, log } = await signedIn()
    const { issuer } = provider
    Object.assign(provider, { issuer: ELSEWHERE, ready: false })
    now.advance(300_000)

    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(provider.asked).toEqual([])
    expect(log.lines.map(({ fields }) => fields.alarm)).toContain('provider_client_refused')
    Object.assign(provider, { issuer, ready: true })
    expect(await resolve()).toBe('access-2')
  })

  test('an issuer that comes back while the token is good has lost nobody', async () => {
    const { now, provider, resolve } = await signedIn()
    const { issuer } = provider
    provider.issuer = ELSEWHERE
    now.advance(280_000)
    await resolve()
    provider.issuer = issuer
    now.advance(3_000) // what failed is tried again a little later

    await expect.poll(resolve).toBe('access-2')
    expect(provider.asked).toEqual(['refresh-1'])
  })

  test('tokens that arrive for a session which has ended are revoked at their own server or nowhere (CB-05, R13)', async () => {
    const { now, provider, resolve, manager, cookieValue } = await signedIn()
    provider.script.push(async () => {
      await manager.end(cookieValue, 'logout')
      provider.issuer = ELSEWHERE
      return provider.succeed()
    })
    now.advance(300_000)

    await expect(resolve()).rejects.toMatchObject({ code: 'session_expired' })
    expect(provider.revoked).toEqual([])
  })

  test('a token for a route is not asked for there (CB-05)', async () => {
    const asked: unknown[] = []
    const { manager, cookieValue, provider, session } = await signedIn()
    const routeToken = async (rule: unknown): Promise<RouteTokenOutcome> => {
      asked.push(rule)
      return { kind: 'unavailable', reason: 'it was asked' }
    }
    Object.assign(provider, { issuer: ELSEWHERE, routeToken })

    await expect(
      manager.routeTokens.tokenFor(cookieValue, session, { resource: 'https://orders.example' }),
    ).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(asked).toEqual([])
    expect(await manager.peek(cookieValue)).toBeDefined()
  })
})

describe('the provider is not configured any more', () => {
  test('its sessions end with their tokens, once what is configured instead works', async () => {
    const { now, providers, provider, other, resolve } = await signedIn()
    providers.clear()
    providers.set('partners', other)
    other.ready = false
    now.advance(300_000)
    await expect(resolve()).rejects.toMatchObject({ code: 'provider_unavailable' })

    other.ready = true
    await expect(resolve()).rejects.toMatchObject({ code: 'session_expired' })
    expect([...provider.asked, ...other.asked]).toEqual([])
  })

  test('it has another name only, as the one provider has when a second comes: nobody notices', async () => {
    const { now, providers, provider, other, resolve } = await signedIn()
    providers.clear()
    providers.set('staff', provider).set('partners', other)
    now.advance(300_000)

    expect(await resolve()).toBe('access-2')
    expect(other.asked).toEqual([])
  })

  test('two have changed their names: each session is refreshed at its own server', async () => {
    const { now, providers, provider, other, resolve } = await signedIn()
    providers.set('partners', provider).set('default', other)
    now.advance(300_000)

    expect(await resolve()).toBe('access-2')
    expect([provider.asked, other.asked]).toEqual([['refresh-1'], []])
  })
})

describe('of the providers there are', () => {
  const at = (issuer: string) => ({ issuer })
  const session: Pick<Session, 'provider' | 'issuer' | 'configuredIssuer'> = {
    provider: 'staff',
    issuer: 'https://id.example/tenant-7',
    configuredIssuer: 'https://id.example/{tenantid}',
  }

  test('the one with the configured issuer is the session’s, not one with the issuer of the ID token', () => {
    const staff = at('https://id.example/{tenantid}')

    expect(providerOf(session, new Map([['staff', staff]]))).toBe(staff)
    expect(providerOf(session, new Map([['staff', at('https://id.example/tenant-7')]]))).toBeUndefined()
  })

  test('neither of two clients at the session’s server is taken for the other', () => {
    const server = 'https://id.example/{tenantid}'

    expect(
      providerOf(
        session,
        new Map([
          ['one', at(server)],
          ['two', at(server)],
        ]),
      ),
    ).toBeUndefined()
  })

  test('a session that an older version made is its ID token’s issuer’s (R29)', () => {
    const { configuredIssuer: _unknown, ...old } = session
    const [theirs, other] = [at(old.issuer), at('https://other.example')]

    expect(providerOf(old, new Map([['staff', theirs]]))).toBe(theirs)
    expect(providerOf(old, new Map([['staff', other]]))).toBeUndefined()
  })
})

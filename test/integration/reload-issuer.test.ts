/** A reload gives a provider another issuer: what the old one gave goes to it or nowhere (RFC 9700 §4.4.2). */
import { expect, onTestFinished, test } from 'vitest'
import type { Config, ProviderConfig } from '../../src/config/schema.ts'
import type { Tab } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startProvider, type TestProvider } from '../support/provider.ts'
import { startWorld, untilReady, type World } from '../support/world.ts'

interface Move {
  readonly world: World
  /** The server that the configuration names after the move; it has the same client with the same secret. */
  readonly next: TestProvider
  /** Reloads with this provider configuration, laid over the one of the start. */
  readonly reload: (change: Partial<ProviderConfig>) => Promise<void>
}

async function start(): Promise<Move> {
  const world = await startWorld()
  const next = await startProvider({ redirectUris: [`${world.url}/bff/callback`] })
  onTestFinished(async () => {
    await world[Symbol.asyncDispose]()
    await next.close()
  })
  const reload = async (change: Partial<ProviderConfig>): Promise<void> => {
    const provider = { ...(world.config.provider as ProviderConfig), ...change } // the world has one
    await world.gateway.service.update({ ...world.config, provider })
  }
  return { world, next, reload }
}

/** All that a server could have heard of the old one's codes and tokens. */
function heardBy(server: TestProvider): number[] {
  return ['/token', '/token/revocation', '/me', '/session/end'].map((path) => server.arrivals(path))
}

const NOTHING = [0, 0, 0, 0]

test('a code goes to no server but the one that was asked: the login fails with a way to sign in again (CB-05)', async () => {
  const { world, next, reload } = await start()
  const tab = world.browser().newTab()
  const begun = await tab.navigate(`${world.url}/bff/login?returnTo=%2Forders`, { from: 'none', follow: false })
  const callback = await world.provider.login(begun.headers.location ?? '')
  // Neither server says whose its answers are: all that is known is which one was asked.
  callback.searchParams.delete('iss')
  await reload({ issuer: next.issuer, metadata: { authorization_response_iss_parameter_supported: false } })
  await untilReady(world.gateway)

  const answer = await tab.navigate(callback, { from: world.provider.issuer })

  expect(answer.status).toBe(400)
  expect(answer.headers['sidegate-error']).toBe('login_failed')
  expect(answer.text).toContain('/bff/login?returnTo=%2Forders')
  expect(heardBy(next)).toEqual(NOTHING)
  await tab.navigate('/bff/login?returnTo=%2Forders', { follow: false })
  expect(tab.page.headers.location).toContain(next.issuer)
})

test('a code that arrives after another change of its provider is traded as ever', async () => {
  const { world, reload } = await start()
  const tab = world.browser().newTab()
  const begun = await tab.navigate(`${world.url}/bff/login?returnTo=%2Forders`, { from: 'none', follow: false })
  const callback = await world.provider.login(begun.headers.location ?? '')
  await reload({ timeout: 5_000 })

  const answer = await tab.navigate(callback, { from: world.provider.issuer, follow: false })

  expect([answer.status, answer.headers.location]).toEqual([303, '/orders'])
})

test('tokens that were under way when the issuer changed are not taken for those of the new one (CB-05)', async () => {
  const { world, next, reload } = await start()
  const { tab } = await signedInDuring(world, () => reload({ issuer: next.issuer }))
  await untilReady(world.gateway)

  expect((await tab.fetch('/api/orders')).status).toBe(200)
  world.clock.advance(301_000)
  expect((await tab.fetch('/api/orders')).status).toBe(401)
  expect(heardBy(next)).toEqual(NOTHING)
})

/** Signs in, and does something while the gateway waits for the tokens. */
async function signedInDuring(world: World, change: () => Promise<void>) {
  const browser = world.browser()
  const tab = browser.newTab()
  const begun = await tab.navigate(`${world.url}/bff/login`, { from: 'none', follow: false })
  const callback = await world.provider.login(begun.headers.location ?? '')
  const release = world.provider.hold('/token')
  const signedIn = tab.navigate(callback, { from: world.provider.issuer })
  await world.provider.arrived('/token')
  await change()
  release()
  expect((await signedIn).status).toBe(200)
  return { tab }
}

test('a session goes on with its token and then ends; nothing of it reaches the new server, which signs in as ever (CB-05)', async () => {
  const { world, next, reload } = await start()
  const { browser, tab } = await world.signedIn()
  await reload({ issuer: next.issuer })
  await untilReady(world.gateway)

  expect((await tab.fetch('/api/orders')).status).toBe(200)
  world.clock.advance(301_000)
  const answer = await tab.fetch('/api/orders')

  expect([answer.status, answer.headers['sidegate-error']]).toEqual([401, 'session_expired'])
  expect(heardBy(next)).toEqual(NOTHING)
  const ended = world.log.lines().find(({ event }) => event === 'session.ended')
  expect(ended?.['reason']).toBe('refresh_rejected')
  const page = await browser.newTab().navigate(`${world.url}/bff/login`, { from: 'none' })
  expect(page.url).toContain(next.issuer)
})

test('a logout after the change ends the session here, and tells the new server neither refresh token nor ID token (CB-05)', async () => {
  const { world, next, reload } = await start()
  const { tab } = await world.signedIn()
  await reload({ issuer: next.issuer })
  await untilReady(world.gateway)

  const redirectUrl = (await tab.fetch('/bff/logout', { method: 'POST' })).member('redirectUrl')
  await tab.navigate(redirectUrl)

  expect(new URL(tab.page.url).pathname).toBe('/bff/logout/callback')
  expect(tab.page.status).toBe(200)
  expect((await tab.fetch('/api/orders')).status).toBe(401)
  expect(heardBy(next)).toEqual(NOTHING)
})

test('an issuer that nobody finds may be a mistake: 503 and no logout, and all is well when it is mended', async () => {
  const { world, reload } = await start()
  const { tab } = await world.signedIn()
  await reload({ issuer: `http://127.0.0.1:${await freePort()}` })
  world.clock.advance(301_000)

  const during = await tab.fetch('/api/orders')
  await reload({})
  await untilReady(world.gateway)

  expect([during.status, during.headers['sidegate-error']]).toEqual([503, 'provider_unavailable'])
  expect(during.headers['retry-after']).toMatch(/^\d+$/)
  expect((await tab.fetch('/api/orders')).status).toBe(200)
  expect(world.provider.count('refresh_token')).toBe(1)
})

test('a second provider comes, and the first one gets a name: its sessions are refreshed and signed out there', async () => {
  const { world, next } = await start()
  const { tab } = await world.signedIn()
  const { provider, ...rest } = world.config
  const staff = provider as ProviderConfig // the world has one
  const changed: Config = {
    ...rest,
    provider: undefined,
    providers: { staff, partners: { ...staff, issuer: next.issuer } },
  }
  await world.gateway.service.update(changed)
  await untilReady(world.gateway)
  world.clock.advance(301_000)

  expect((await tab.fetch('/api/orders')).status).toBe(200)
  const redirectUrl = (await tab.fetch('/bff/logout', { method: 'POST' })).member('redirectUrl')
  const leaving = await tab.navigate(redirectUrl, { follow: false })

  expect(leaving.headers.location).toContain(`${world.provider.issuer}/session/end`)
  expect(leaving.headers.location).toContain('id_token_hint=')
  expect(world.provider.arrivals('/token/revocation')).toBe(1)
  expect(heardBy(next)).toEqual(NOTHING)
})

test('the same subject at another issuer is somebody else: logins that were begun at both do not share a session (CB-05)', async () => {
  const { world, next, reload } = await start()
  const browser = world.browser()
  const begin = async (): Promise<{ tab: Tab; callback: URL }> => {
    const tab = browser.newTab()
    const begun = await tab.navigate(`${world.url}/bff/login`, { from: 'none', follow: false })
    const url = begun.headers.location ?? ''
    return { tab, callback: await (url.startsWith(next.issuer) ? next : world.provider).login(url) }
  }
  const [first, move] = [await begin(), () => reload({ issuer: next.issuer })]
  await move()
  await untilReady(world.gateway)
  const second = await begin()
  await reload({})
  await untilReady(world.gateway)
  await first.tab.navigate(first.callback, { from: world.provider.issuer })
  await move()
  await untilReady(world.gateway)

  await second.tab.navigate(second.callback, { from: next.issuer })

  const cookie = browser.jar.get('__Host-Http-sidegate')?.value ?? ''
  expect(await world.gateway.service.manager.peek(cookie)).toMatchObject({ issuer: next.issuer, sub: 'alice' })
})

import { expect, onTestFinished, test } from 'vitest'
import { readLinks } from '../support/page-forms.ts'
import { CLIENT_ID, CLIENT_SECRET, type TestProvider, startProvider } from '../support/provider.ts'
import type { Tab } from '../support/browser.ts'
import { type ConfigInput, startWorld, type World } from '../support/world.ts'

interface Choice {
  readonly world: World
  /** The second provider; the first is the world's. */
  readonly other: TestProvider
}

/** A gateway with two real authorization servers, `staff` (the world's) and `partners`. */
async function startChoice(
  options: { partners?: (issuer: string) => ConfigInput; routes?: ConfigInput[] } = {},
): Promise<Choice> {
  const { promise: other, resolve } = Promise.withResolvers<TestProvider>()
  const world = await startWorld({
    config: async ({ url, issuer, upstream }) => {
      const provider = await startProvider({ redirectUris: [`${url}/bff/callback`] })
      resolve(provider)
      const client = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, scopes: ['openid', 'profile', 'email'] }
      return {
        provider: undefined,
        providers: {
          staff: { issuer, ...client },
          partners: { issuer: provider.issuer, ...client, ...options.partners?.(provider.issuer) },
        },
        ...(options.routes && { routes: options.routes.map((route) => ({ upstream, ...route })) }),
      }
    },
  })
  onTestFinished(async () => {
    await world[Symbol.asyncDispose]()
    await (await other).close()
  })
  return { world, other: await other }
}

/** Begins a login and resolves where the browser is sent, without going there. */
async function begin(tab: Tab, world: World, query: string): Promise<URL> {
  const answer = await tab.navigate(`${world.url}/bff/login?${query}`, { follow: false })
  return new URL(answer.headers.location ?? expect.unreachable(`no redirect but ${answer.status}`))
}

test('a login that names no provider lets the visitor choose, and goes on as it was asked', async () => {
  const { world, other } = await startChoice()
  const tab = world.browser().newTab()

  const page = await tab.navigate(`${world.url}/bff/login?returnTo=%2Forders%3Fa%3D1&login_hint=alice`)
  expect(page.status).toBe(200)
  expect(page.headers['set-cookie']).toBeUndefined()
  expect(readLinks(page.text)).toEqual([
    '/bff/login?returnTo=%2Forders%3Fa%3D1&login_hint=alice&provider=staff',
    '/bff/login?returnTo=%2Forders%3Fa%3D1&login_hint=alice&provider=partners',
  ])

  const interaction = await tab.click('/bff/login?returnTo=%2Forders%3Fa%3D1&login_hint=alice&provider=partners')
  expect(new URL(interaction.url).origin).toBe(other.issuer)
  const end = await tab.submit('alice')
  expect(end.url).toBe(`${world.url}/orders?a=1`)
  expect((await tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: true, user: { sub: 'alice' } })
})

test('the choice is also the click that a visitor from another site has to make (AR-09)', async () => {
  const { world } = await startChoice()
  const tab = world.browser().newTab()

  const page = await tab.navigate(`${world.url}/bff/login`, { from: 'https://elsewhere.example/' })

  expect(page.text).toContain('How do you want to sign in?')
  expect(page.headers['set-cookie']).toBeUndefined()
})

test('a silent login that names no provider shows nothing and goes back with nothing changed', async () => {
  const { world } = await startChoice()
  const tab = world.browser().newTab()

  const answer = await tab.navigate(`${world.url}/bff/login?prompt=none&returnTo=%2Fa`, { follow: false })

  expect([answer.status, answer.headers.location, answer.headers['set-cookie']]).toEqual([303, '/a', undefined])
})

test('a route that begins the login itself lets the visitor choose first', async () => {
  const { world } = await startChoice({ routes: [{ path: '/', session: 'login' }] })
  const tab = world.browser().newTab()

  const page = await tab.navigate(`${world.url}/reports?year=2026`)

  expect(readLinks(page.text)[0]).toBe('/bff/login?returnTo=%2Freports%3Fyear%3D2026&provider=staff')
})

test('a route says at which provider its users sign in: it begins the login there, or its 401 leads there', async () => {
  const { world, other } = await startChoice({
    // In the address, where it can be seen.
    partners: () => ({ pushedAuthorization: 'never' }),
    routes: [
      { path: '/partners', session: 'login', login: { provider: 'partners', ui_locales: ['de', 'en'] } },
      { path: '/api/partners', login: { provider: 'partners' } },
      { path: '/api' },
      { path: '/', session: 'none' },
    ],
  })
  const browser = world.browser()
  const tab = browser.newTab()
  await tab.navigate(`${world.url}/`)

  for (const [path, loginUrl] of [
    ['/api/partners/7', '/bff/login?provider=partners'],
    ['/api/7', '/bff/login'],
  ] as const)
    expect((await tab.fetch(path)).json()).toMatchObject({ code: 'login_required', loginUrl })
  const page = await tab.navigate(`${world.url}/api/partners/7`)
  expect(page.text).toContain('/bff/login?provider=partners&amp;returnTo=%2Fapi%2Fpartners%2F7')

  const interaction = await tab.navigate(`${world.url}/partners/reports?year=2026`)
  expect(new URL(interaction.url).origin).toBe(other.issuer)
  const asked = browser.hops.map(({ url }) => new URL(url)).find(({ pathname }) => pathname === '/auth')?.searchParams
  expect([asked?.get('ui_locales'), asked?.get('provider')]).toEqual(['de en', null])
  expect((await tab.submit('alice')).url).toBe(`${world.url}/partners/reports?year=2026`)

  // A session that has ended is no other case.
  world.clock.advance(11 * 3_600_000)
  expect((await tab.fetch('/api/partners/7')).json()).toMatchObject({
    code: 'session_expired',
    loginUrl: '/bff/login?provider=partners',
  })
})

test('a step-up goes to the provider that knows the user', async () => {
  const { world } = await startChoice({
    routes: [
      { path: '/vault', acr: 'gold' },
      { path: '/', session: 'none' },
    ],
  })
  const tab = world.browser().newTab()
  await tab.navigate(`${world.url}/bff/login?provider=partners`)
  await tab.submit('alice')

  const answer = await tab.fetch('/vault')

  expect(answer.json()).toMatchObject({
    code: 'step_up_required',
    loginUrl: '/bff/login?provider=partners&acr_values=gold',
  })
})

test('the answer of another provider is refused before its code leaves (CB-05, CB-04)', async () => {
  const { world, other } = await startChoice({ partners: () => ({ pushedAuthorization: 'never' }) })
  const tab = world.browser().newTab()
  // The visitor chose a server that turns out hostile: it sends her on to an honest one, with the same state.
  const asked = await begin(tab, world, 'provider=partners')
  const honest = new URL(asked.pathname + asked.search, world.provider.issuer)
  const callback = await world.provider.login(honest)
  expect(callback.searchParams.get('iss')).toBe(world.provider.issuer)

  const answer = await tab.navigate(callback)

  expect(answer.status).toBe(400)
  expect(answer.headers['sidegate-error']).toBe('login_failed')
  expect([world.provider.count(), other.count()]).toEqual([0, 0])
  expect(world.log.text).toContain('the authorization response is of another issuer, and there are several providers')
})

test('an answer that does not say whose it is is refused where there are several providers (CB-05)', async () => {
  const { world, other } = await startChoice()
  const tab = world.browser().newTab()
  const callback = await other.login(await begin(tab, world, 'provider=partners'))
  callback.searchParams.delete('iss')

  const answer = await tab.navigate(callback)

  expect(answer.status).toBe(400)
  expect(answer.headers['sidegate-error']).toBe('login_failed')
  expect([world.provider.count(), other.count()]).toEqual([0, 0])
  expect(world.log.text).toContain('the authorization response has no iss, and there are several providers')
})

test('a provider that does not promise to say so cannot be used beside others, and the log says why (CB-05)', async () => {
  const { world } = await startChoice({
    // Known in full, so that nothing is read from the server; and not a word of iss.
    partners: (issuer) => ({
      metadata: {
        issuer,
        authorization_endpoint: `${issuer}/auth`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
      },
    }),
  })
  const tab = world.browser().newTab()

  const answer = await tab.navigate(`${world.url}/bff/login?provider=partners`)
  expect(answer.status).toBe(503)
  expect(answer.headers['sidegate-error']).toBe('provider_unavailable')
  expect(answer.headers['set-cookie']).toBeUndefined()
  const line = world.log.lines().find(({ code }) => code === 'provider_unavailable')
  expect(line?.['detail']).toContain('partners cannot be used beside other providers')

  await tab.navigate(`${world.url}/bff/login?provider=staff`)
  await tab.submit('alice')
  expect((await tab.fetch('/bff/session')).json()).toMatchObject({ authenticated: true })
})

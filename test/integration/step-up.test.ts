/** Step-up (RFC 9470) with a real API that checks its tokens and a real authorization server. */
import { interactionPolicy } from 'oidc-provider'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startApi } from '../../src/demo/api.ts'
import { ACR } from '../../src/demo/users.ts'
import type { Tab } from '../support/browser.ts'
import { nativeClient, nativeSignIn } from '../support/native-app.ts'
import type { TestProviderOptions } from '../support/provider.ts'
import { type ConfigInput, startWorld } from '../support/world.ts'

const API = 'urn:test:api'
const SCOPES = ['openid', 'profile', 'email', 'api']

/** Alice at the demo's API, under `/api`, and at the recording one, under `/other`. */
async function stepUpWorld(options: { provider?: TestProviderOptions; route?: ConfigInput; forApps?: boolean } = {}) {
  const world = await startWorld({
    provider: { api: API, ...options.provider },
    config: async ({ issuer, upstream }) => {
      const api = await startApi({ issuer, audience: API })
      onTestFinished(() => api.close())
      const route = { ...options.route, ...(options.forApps && { bearer: { issuer, audience: API } }) }
      return {
        provider: { scopes: SCOPES },
        routes: [
          { path: '/api', upstream: `http://127.0.0.1:${api.port}`, ...route },
          { path: '/other', upstream, ...route },
          { path: '/', spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname }, session: 'none' },
        ],
      }
    },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const challenges = (...fields: string[]) => {
    world.upstream.respond = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': fields, 'content-type': 'text/plain' }).end('the API’s own words')
    }
  }
  return { world, challenges, ...(await world.signedIn()) }
}

const sessionOf = async (tab: Tab): Promise<unknown> => (await tab.fetch('/bff/session')).json()

test('an API asks for a second factor, the login gets it, and the same call works then (PX-14, ID-10)', async () => {
  const { world, tab } = await stepUpWorld()
  const before = await sessionOf(tab)

  const refused = await tab.fetch('/api/secure')
  const page = await tab.navigate(`${refused.member('loginUrl')}&returnTo=/orders`)
  const back = await tab.submit('alice')
  const taken = await tab.fetch('/api/secure')

  expect([refused.status, refused.headers['sidegate-error']]).toEqual([401, 'step_up_required'])
  expect(refused.headers['content-type']).toBe('application/problem+json')
  expect(refused.headers['www-authenticate']).toBeUndefined()
  expect(refused.json()).toMatchObject({
    code: 'step_up_required',
    acr_values: ACR.secondFactor,
    loginUrl: `/bff/login?acr_values=${encodeURIComponent(ACR.secondFactor)}`,
  })
  expect(page.url).toContain(`${world.provider.issuer}/interaction/`)
  expect([back.status, back.url]).toEqual([200, `${world.url}/orders`])
  expect(taken.status).toBe(200)
  expect(taken.json()).toMatchObject({ token: { acr: ACR.secondFactor } })
  expect(await sessionOf(tab)).not.toMatchObject({ createdAt: (before as { createdAt: string }).createdAt })
})

test('a login that comes back weaker than asked for fails, and the session is what it was (PX-14, ID-10)', async () => {
  // A server that takes acr_values for a wish (OIDC Core §3.1.2.1) and signs in silently.
  const interactions = {
    policy: interactionPolicy.base(),
    url: (_ctx: unknown, { uid }: { uid: string }) => `/interaction/${uid}`,
  }
  const { browser, tab } = await stepUpWorld({ provider: { configuration: { interactions } } })
  const before = await sessionOf(tab)
  const cookies = () => browser.jar.header(new URL('/', tab.page.url), 'strict')
  const had = cookies()
  const refused = await tab.fetch('/api/secure')

  const back = await tab.navigate(refused.member('loginUrl'))

  expect([back.status, back.headers['sidegate-error']]).toEqual([400, 'login_failed'])
  expect(cookies()).toBe(had)
  expect(await sessionOf(tab)).toMatchObject({ createdAt: (before as { createdAt: string }).createdAt })
  expect((await tab.fetch('/api/orders')).status).toBe(200)
  expect((await tab.fetch('/api/secure')).headers['sidegate-error']).toBe('step_up_required')
})

test('an API that wants a fresh sign-in gets one, by max_age (PX-14, ID-09)', async () => {
  const { world, tab, challenges } = await stepUpWorld()
  challenges('Basic realm="x"', 'dpop realm="a, Bearer b", ERROR="insufficient_user_authentication" ,max_age = 0')

  const refused = await tab.fetch('/other/transfer', { method: 'POST', body: 'amount=5' })
  const page = await tab.navigate(refused.member('loginUrl'))
  const back = await tab.submit('alice')

  expect(refused.json()).toMatchObject({ code: 'step_up_required', max_age: 0, loginUrl: '/bff/login?max_age=0' })
  expect(refused.text).not.toContain('own words')
  expect(page.url).toContain('/interaction/')
  expect([back.status, back.url]).toEqual([200, `${world.url}/`])
})

test('who looks at the API in a tab gets a page with the way to the sign-in, which comes back there', async () => {
  const { world, tab, challenges } = await stepUpWorld({ route: { session: 'login' } })
  challenges('Bearer error="insufficient_user_authentication", acr_values="urn:gold"')

  const page = await tab.navigate('/other/report?year=2026')
  expect([page.status, page.headers['sidegate-error']]).toEqual([401, 'step_up_required'])
  const asked = await tab.click('/bff/login', { stopBefore: `${world.provider.issuer}/auth` })

  expect(Object.fromEntries(new URL(asked.hops[0]?.url ?? '').searchParams)).toEqual({
    acr_values: 'urn:gold',
    returnTo: '/other/report?year=2026',
  })
})

describe('handed on as it is', () => {
  test.each<[string, number, string]>([
    ['a 403', 403, 'Bearer error="insufficient_user_authentication"'],
    ['insufficient_scope', 403, 'Bearer error="insufficient_scope", scope="all"'],
    ['the words in a text', 401, 'Bearer error_description="error=\\"insufficient_user_authentication\\""'],
    ['a challenge without an error', 401, 'Bearer realm="orders"'],
  ])('%s', async (_what, status, challenge) => {
    const { world, tab } = await stepUpWorld()
    world.upstream.respond = (_request, response) => {
      response.writeHead(status, { 'www-authenticate': challenge }).end('the API’s own words')
    }

    const answer = await tab.fetch('/other/x')

    expect([answer.status, answer.text]).toEqual([status, 'the API’s own words'])
    expect(answer.headers['www-authenticate']).toBe(challenge)
    expect(answer.headers['sidegate-error']).toBeUndefined()
    expect(world.upstream.requests).toHaveLength(1)
  })

  test('what an API says to nobody in particular', async () => {
    const { world, challenges } = await stepUpWorld({ route: { session: 'optional' } })
    challenges('Bearer error="insufficient_user_authentication"')

    const answer = await fetch(`${world.url}/other/x`)

    expect([answer.status, await answer.text()]).toEqual([401, 'the API’s own words'])
  })

  test('what an API says to an app that has brought its own token', async () => {
    const { world, challenges } = await stepUpWorld({
      provider: { otherClients: [nativeClient] },
      forApps: true,
    })
    challenges('Bearer error="insufficient_user_authentication", acr_values="urn:gold"')
    const { accessToken } = await nativeSignIn(world.provider, { resource: API, scope: 'openid api' })

    const answer = await fetch(`${world.url}/other/x`, { headers: { authorization: `Bearer ${accessToken}` } })

    expect(world.upstream.last.headers.authorization).toBe(`Bearer ${accessToken}`)
    expect(answer.headers.get('www-authenticate')).toContain('acr_values="urn:gold"')
    expect(await answer.text()).toBe('the API’s own words')
  })
})

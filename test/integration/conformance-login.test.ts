/** What a failed login leaves behind in a whole gateway: nothing. */
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Tab } from '../support/browser.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import type { ScriptedProvider } from '../support/scripted-provider.ts'
import { startScriptedWorld } from '../support/scripted-world.ts'
import type { ScriptedWorld, ScriptedWorldOptions } from '../support/scripted-world.ts'
import { CLIENT_ID, CLIENT_SECRET } from '../support/provider.ts'
import { startWorld } from '../support/world.ts'

async function start(options: ScriptedWorldOptions = {}): Promise<ScriptedWorld> {
  const scripted = await startScriptedWorld(options)
  onTestFinished(() => scripted[Symbol.asyncDispose]())
  return scripted
}

/** Names of the cookies that an answer sets, without those that it clears. */
function cookiesSet(setCookie: readonly string[] | undefined): string[] {
  return (setCookie ?? []).filter((line) => !line.includes('Max-Age=0')).map((line) => line.split('=', 1)[0] ?? '')
}

async function apiStatus(tab: Tab, { url }: ScriptedWorld): Promise<number> {
  return (await tab.fetch(`${url}/api/orders`, { from: url })).status
}

describe('an ID token that is not good leaves no session, no cookie, no further call and one audit line (ID-15)', () => {
  const changed =
    (change: Record<string, unknown>) =>
    (server: ScriptedProvider): void => {
      server.idToken = (claims, header) => ({ claims: { ...claims, ...change }, header })
    }

  test.each<[string, (server: ScriptedProvider) => void]>([
    ['of another issuer (ID-01)', changed({ iss: 'https://evil.example' })],
    ['for another client (ID-02)', changed({ aud: 'other' })],
    ['for a second client (ID-02)', changed({ aud: [CLIENT_ID, 'other'] })],
    [
      'with the signature of an unknown key (ID-03)',
      (server) => {
        const shown = server.signingKey.publicJwk
        server.keyIndex = 1
        server.publishedKeys = [shown]
        server.idToken = (claims) => ({ claims, header: { kid: shown.kid } })
      },
    ],
    [
      'without a signature (ID-04)',
      (server) => {
        server.idToken = (claims) => ({ claims, header: { alg: 'none' } })
      },
    ],
    ['that has expired (ID-05)', changed({ exp: 1_000_000_000 })],
    ['of another login (ID-06)', changed({ nonce: 'another' })],
    [
      'that is not there (ID-07)',
      (server) => {
        server.tokenResponse = ({ id_token: _none, ...body }) => body
      },
    ],
    ['of nobody (ID-08)', changed({ sub: '' })],
  ])('one %s', async (_name, misbehave) => {
    const scripted = await start({ provider: { userinfo: true } })
    const { server, world } = scripted
    const tab = await scripted.visitor()
    await scripted.signIn(tab)
    const calls = { userinfo: server.calls('userinfo'), revocation: server.calls('revocation') }
    const started = await world.metric('sidegate_sessions_started_total')
    misbehave(server)

    const page = await scripted.signIn(tab)

    expect(page.status).toBe(400)
    expect(page.headers['sidegate-error']).toBe('login_failed')
    expect(page.hops).toHaveLength(1)
    expect(cookiesSet(page.headers['set-cookie'])).toEqual([])
    expect(server.calls('userinfo')).toBe(calls.userinfo)
    expect(await world.metric('sidegate_sessions_started_total')).toBe(started)
    // The session from before has nothing to do with it.
    expect(await apiStatus(tab, scripted)).toBe(200)
    const failures = world.log.lines().filter(({ event }) => event === 'login.failed')
    expect(failures).toEqual([expect.objectContaining({ level: 'warn', reason: expect.stringMatching(/ID token/) })])
    await server.called('revocation', calls.revocation + 1)
    expect(server.revoked.at(-1)).toMatch(/^rt-/)
  })
})

test('a failed check of UserInfo leaves nothing either, and the tokens are revoked (TK-11, ID-15)', async () => {
  const scripted = await start({
    provider: { userinfo: true },
    script: (server) => {
      server.userinfo = () => ({ sub: 'mallory' })
    },
  })
  const tab = await scripted.visitor()

  const page = await scripted.signIn(tab)

  expect(page.status).toBe(400)
  expect(cookiesSet(page.headers['set-cookie'])).toEqual([])
  expect(await apiStatus(tab, scripted)).toBe(401)
  await scripted.server.called('revocation')
})

test('a token answer that cannot be used leaves nothing, and its tokens are revoked (TK-07, ID-15)', async () => {
  const scripted = await start({
    script: (server) => {
      server.tokenResponse = (body) => ({ ...body, token_type: 'DPoP' })
    },
  })
  const tab = await scripted.visitor()

  const page = await scripted.signIn(tab)

  expect(page.status).toBe(400)
  expect(cookiesSet(page.headers['set-cookie'])).toEqual([])
  await scripted.server.called('revocation')
})

test('a sign-in beyond the limit of sessions leaves nothing, and its tokens are revoked (SC-13, ID-15)', async () => {
  const scripted = await start({ config: { session: { limit: { perUser: 1, onExceed: 'refuse' } } } })
  await scripted.signIn(await scripted.visitor())
  const tab = await scripted.visitor()

  const page = await scripted.signIn(tab)

  expect([page.status, page.headers['sidegate-error']]).toEqual([403, 'forbidden'])
  expect(await apiStatus(tab, scripted)).toBe(401)
  await scripted.server.called('revocation')
  expect(scripted.server.revoked).toEqual([expect.stringMatching(/^rt-/)])
})

describe('a callback', () => {
  test.each([
    [
      'whose state only begins like the one of this browser (CB-01)',
      (state: string) => `${state.slice(0, 8)}${'A'.repeat(35)}`,
    ],
    ['whose state goes on after the one of this browser (CB-01)', (state: string) => `${state}A`],
  ])('%s is refused without a token request', async (_name, change) => {
    const scripted = await start()
    const tab = await scripted.visitor()
    const url = await scripted.begin(tab)

    const page = await scripted.comeBack(tab, url, {
      response: { state: change(url.searchParams.get('state') ?? '') },
    })

    expect(page.status).toBe(400)
    expect(scripted.server.calls('token')).toBe(0)
  })

  test('with an error is the end of its login: nothing of the server’s words is shown, and no code counts afterwards (CB-06)', async () => {
    const scripted = await start()
    const tab = await scripted.visitor()
    const url = await scripted.begin(tab)

    const failed = await scripted.comeBack(tab, url, {
      response: { code: null, error: 'access_denied', error_description: '<b>call 0800-EVIL</b>' },
    })
    const afterwards = await scripted.comeBack(tab, url)

    expect([failed.status, afterwards.status]).toEqual([400, 400])
    expect(failed.hops).toHaveLength(1)
    expect(failed.text).not.toContain('EVIL')
    expect(failed.headers['set-cookie']?.join()).toMatch(/-tx-[\w-]+=;.*Max-Age=0/)
    expect(scripted.server.calls('token')).toBe(0)
  })

  test.each([
    ['login_required', true],
    ['interaction_required', true],
    ['consent_required', true],
    ['account_selection_required', true],
    ['access_denied', false],
    ['server_error', false],
  ])(
    'of a silent login with %s: goes on as if nothing had been asked is %s, and nothing changes',
    async (error, goesOn) => {
      const scripted = await start()
      const tab = await scripted.visitor()
      await scripted.signIn(tab)
      const calls = scripted.server.calls('token')
      const response = { code: null, error }

      const silent = await scripted.comeBack(tab, await scripted.begin(tab, '?prompt=none&returnTo=%2Forders'), {
        response,
      })

      expect([silent.url, silent.status]).toEqual(
        goesOn ? [`${scripted.url}/orders`, 200] : [expect.stringContaining('/bff/callback'), 400],
      )
      // No second attempt by itself, and whoever asked to be asked is told.
      expect(silent.hops).toHaveLength(goesOn ? 2 : 1)
      expect(silent.hops.flatMap(({ headers }) => cookiesSet(headers['set-cookie']))).toEqual([])
      const loud = await scripted.comeBack(tab, await scripted.begin(tab), { response })
      expect(loud.status).toBe(400)
      expect(scripted.server.calls('token')).toBe(calls)
      expect(await apiStatus(tab, scripted)).toBe(200)
    },
  )

  test('that another browser has used is refused also in one that is signed in itself (CB-01)', async () => {
    const scripted = await start()
    const [tab, other] = [await scripted.visitor(), await scripted.visitor()]
    await scripted.signIn(other, { sub: 'bob' })
    const callback = scripted.server.authorize(await scripted.begin(tab, '?returnTo=%2Fprivate'))
    await tab.navigate(callback, { from: scripted.server.origin })

    const page = await other.navigate(callback, { from: scripted.server.origin })

    expect(page.status).toBe(400)
    expect(page.hops).toHaveLength(1)
    expect(await apiStatus(other, scripted)).toBe(200)
  })

  test('that is posted where nobody asked for a post is refused without a token request (CB-09)', async () => {
    const scripted = await start()
    const tab = await scripted.visitor()
    const callback = scripted.server.authorize(await scripted.begin(tab))

    const page = await tab.navigate(`${scripted.url}/bff/callback`, {
      method: 'POST',
      form: callback.searchParams,
      from: scripted.server.origin,
    })

    expect(page.status).toBe(405)
    expect(page.headers['allow']).toBe('GET')
    expect(scripted.server.calls('token')).toBe(0)
  })

  test('that comes by address where a post was asked for is refused, and the posted one is still good (CB-09)', async () => {
    const scripted = await start({ provider: { responseMode: 'form_post' } })
    const tab = await scripted.visitor()
    const callback = scripted.server.authorize(await scripted.begin(tab))

    const page = await tab.navigate(callback, { from: scripted.server.origin })

    expect(page.status).toBe(400)
    expect(scripted.server.calls('token')).toBe(0)
    const { searchParams: form } = callback
    const from = scripted.server.origin
    // A cookie of `SameSite=None` needs https, or a browser that takes this loopback address for it.
    const posted = await tab.navigate(`${scripted.url}/bff/callback`, { method: 'POST', form, from })
    expect(posted.url).toBe(`${scripted.url}/`)
    expect(await apiStatus(tab, scripted)).toBe(200)
  })

  test('ends by 303 on the wanted page, unstored, with no referrer and nothing of the login in the address (CB-10)', async () => {
    const scripted = await start()
    const tab = await scripted.visitor()
    const callback = scripted.server.authorize(await scripted.begin(tab, '?returnTo=%2Forders%3Fpage%3D2'))

    const answer = await tab.navigate(callback, { from: scripted.server.origin, follow: false })

    expect(answer.status).toBe(303)
    expect(answer.headers.location).toBe('/orders?page=2')
    expect(answer.headers['cache-control']).toBe('no-store')
    expect(answer.headers['referrer-policy']).toBe('no-referrer')
    expect(answer.text).toBe('')
  })

  test('with session_state, as servers with session management send it, signs in like any other (CB-08, LO-14)', async () => {
    const scripted = await start()
    const tab = await scripted.visitor()

    const page = await scripted.signIn(tab, { response: { session_state: 'a.b' } })

    expect(page.url).toBe(`${scripted.url}/`)
    expect(await apiStatus(tab, scripted)).toBe(200)
  })
})

test.each([
  ['is out of order', { kind: 'status', status: 503 }, 503],
  ['refuses', { kind: 'oauthError', error: 'invalid_request' }, 400],
  ['answers with a page', { kind: 'html' }, 503],
] as const)(
  'a push that %s is the end of the login: nothing goes by the front channel (AR-12)',
  async (_name, fault, status) => {
    const scripted = await start({
      script: (server) => {
        server.metadata = (document) => ({ ...document, pushed_authorization_request_endpoint: `${server.origin}/par` })
        server.faults.par = fault
      },
    })
    const tab = await scripted.visitor()

    const page = await tab.navigate(`${scripted.url}/bff/login`)

    expect(page.status).toBe(status)
    expect(page.hops).toHaveLength(1)
    expect(page.headers['set-cookie']).toBeUndefined()
    expect(scripted.server.calls('par')).toBe(1)
  },
)

describe('with several authorization servers', () => {
  async function startTwo(script: (honest: ScriptedProvider, other: ScriptedProvider) => void = () => {}) {
    const honest = await startScriptedProvider()
    const other = await startScriptedProvider()
    script(honest, other)
    const client = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
    const world = await startWorld({
      config: {
        provider: undefined,
        providers: { honest: { issuer: honest.issuer, ...client }, other: { issuer: other.issuer, ...client } },
      },
    })
    onTestFinished(async () => {
      await world[Symbol.asyncDispose]()
      await Promise.all([honest.close(), other.close()])
    })
    const tab = world.browser().newTab()
    await tab.navigate(`${world.url}/`)
    const begin = async (provider: string): Promise<URL> => {
      const answer = await tab.navigate(`${world.url}/bff/login?provider=${provider}`, {
        follow: false,
        from: world.url,
      })
      return new URL(answer.headers.location ?? '')
    }
    return { honest, other, world, tab, begin }
  }

  test('one that promises no issuer in its answers is not used at all (CB-05)', async () => {
    const { honest, other, world, tab } = await startTwo((...servers) => {
      for (const server of servers) server.sendsIss = false
    })

    const page = await tab.navigate(`${world.url}/bff/login?provider=honest`)

    expect(page.status).toBe(503)
    expect(page.hops).toHaveLength(1)
    expect(honest.calls('token') + other.calls('token')).toBe(0)
  })

  test('an answer that does not say whose it is never reaches a token endpoint (CB-05)', async () => {
    const { honest, other, tab, begin } = await startTwo()
    const callback = honest.authorize(await begin('honest'), { response: { iss: null } })

    const page = await tab.navigate(callback, { from: honest.origin })

    expect(page.status).toBe(400)
    expect(honest.calls('token') + other.calls('token')).toBe(0)
  })

  test('the code of one never reaches the other, whichever the login began at (CB-04, CB-05)', async () => {
    const { honest, other, tab, begin } = await startTwo()
    // The other server passes the request on to the honest one, whose answer comes back as its own (RFC 9700 §4.4.1).
    const callback = honest.authorize(await begin('other'))

    const page = await tab.navigate(callback, { from: honest.origin })

    expect(page.status).toBe(400)
    expect(honest.calls('token') + other.calls('token')).toBe(0)
  })

  test('each signs in its own users, and two of the same name are two users (CB-05, ID-08)', async () => {
    const { honest, other, world, tab, begin } = await startTwo()
    const api = async (): Promise<number> => (await tab.fetch(`${world.url}/api/orders`, { from: world.url })).status

    await tab.navigate(honest.authorize(await begin('honest'), { sub: 'alice' }), { from: honest.origin })
    expect(await api()).toBe(200)
    const second = world.browser().newTab()
    await second.navigate(`${world.url}/`)
    const answer = await second.navigate(`${world.url}/bff/login?provider=other`, { follow: false, from: world.url })
    const url = new URL(answer.headers.location ?? '')
    await second.navigate(other.authorize(url, { sub: 'alice' }), { from: other.origin })

    const sessions = await second.fetch(`${world.url}/bff/sessions`, { from: world.url })
    expect(sessions.json()).toMatchObject({ sessions: [{ current: true }] })
    expect(await api()).toBe(200)
  })
})

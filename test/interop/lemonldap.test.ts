/** LemonLDAP::NG 2.16 (Debian), by its forms. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { doctorOn, readAsTheApi, startGateway, tokenAtTheApi } from './support/gateway.ts'
import { type LemonClient, LemonLdap, USER } from './support/lemonldap.ts'

const SECRET = 'p%ss+w*rd-of-thirty-two-characters'
const ODD_SECRET = 'what? oh~ no>>> what a secret this ???'

let server: LemonLdap
let url: string
beforeAll(async () => {
  url = `http://localhost:${await freePort()}`
  server = await LemonLdap.start({
    shop: registration('shop', SECRET),
    odd: registration('odd', ODD_SECRET),
  })
})
afterAll(() => server[Symbol.asyncDispose]())

function registration(clientId: string, secret: string): LemonClient {
  return {
    ClientID: clientId,
    ClientSecret: secret,
    DisplayName: 'Shop',
    IDTokenSignAlg: 'RS256',
    AccessTokenSignAlg: 'RS256',
    AccessTokenJWT: 1,
    RequirePKCE: 1,
    RefreshToken: 1,
    LogoutBypassConfirm: 1,
    // Where it asks for consent, it remembers its own address from there and leads the next sign-out to it.
    BypassConsent: 1,
    RedirectUris: `${url}/bff/callback`,
    PostLogoutRedirectUris: `${url}/bff/logout/callback`,
  }
}

const provider = () => ({
  issuer: server.issuer,
  clientId: 'shop',
  clientSecret: SECRET,
  scopes: ['openid', 'profile', 'email'],
  basicEncoding: 'raw',
  // Its ID tokens say who, and UserInfo what is known of them.
  userinfo: true,
})

test('doctor has nothing to repair at LemonLDAP::NG', async () => {
  const { ok, warning, failure } = await doctorOn(url, provider())

  expect({ warning, failure }).toEqual({ warning: [], failure: [] })
  expect(ok).toContain('the redirect URI is registered: the server offers to sign in')
  expect(ok).toContain('the credentials are right (client_secret_basic)')
})

test('doctor finds that LemonLDAP::NG reads no credentials in Authorization beyond a + or / of their base64', async () => {
  const odd = { ...provider(), clientId: 'odd', clientSecret: ODD_SECRET }
  expect(Buffer.from(`odd:${ODD_SECRET}`).toString('base64')).toMatch(/[+/]/)

  const { failure: refused } = await doctorOn(url, odd)
  expect(refused).toEqual([
    expect.stringMatching(/refuses the credentials .* → did you mean clientAuthentication: client_secret_post \?/),
  ])
  const { ok, failure } = await doctorOn(url, { ...odd, clientAuthentication: 'client_secret_post' })
  expect(failure).toEqual([])
  expect(ok).toContain('the credentials are right (client_secret_post)')
})

test('at LemonLDAP::NG a user signs in by its forms, calls with claims of UserInfo, is refreshed by one token for all, and signs out', async () => {
  const gateway = await startGateway(url, provider())
  const { tab, upstream } = gateway

  await tab.navigate('/bff/login?returnTo=/orders')
  expect((await server.signIn(tab)).url).toBe(`${url}/orders`)

  const seen = new Set<string>()
  for (const round of ['first', 'second', 'third']) {
    if (round !== 'first') expect((await tab.fetch('/bff/session/refresh', { method: 'POST' })).status).toBe(200)
    expect((await tab.fetch(`/api/${round}`)).status).toBe(200)
    expect(upstream.last.headers).toMatchObject({ 'x-name': USER.name, 'x-email': USER.email })
    const token = tokenAtTheApi(gateway)
    seen.add(token)
    expect(await readAsTheApi(token, server.issuer)).toMatchObject({ sub: USER.username, client_id: 'shop' })
  }
  expect(seen.size).toBe(3)

  const logout = await tab.fetch('/bff/logout', { method: 'POST' })
  const end = await tab.navigate(logout.member('redirectUrl'))
  expect(end.url).toMatch(`${url}/bff/logout/callback?state=`)
  expect(end.text).toContain('signed out')
  await tab.navigate('/bff/login')
  expect(tab.page.url).toMatch(`${server.issuer}oauth2/authorize`)
})

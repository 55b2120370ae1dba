/** glewlwyd 2.7, as Debian has it: pushed requests, refresh tokens for one use, DPoP, two channels of logout. */
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader, type JWK } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../support/free-port.ts'
import { doctorOn, type Interop, readAsTheApi, startGateway, tokenAtTheApi } from './support/gateway.ts'
import { Glewlwyd, USER } from './support/glewlwyd.ts'

const SECRET = 'p%ss:w+rd & more, of any kind there is'

let server: Glewlwyd
let url: string
beforeAll(async () => {
  server = await Glewlwyd.start()
  url = `http://localhost:${await freePort()}`
  await server.register({
    ...registration('shop'),
    client_secret: SECRET,
    token_endpoint_auth_method: ['client_secret_basic'],
  })
})
afterAll(() => server[Symbol.asyncDispose]())

function registration(clientId: string): Record<string, unknown> {
  return {
    client_id: clientId,
    name: 'Shop',
    redirect_uri: [`${url}/bff/callback`],
    post_logout_redirect_uris: [`${url}/bff/logout/callback`],
    frontchannel_logout_uri: `${url}/bff/frontchannel-logout`,
    frontchannel_logout_session_required: 'true',
    backchannel_logout_uri: `${url}/bff/backchannel-logout`,
    backchannel_logout_session_required: 'true',
  }
}

// It compares what stands in Authorization as it is, and takes RFC 6749's %25 for three characters of the secret.
const provider = () => ({
  issuer: server.issuer,
  clientId: 'shop',
  clientSecret: SECRET,
  scopes: ['openid'],
  basicEncoding: 'raw',
})

async function signIn({ tab }: Interop): Promise<void> {
  await tab.navigate('/bff/login?returnTo=/orders')
  expect((await server.signIn(tab)).url).toBe(`${url}/orders`)
}

test('doctor has nothing to repair at glewlwyd, and tells how it wants to read the credentials', async () => {
  const { ok, warning, failure } = await doctorOn(url, provider())

  expect(failure).toEqual([])
  // It gives them all the same, and lists them among its response types.
  expect(warning).toEqual([expect.stringContaining('lists no refresh_token grant')])
  expect(ok).toContain('the redirect URI is registered: the server offers to sign in')
  expect(ok).toContain('the credentials are right (client_secret_basic)')
  expect(ok).toContain('the post-logout redirect URI is taken')

  const { failure: refused } = await doctorOn(url, { ...provider(), basicEncoding: 'rfc6749' })
  expect(refused).toContainEqual(
    expect.stringMatching(/refuses the credentials .* → did you mean basicEncoding: raw \?/),
  )
})

test('at glewlwyd a user signs in by a pushed request, calls, is refreshed by tokens for one use, and signs out', async () => {
  const gateway = await startGateway(url, provider())
  const { tab, browser } = gateway

  await signIn(gateway)
  const sent = browser.hops.find((hop) => hop.url.startsWith(`${server.issuer}/auth?`))
  expect([...new URL(sent?.url ?? '').searchParams.keys()].toSorted()).toEqual(['client_id', 'request_uri'])
  expect((await tab.fetch('/bff/session')).json()).toMatchObject({
    authenticated: true,
    user: { name: USER.name, email: USER.email },
  })

  const { sub } = (await tab.fetch('/bff/user')).json() as { sub: string } // as just seen
  const seen = new Set<string>()
  for (const round of ['first', 'second', 'third']) {
    if (round !== 'first') expect((await tab.fetch('/bff/session/refresh', { method: 'POST' })).status).toBe(200)
    expect((await tab.fetch(`/api/${round}`)).status).toBe(200)
    const token = tokenAtTheApi(gateway)
    seen.add(token)
    expect(await readAsTheApi(token, server.issuer)).toMatchObject({ sub, client_id: 'shop', scope: 'openid' })
  }
  expect(seen.size).toBe(3)

  const logout = await tab.fetch('/bff/logout', { method: 'POST' })
  await tab.navigate(logout.member('redirectUrl'))
  const end = await server.signOut(tab)
  expect(end.url).toMatch(`${url}/bff/logout/callback?state=`)
  expect(end.text).toContain('signed out')
  await tab.navigate('/bff/login')
  expect(tab.page.url).toMatch(`${server.url}/login.html`)
})

test('a user who signs out at glewlwyd is signed out here by a frame; its logout tokens have another type and no end, and are refused (LO-07, LO-12)', async () => {
  const gateway = await startGateway(url, provider())
  const { tab, browser } = gateway
  await signIn(gateway)
  await tab.navigate(`${server.url}/profile.html`)

  await server.endSession(tab, browser.jar.get('GLEWLWYD2_OIDC_SID')?.value ?? '', 'shop')

  await gateway.process.until(({ event, reason }) => event === 'session.ended' && reason === 'frontchannel_logout')
  await tab.navigate(url)
  expect((await tab.fetch('/api/orders')).status).toBe(401)
  const { reason } = await gateway.process.until(({ event }) => event === 'logout.backchannel')
  expect(reason).toBe('logout token: typ is not logout+jwt')
})

test('at glewlwyd tokens are bound to a key of the session, which proves itself at the API, through a refresh (PX-18, RF-08)', async () => {
  await server.register({
    ...registration('bound-shop'),
    client_secret: SECRET,
    token_endpoint_auth_method: ['client_secret_post'],
  })
  const gateway = await startGateway(url, {
    ...provider(),
    clientId: 'bound-shop',
    clientAuthentication: 'client_secret_post',
    dpop: true,
  })
  const { tab } = gateway
  await signIn(gateway)

  const proofs: { thumbprint: string; jti: unknown; token: string }[] = []
  for (const method of ['GET', 'PUT']) {
    if (method === 'PUT') expect((await tab.fetch('/bff/session/refresh', { method: 'POST' })).status).toBe(200)
    expect((await tab.fetch('/api/orders', { method })).status).toBe(200)
    const token = tokenAtTheApi(gateway, 'DPoP')
    const proof = String(gateway.upstream.last.headers['dpop'])
    const thumbprint = await calculateJwkThumbprint(decodeProtectedHeader(proof).jwk as JWK) // RFC 9449 §4.2
    expect(decodeJwt(proof)).toMatchObject({ htm: method, htu: `${gateway.upstream.url}/api/orders` })
    expect(await readAsTheApi(token, server.issuer)).toMatchObject({ cnf: { jkt: thumbprint } })
    proofs.push({ thumbprint, jti: decodeJwt(proof).jti, token })
  }
  expect(new Set(proofs.map(({ thumbprint }) => thumbprint)).size).toBe(1)
  expect(new Set(proofs.map(({ token }) => token)).size).toBe(2)
})

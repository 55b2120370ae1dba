/** Claims where servers put them: rules, headers and the session endpoint read them, anew after each refresh. */
import { expect, onTestFinished, test } from 'vitest'
import { RecordingUpstream } from '../support/recording-upstream.ts'
import { startScriptedWorld } from '../support/scripted-world.ts'
import type { ScriptedWorld } from '../support/scripted-world.ts'

/** What a server such as Keycloak says of a user, in three places. */
interface Said {
  idToken: Record<string, unknown>
  accessToken: Record<string, unknown>
  userinfo: Record<string, unknown>
}

interface ClaimsWorld extends ScriptedWorld {
  readonly said: Said
  readonly upstream: RecordingUpstream
}

const RULES = {
  '/id': { groups: 'sales' },
  '/buyers': { 'access_token:realm_access.roles': ['buyer', 'admin'] },
  '/client': { 'access_token:resource_access.my.shop.roles': 'manager' },
  '/department': { 'userinfo:department': 'orders' },
  '/scoped': { 'access_token:scope': 'orders.read' },
  '/nowhere': { realm_access: 'buyer' },
}

/** A gateway before a server whose access tokens are JWTs; `said` changes what it says from then on. */
async function start(said: Partial<Said> = {}): Promise<ClaimsWorld> {
  const state: Said = { idToken: {}, accessToken: {}, userinfo: {}, ...said }
  const upstream = await RecordingUpstream.start()
  const scripted = await startScriptedWorld({
    provider: { userinfo: true },
    script: (server) => {
      server.userinfo = (sub) => ({ sub, ...state.userinfo })
      server.idToken = (claims, header) => ({ claims: { ...claims, ...state.idToken }, header })
      // Nobody verifies it here: it is signed for the API.
      server.tokenResponse = (body) => ({ ...body, access_token: jwt(state.accessToken) })
    },
    config: {
      session: { claims: ['sub', 'access_token:realm_access.roles', 'userinfo:department', 'groups'] },
      routes: [
        ...Object.entries(RULES).map(([path, allow]) => ({ path, upstream: upstream.url, allow })),
        {
          path: '/whoami',
          upstream: upstream.url,
          identityHeaders: {
            'X-Roles': 'access_token:realm_access.roles',
            'X-Department': 'userinfo:department',
            'X-Groups': 'groups',
          },
        },
        { path: '/', spa: { directory: new URL('../../src/demo/spa', import.meta.url).pathname }, session: 'none' },
      ],
    },
  })
  onTestFinished(async () => {
    await scripted[Symbol.asyncDispose]()
    await upstream.close()
  })
  return Object.assign(scripted, { said: state, upstream })
}

let count = 0

function jwt(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  count += 1
  return `${part({ alg: 'RS256', typ: 'at+jwt' })}.${part({ jti: String(count), ...claims })}.c2lnbmF0dXJl`
}

const EVERYTHING: Partial<Said> = {
  idToken: { groups: ['sales', 'staff'] },
  accessToken: {
    realm_access: { roles: ['buyer'] },
    resource_access: { 'my.shop': { roles: ['manager'] } },
    scope: 'openid orders.read',
  },
  userinfo: { department: 'orders' },
}

test('rules find claims in the ID token, the access token and UserInfo, and a claim that is elsewhere is missing', async () => {
  const scripted = await start(EVERYTHING)
  const tab = await scripted.visitor()
  await scripted.signIn(tab)
  const statusOf = async (path: string) => (await tab.fetch(`${path}/1`)).status

  expect(await Promise.all(Object.keys(RULES).map(statusOf))).toEqual([200, 200, 200, 200, 200, 403])
  const missing = scripted.world.log.lines().find(({ code }) => code === 'forbidden')
  expect(missing).toMatchObject({ detail: 'the claim realm_access is missing' })
})

test('a user of whom the server says nothing is refused by every rule, and the upstream hears of nothing', async () => {
  const scripted = await start()
  const tab = await scripted.visitor()
  await scripted.signIn(tab)

  for (const path of Object.keys(RULES)) {
    const answer = await tab.fetch(`${path}/1`)
    expect([answer.status, answer.headers['sidegate-error']]).toEqual([403, 'forbidden'])
  }
  expect(scripted.upstream.requests).toEqual([])
})

test('identity headers and the session endpoint read them from the same places', async () => {
  const scripted = await start(EVERYTHING)
  const tab = await scripted.visitor()
  await scripted.signIn(tab)

  await tab.fetch('/whoami')
  const session = await tab.fetch('/bff/session')

  expect(scripted.upstream.last.headers).toMatchObject({
    'x-roles': 'buyer',
    'x-department': 'orders',
    'x-groups': 'sales,staff',
  })
  expect(JSON.parse(session.text)).toMatchObject({
    user: {
      sub: 'alice',
      groups: ['sales', 'staff'],
      'access_token:realm_access.roles': ['buyer'],
      'userinfo:department': 'orders',
    },
  })
})

test('after a refresh all three places are read again: what was given counts, what was taken is gone', async () => {
  const scripted = await start(EVERYTHING)
  const tab = await scripted.visitor()
  await scripted.signIn(tab)
  const statusOf = async (path: string) => (await tab.fetch(`${path}/1`)).status
  scripted.said.idToken = { groups: ['staff'] }
  scripted.said.accessToken = { realm_access: { roles: ['guest'] }, scope: 'openid' }
  scripted.said.userinfo = { department: 'finance' }

  expect(await statusOf('/buyers')).toBe(200)
  scripted.world.clock.advance(301_000)
  expect(await Promise.all(Object.keys(RULES).map(statusOf))).toEqual([403, 403, 403, 403, 403, 403])
  await tab.fetch('/whoami')
  expect(scripted.upstream.last.headers).toMatchObject({
    'x-roles': 'guest',
    'x-department': 'finance',
    'x-groups': 'staff',
  })

  scripted.said.accessToken = { realm_access: { roles: ['admin'] } }
  await tab.fetch('/bff/session/refresh', { method: 'POST' })
  expect(await statusOf('/buyers')).toBe(200)
  await tab.fetch('/whoami')
  expect(scripted.upstream.last.headers['x-roles']).toBe('admin')
})

test('a refresh that brings no ID token and no UserInfo leaves what was known', async () => {
  const scripted = await start(EVERYTHING)
  const tab = await scripted.visitor()
  await scripted.signIn(tab)
  scripted.server.refreshesIdTokens = false
  scripted.server.faults.userinfo = { kind: 'status', status: 503 }

  scripted.world.clock.advance(301_000)

  expect((await tab.fetch('/id/1')).status).toBe(200)
  expect((await tab.fetch('/department/1')).status).toBe(200)
  expect(scripted.server.calls('token')).toBe(2)
})

import { expect, test } from 'vitest'
import { judgeAccess } from '../../src/http/access.ts'
import { endpointPolicy, type Policy } from '../../src/http/policy.ts'
import { claimOf, claimTexts } from '../../src/session/claims.ts'
import type { Session } from '../../src/session/session.ts'

const now = 1_800_000_000_000
const options = { loginPath: '/bff/login', now }

function signedIn(claims: Record<string, unknown>): Session {
  return {
    ref: 'r',
    version: 1,
    provider: 'default',
    issuer: 'https://id.example',
    configuredIssuer: 'https://id.example',
    sub: 'alice',
    createdAt: now,
    expiresAt: now + 1_000,
    claims,
    userinfo: { department: 'sales' },
    tokens: { accessToken: 'opaque', tokenType: 'bearer', accessTokenExpiresAt: now + 1_000 },
  }
}

function policy(rules: Partial<Policy>): Policy {
  return { ...endpointPolicy('/api', []), kind: 'route', session: 'required', ...rules }
}

function codeOf(act: () => void): string {
  try {
    act()
  } catch (error) {
    return (error as { code: string }).code
  }
  return 'pass'
}

const sales = policy({ allow: new Map([['groups', ['sales', 'admin']]]) })

test.each([
  [{ groups: ['sales'] }, 'pass'],
  [{ groups: 'admin' }, 'pass'],
  [{ groups: ['salesperson'] }, 'forbidden'],
  [{ groups: [] }, 'forbidden'],
  [{ groups: { sales: true } }, 'forbidden'],
  [{}, 'forbidden'],
])('of the claims %j a rule on groups makes %s', (claims, expected) => {
  expect(codeOf(() => judgeAccess(sales, signedIn(claims), options))).toBe(expected)
})

test('several rules must all hold', () => {
  const both = policy({
    allow: new Map([
      ['groups', ['sales']],
      ['realm_access.roles', ['buyer']],
    ]),
  })

  expect(codeOf(() => judgeAccess(both, signedIn({ groups: ['sales'] }), options))).toBe('forbidden')
  expect(
    codeOf(() => judgeAccess(both, signedIn({ groups: ['sales'], realm_access: { roles: ['buyer'] } }), options)),
  ).toBe('pass')
})

test('a route with rules lets no anonymous request pass', () => {
  expect(codeOf(() => judgeAccess(sales, null, options))).toBe('login_required')
  expect(codeOf(() => judgeAccess(policy({}), null, options))).toBe('pass')
})

test.each([
  [{ acr: 'gold' }, 'pass'],
  [{ acr: 'silver' }, 'step_up_required'],
  [{}, 'step_up_required'],
])('of the claims %j a route that wants gold makes %s (ID-10)', (claims, expected) => {
  expect(codeOf(() => judgeAccess(policy({ acr: ['gold'] }), signedIn(claims), options))).toBe(expected)
})

test.each([
  [now / 1_000 - 299, 'pass'],
  [now / 1_000 - 301, 'step_up_required'],
  [undefined, 'step_up_required'],
])('an authentication at %s is judged by maxAge: %s (ID-09)', (authTime, expected) => {
  const session = signedIn(authTime === undefined ? {} : { auth_time: authTime })

  expect(codeOf(() => judgeAccess(policy({ maxAgeMs: 300_000 }), session, options))).toBe(expected)
})

test('a step-up says what is wanted and how to get it (RFC 9470)', () => {
  try {
    judgeAccess(policy({ acr: ['gold', 'platinum'], maxAgeMs: 300_000 }), signedIn({}), options)
    expect.unreachable()
  } catch (error) {
    expect((error as { members: object }).members).toEqual({
      acr_values: 'gold platinum',
      max_age: 300,
      loginUrl: '/bff/login?acr_values=gold+platinum&max_age=300',
    })
  }
})

test('names in a path may hold dots themselves, and the exact name goes first at every level', () => {
  const session = signedIn({
    resource_access: { 'my.shop': { roles: ['buyer'] }, my: { shop: { seats: 2 } } },
    'resource_access.my.shop.roles.all': 'exact',
  })

  expect(claimOf(session, 'resource_access.my.shop.roles')).toEqual(['buyer'])
  expect(claimOf(session, 'resource_access.my.shop.seats')).toBe(2)
  expect(claimOf(session, 'resource_access.my.shop.roles.all')).toBe('exact')
  expect(claimOf(session, 'resource_access.my.shop.toString')).toBeUndefined()
  expect(claimOf(session, 'resource_access..my')).toBeUndefined()
})

test.each([
  ['access_token:scope', { scope: 'openid orders.read' }, 'pass'],
  ['scp', { scp: ['orders.read'] }, 'pass'],
  ['scope', { scope: 'orders.readonly' }, 'forbidden'],
  ['department', { department: 'orders.read and more' }, 'forbidden'],
])('the scopes in one text are a list, other texts are not: %s', (claim, claims, expected) => {
  const rules = policy({ allow: new Map([[claim, ['orders.read']]]) })

  expect(codeOf(() => judgeAccess(rules, { token: 't', claims, expiresAt: undefined }, options))).toBe(expected)
})

test('a claim is found by its exact name first, then by its dotted path, and never on a prototype', () => {
  const session = signedIn({ 'a.b': 'exact', a: { b: 'path', c: { d: 1 } }, 'https://x.example/roles': ['r'] })

  expect(claimOf(session, 'a.b')).toBe('exact')
  expect(claimOf(session, 'a.c.d')).toBe(1)
  expect(claimTexts(session, 'a.c.d')).toEqual(['1'])
  expect(claimTexts(session, 'https://x.example/roles')).toEqual(['r'])
  expect(claimOf(session, 'constructor.name')).toBeUndefined()
  expect(claimOf(session, 'a.b.length')).toBeUndefined()
  expect(claimOf(session, 'userinfo:department')).toBe('sales')
  expect(claimOf(session, 'userinfo:groups')).toBeUndefined()
  expect(claimOf(session, 'access_token:scope')).toBeUndefined()
})

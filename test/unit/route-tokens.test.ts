import { expect, test } from 'vitest'
import type { RouteTokenOutcome, RouteTokenRule } from '../../src/oidc/provider.ts'
import { routeTokenKey } from '../../src/oidc/route-token.ts'
import { managerWorld, ScriptedProvider, type Clock, manualClock } from '../support/sessions.ts'

const orders: RouteTokenRule = { resource: 'https://orders.example', scopes: ['orders.read'] }
const stock: RouteTokenRule = { exchange: { audience: 'stock' } }

/** A provider that gives tokens for routes too. */
class RouteProvider extends ScriptedProvider {
  readonly routeCalls: { key: string; refreshToken: string | undefined }[] = []
  readonly routeScript: (() => RouteTokenOutcome | Promise<RouteTokenOutcome>)[] = []
  readonly #clock: Clock

  constructor(clock: Clock) {
    super(clock)
    this.#clock = clock
  }

  async routeToken(rule: RouteTokenRule, session: { tokens: { refreshToken?: string } }): Promise<RouteTokenOutcome> {
    this.routeCalls.push({ key: routeTokenKey(rule), refreshToken: session.tokens.refreshToken })
    const answer = this.routeScript.shift()
    return answer ? answer() : this.issueFor(`${routeTokenKey(rule)} ${this.routeCalls.length}`)
  }

  issueFor(accessToken: string, refreshToken?: string): RouteTokenOutcome {
    const token = { accessToken, tokenType: 'bearer' as const, accessTokenExpiresAt: this.#clock() + 60_000 }
    return { kind: 'issued', token, ...(refreshToken !== undefined && { refreshToken }) }
  }
}

async function signedIn() {
  const clock = manualClock()
  const provider = new RouteProvider(clock)
  const world = managerWorld({ clock, provider })
  const { cookieValue, session } = await world.manager.create({ provider: 'default', result: provider.login() })
  const token = async (rule: RouteTokenRule) =>
    world.manager.routeTokens.tokenFor(cookieValue, (await world.manager.peek(cookieValue))!, rule)
  return { ...world, provider, clock, cookieValue, session, token }
}

test('each rule has a token of its own, got once and kept in the session (TK-12)', async () => {
  const { token, provider, manager, cookieValue } = await signedIn()

  const first = await Promise.all([token(orders), token(orders), token(stock)])
  const again = await Promise.all([token(orders), token(stock)])

  expect(first.map(({ accessToken }) => accessToken)).toEqual([
    again[0].accessToken,
    again[0].accessToken,
    again[1].accessToken,
  ])
  expect(again[0].accessToken).not.toBe(again[1].accessToken)
  expect(provider.routeCalls).toHaveLength(2)
  expect(manager.routeTokens.heldBy((await manager.peek(cookieValue))!, orders)).toEqual(again[0])
})

test('a token that is about to expire is got anew', async () => {
  const { token, provider, clock } = await signedIn()
  await token(orders)

  clock.advance(54_999)
  await token(orders)
  expect(provider.routeCalls).toHaveLength(1)
  clock.advance(1)
  await token(orders)
  expect(provider.routeCalls).toHaveLength(2)
})

test('a refresh token that the grant rotated replaces the old one in the same write (RF-02)', async () => {
  const { token, provider, manager, cookieValue } = await signedIn()
  provider.routeScript.push(() => provider.issueFor('at-orders', 'rotated'))

  await token(orders)
  await token(stock)

  expect((await manager.peek(cookieValue))?.tokens.refreshToken).toBe('rotated')
  expect(provider.routeCalls[1]?.refreshToken).toBe('rotated')
})

test('a refresh forgets them, and a logout takes them along', async () => {
  const { token, provider, manager, cookieValue } = await signedIn()
  await token(orders)

  const refreshed = await manager.refreshNow(cookieValue)
  expect(manager.routeTokens.heldBy(refreshed, orders)).toBeUndefined()
  await token(orders)
  expect(provider.routeCalls).toHaveLength(2)
  await manager.end(cookieValue, 'logout')
  await expect(manager.routeTokens.tokenFor(cookieValue, refreshed, orders)).rejects.toMatchObject({
    code: 'session_expired',
  })
})

test.each([
  [{ kind: 'refused', reason: 'invalid_target' }],
  [{ kind: 'misconfigured', reason: 'unauthorized_client' }],
  [{ kind: 'unavailable', reason: '503' }],
] satisfies [RouteTokenOutcome][])(
  'a refusal %j is a 503, ends nothing, sends no other token, and is not asked again at once (TK-12)',
  async (outcome) => {
    const { token, provider, manager, cookieValue, clock } = await signedIn()
    provider.routeScript.push(() => outcome)

    await expect(token(orders)).rejects.toMatchObject({ code: 'provider_unavailable' })
    await expect(token(orders)).rejects.toMatchObject({ code: 'provider_unavailable' })
    expect(provider.routeCalls).toHaveLength(1)
    clock.advance(2_000)
    await expect(token(orders)).resolves.toBeDefined()
    expect(await manager.peek(cookieValue)).toBeDefined()
  },
)

test('a refresh token that the server calls dead ends the session, for whichever token it was asked (RF-04)', async () => {
  const { token, provider, manager, cookieValue } = await signedIn()
  provider.routeScript.push(() => ({ kind: 'rejected', reason: 'invalid_grant' }))

  await expect(token(orders)).rejects.toMatchObject({ code: 'session_expired' })
  expect(await manager.peek(cookieValue)).toBeUndefined()
})

test('a refresh and a token for a route never spend the refresh token at the same time (RF-03)', async () => {
  const { token, provider, manager, cookieValue } = await signedIn()
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  provider.routeScript.push(async () => {
    await held
    return provider.issueFor('at-orders', 'rotated')
  })

  const first = token(orders)
  await expect.poll(() => provider.routeCalls.length).toBe(1)
  const refreshed = manager.refreshNow(cookieValue)
  release()
  await Promise.all([first, refreshed])

  expect(provider.asked).toEqual(['rotated'])
})

test('a token that an upstream has refused is got anew, once for all who bring it, and the others stay (PX-13)', async () => {
  const { token, provider, manager, cookieValue } = await signedIn()
  const [refused, other] = await Promise.all([token(orders), token(stock)])
  const session = (await manager.peek(cookieValue))!
  const replace = () => manager.routeTokens.replace(cookieValue, session, orders, refused.accessToken)

  const sessions = [...(await Promise.all([replace(), replace()])), await replace()]

  const replaced = new Set(sessions.map((one) => manager.routeTokens.heldBy(one, orders)?.accessToken))
  expect(replaced.size).toBe(1)
  expect(replaced).not.toContain(refused.accessToken)
  expect(provider.routeCalls).toHaveLength(3)
  expect(await token(stock)).toEqual(other)
  expect(provider.asked).toEqual([])
})

test('a refused token stays where no other can be got, and its provider is left alone for a while', async () => {
  const { token, provider, manager, cookieValue, clock } = await signedIn()
  const refused = await token(orders)
  const session = (await manager.peek(cookieValue))!
  const replace = () => manager.routeTokens.replace(cookieValue, session, orders, refused.accessToken)
  provider.routeScript.push(() => ({ kind: 'unavailable', reason: 'status 503' }))

  await expect(replace()).rejects.toMatchObject({ code: 'provider_unavailable' })
  await expect(replace()).rejects.toMatchObject({ code: 'provider_unavailable' })
  expect(provider.routeCalls).toHaveLength(2)
  expect(await token(orders)).toEqual(refused)
  clock.advance(2_000)
  expect(manager.routeTokens.heldBy(await replace(), orders)?.accessToken).not.toBe(refused.accessToken)
})

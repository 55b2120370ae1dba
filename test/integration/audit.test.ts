/** Every audit event, as a whole gateway logs it: what happened, to which session, whose, and why. */
import { expect, onTestFinished, test } from 'vitest'
import { subjectHash } from '../../src/telemetry/audit.ts'
import { type ScriptedWorld, startScriptedWorld } from '../support/scripted-world.ts'

const REF = expect.stringMatching(/^[\w-]{16}$/)
const FROM_ELSEWHERE = { 'sec-fetch-site': 'cross-site' }

/** A gateway to which everything happens that is worth an event, by a user called `alice-of-the-payroll`. */
async function eventsOf(
  log: Record<string, unknown>,
): Promise<{ events: Record<string, unknown>[]; world: ScriptedWorld }> {
  const scripted = await startScriptedWorld({ config: { log: { level: 'info', ...log } } })
  onTestFinished(() => scripted[Symbol.asyncDispose]())
  const { server, world, url } = scripted
  const sub = 'alice-of-the-payroll'
  const ask = (path: string, options = {}) => tab.fetch(url + path, { from: url, ...options })
  let tab = await scripted.visitor()
  await scripted.signIn(tab, { sub })

  await tab.navigate(`${url}/bff/callback?state=x&code=y`, { from: server.origin })
  await ask('/api/orders', { headers: FROM_ELSEWHERE })
  await ask('/bff/session/refresh', { method: 'POST' })
  server.faults.token = { kind: 'status', status: 503 }
  await ask('/bff/session/refresh', { method: 'POST' })
  delete server.faults.token
  await ask('/bff/logout?local=true', { method: 'POST' })

  tab = await scripted.visitor()
  await scripted.signIn(tab, { sub, claims: { sid: 'one' } })
  for (const logout_token of [await server.logoutToken({ sub, sid: 'one' }), 'nonsense']) {
    await fetch(`${url}/bff/backchannel-logout`, { method: 'POST', body: new URLSearchParams({ logout_token }) })
  }
  await world.log.until(({ event, reason }) => event === 'logout.backchannel' && reason !== 'accepted')
  return { events: world.log.lines().filter(({ event }) => typeof event === 'string'), world: scripted }
}

test('each event names its session and its reason, and its user by a hash (CF-06)', async () => {
  const { events, world } = await eventsOf({})
  const sub = subjectHash('alice-of-the-payroll')
  const who = { sessionRef: REF, sub }

  expect(events).toMatchObject([
    { event: 'login.succeeded', level: 'info', ...who, provider: 'default', requestId: expect.any(String) },
    { event: 'login.failed', level: 'warn', reason: expect.stringContaining('state'), requestId: expect.any(String) },
    { event: 'csrf.rejected', level: 'warn', sessionRef: REF, reason: 'cross_site', route: '/api' },
    { event: 'session.refreshed', level: 'info', ...who, provider: 'default' },
    { event: 'refresh.failed', level: 'warn', ...who, reason: expect.stringContaining('503') },
    { event: 'session.ended', level: 'info', ...who, reason: 'logout' },
    { event: 'login.succeeded', ...who },
    // Ended without its cookie it cannot be opened: whose it was is in the line of the logout token.
    { event: 'session.ended', sessionRef: REF, reason: 'backchannel_logout' },
    { event: 'logout.backchannel', level: 'info', sub, reason: 'accepted', ended: 1 },
    { event: 'logout.backchannel', level: 'info', reason: expect.stringContaining('issuer') },
  ])
  expect(new Set(events.slice(0, 6).flatMap(({ sessionRef }) => sessionRef ?? [])).size).toBe(1)
  expect(world.world.log.text).not.toContain('alice-of-the-payroll')
})

test('with log.hashSubject off they name the user', async () => {
  const { events } = await eventsOf({ hashSubject: false })

  expect(new Set(events.flatMap(({ sub }) => sub ?? []))).toEqual(new Set(['alice-of-the-payroll']))
})

test('a refused request is counted and logged for the place it was meant for, with its address', async () => {
  const scripted = await startScriptedWorld({ config: { log: { level: 'info' } } })
  onTestFinished(() => scripted[Symbol.asyncDispose]())
  const { world, url } = scripted
  const tab = await scripted.visitor()
  await scripted.signIn(tab, { sub: 'alice' })

  await tab.fetch(`${url}/api/orders`, { from: url, headers: FROM_ELSEWHERE })
  for (const [path, method] of [
    ['/api/orders', 'GET'],
    ['/bff/user', 'GET'],
    ['/bff/user', 'POST'],
    ['/bff/nothing', 'GET'],
    ['/api/%zz', 'GET'],
  ] as const) {
    await (await fetch(url + path, { method })).text()
  }
  await world.log.until(({ path }) => path === '/api/%zz')

  const lines = world.log.lines().filter(({ msg, status }) => msg === 'request' && Number(status) >= 400)
  const summary = lines.map(({ route, method, status, ip }) => [route, method, status, ip])
  expect(summary).toEqual([
    ['/api', 'GET', 403, '127.0.0.1'],
    ['/api', 'GET', 401, '127.0.0.1'],
    ['user', 'GET', 401, '127.0.0.1'],
    ['user', 'POST', 405, '127.0.0.1'],
    ['-', 'GET', 404, '127.0.0.1'],
    ['-', 'GET', 400, undefined],
  ])
  for (const status of ['401', '403']) {
    expect(await world.metric(`sidegate_requests_total{route="/api",method="GET",status="${status}"}`)).toBe(1)
  }
})

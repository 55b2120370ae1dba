import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page, Response } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { SessionChange } from '../../src/browser/client-types.ts'
import { launchChromium } from '../support/chromium.ts'
import { startWorld, until, type World } from '../support/world.ts'

/** An application of one page: a form, and the client where a test can reach it. */
const APPLICATION = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Application</title>
<form><label>Note <input id="note"></label></form>
<script type="module">
import { createClient } from '/bff/client.js'
window.changes = []
window.begin = (options) => {
  window.client = createClient(options)
  window.stop = client.onChange((change) => changes.push(change))
}
window.isReady = true
</script>`

let chromium: Browser
let directory: string

beforeAll(async () => {
  chromium = await launchChromium()
  directory = await mkdtemp(join(tmpdir(), 'sidegate-client-'))
  await writeFile(join(directory, 'index.html'), APPLICATION)
})

afterAll(async () => {
  await chromium.close()
  await rm(directory, { recursive: true })
})

interface Visit {
  readonly world: World
  readonly context: BrowserContext
  /** Every answer of the gateway to any page of the browser: status and path. */
  readonly answers: string[]
}

/** A fresh gateway and a fresh browser profile. */
async function visit(): Promise<Visit> {
  const world = await startWorld({
    config: ({ upstream }) => ({
      routes: [
        { path: '/api', upstream, session: 'required' },
        { path: '/denied', upstream, session: 'required', allow: { sub: 'nobody' } },
        { path: '/', spa: { directory }, session: 'none' },
      ],
    }),
  })
  const context = await chromium.newContext()
  const answers: string[] = []
  context.on('response', (response: Response) => {
    if (response.url().startsWith(world.url)) answers.push(`${response.status()} ${new URL(response.url()).pathname}`)
  })
  onTestFinished(async () => {
    await context.close()
    await world[Symbol.asyncDispose]()
  })
  return { world, context, answers }
}

/** Opens the application and begins with the client. */
async function open({ world, context }: Visit, path = '/', options: { popup?: boolean } = {}): Promise<Page> {
  const page = await context.newPage()
  await page.goto(world.url + path)
  await begin(page, options)
  return page
}

async function begin(page: Page, options: { popup?: boolean } = {}): Promise<void> {
  await page.waitForFunction('window.isReady')
  await page.evaluate(`begin(${JSON.stringify(options)})`)
  await page.waitForFunction('changes.length > 0')
}

/** Signs in at the authorization server, in a page that has been sent there. */
async function pickAlice(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Alice' }).click()
}

async function signedIn(there: Visit, path = '/', options: { popup?: boolean } = {}): Promise<Page> {
  const page = await there.context.newPage()
  await page.goto(`${there.world.url}/bff/login?returnTo=${encodeURIComponent(path)}`)
  await pickAlice(page)
  await page.waitForURL(there.world.url + path)
  await begin(page, options)
  return page
}

function changesOf(page: Page): Promise<SessionChange[]> {
  return page.evaluate('changes')
}

/** Resolves with the first change of this type. */
async function change(page: Page, type: SessionChange['type']): Promise<SessionChange> {
  await page.waitForFunction(`changes.some((change) => change.type === '${type}')`)
  const found = (await changesOf(page)).find((one) => one.type === type)
  return found ?? expect.unreachable('it was there')
}

/** Calls through the client and resolves status and code. */
function call(page: Page, path: string, init = '{}'): Promise<string> {
  return page.evaluate(
    `client.fetch('${path}', ${init}).then((answer) => answer.status + ' ' + answer.headers.get('sidegate-error'))`,
  )
}

describe('the session', () => {
  test('is told when it is first known, and when somebody has signed in', async () => {
    const there = await visit()

    const anonymous = await open(there)
    expect(await changesOf(anonymous)).toEqual([
      { type: 'session', session: { authenticated: false, loginUrl: '/bff/login' } },
    ])

    const page = await signedIn(there)
    expect(await change(page, 'session')).toMatchObject({ session: { authenticated: true, user: { sub: 'alice' } } })
    await anonymous.waitForFunction('changes.at(-1).session.authenticated')
    expect(await page.evaluate('client.session().then(({ user }) => user.sub)')).toBe('alice')
  })

  test('is told of a refresh in every tab, by one event stream for them all', async () => {
    const there = await visit()
    const first = await signedIn(there)
    const others = [await open(there), await open(there)]

    await until(async () => (await there.world.metric('sidegate_open_streams{kind="events"}')) === 1)
    expect(await call(others[0] ?? first, '/bff/session/refresh', "{ method: 'POST' }")).toBe('200 null')

    for (const page of [first, ...others]) {
      expect(await change(page, 'refreshed')).toMatchObject({ session: { authenticated: true } })
    }
    expect(await there.world.metric('sidegate_open_streams{kind="events"}')).toBe(1)
  })

  test('is watched by the next tab when the one with the stream is closed', async () => {
    const there = await visit()
    const first = await signedIn(there)
    await until(async () => there.answers.includes('200 /bff/session/events'))
    const second = await open(there)

    await first.close()
    await until(async () => there.answers.filter((one) => one === '200 /bff/session/events').length === 2)
    await call(second, '/bff/session/refresh', "{ method: 'POST' }")

    await change(second, 'refreshed')
  })

  test('ends in all tabs when it is ended from another browser, with the reason', async () => {
    const there = await visit()
    const pages = [await signedIn(there), await open(there)]
    await until(async () => (await there.world.metric('sidegate_open_streams{kind="events"}')) === 1)
    const [cookie] = await there.context.cookies(there.world.url)

    await fetch(`${there.world.url}/bff/logout?local=true`, {
      method: 'POST',
      headers: { cookie: `${cookie?.name}=${cookie?.value}`, 'x-csrf': '1' },
    })

    for (const page of pages) {
      expect(await change(page, 'ended')).toMatchObject({ reason: 'logout', session: { authenticated: false } })
    }
  })

  test('is not ended by another sign-in of the same browser, which takes its place', async () => {
    const there = await visit()
    const page = await signedIn(there)
    await until(async () => (await there.world.metric('sidegate_open_streams{kind="events"}')) === 1)

    // The authorization server knows the user by now and asks nothing.
    await (await there.context.newPage()).goto(`${there.world.url}/bff/login?returnTo=/`)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await page.waitForFunction("changes.filter((change) => change.type === 'session').length === 2")

    expect((await changesOf(page)).map(({ type, session }) => [type, session.authenticated])).toEqual([
      ['session', true],
      ['session', true],
    ])
  })

  test.each([
    [
      'a browser has no locks',
      (context: BrowserContext) =>
        context.addInitScript('Object.defineProperty(navigator, "locks", { value: undefined })'),
    ],
    [
      'the event stream is refused',
      (context: BrowserContext) => context.route('**/bff/session/events', (route) => route.fulfill({ status: 503 })),
    ],
  ])('is polled where %s, by requests that never keep it alive', async (_, prevent) => {
    const there = await visit()
    await prevent(there.context)
    const page = await signedIn(there)
    await page.clock.install()
    await page.reload()
    await begin(page)

    // Had the first poll kept it alive, the second would still find it.
    for (const minutes of [20, 11]) {
      expect((await changesOf(page)).map(({ type }) => type)).toEqual(['session'])
      there.world.clock.advance(minutes * 60_000)
      const polled = page.waitForResponse('**/bff/session')
      await page.clock.runFor(61_000)
      await polled
    }

    await change(page, 'ended')
    expect(there.answers).not.toContain('200 /bff/session/events')
  })

  test('that has ended meanwhile is not shown by the back button: the page loads anew', async () => {
    const there = await visit()
    const page = await signedIn(there)
    await there.context.clearCookies()
    await page.evaluate('window.isOld = true')

    await page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")

    await page.waitForFunction('!window.isOld && window.isReady')
  })

  test('is known for nothing while the gateway does not answer, and nobody is told an end', async () => {
    const there = await visit()
    const page = await signedIn(there)
    await page.route('**/bff/session', (route) => route.fulfill({ status: 503 }))

    const refusal = await page.evaluate('client.session().catch(({ message }) => message)')
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(refusal).toBe('The session cannot be read: 503')
    expect((await changesOf(page)).map(({ type }) => type)).toEqual(['session'])
  })
})

describe('a call', () => {
  test('carries X-CSRF to our own origin, and to no other', async () => {
    const there = await visit()
    const page = await signedIn(there)
    const sent: (string | undefined)[] = []
    await page.route('http://other.test/**', (route) => {
      sent.push(route.request().headers()['x-csrf'])
      return route.fulfill({ headers: { 'access-control-allow-origin': '*' } })
    })

    expect(await call(page, '/api/orders', "{ headers: { 'X-Mine': 'kept' } }")).toBe('200 null')
    await call(page, 'http://other.test/x')

    expect(there.world.upstream.last.headers).toMatchObject({ 'x-csrf': '1', 'x-mine': 'kept' })
    expect(sent).toEqual([undefined])
  })

  test('that fails for another reason comes back as it is', async () => {
    const there = await visit()
    const page = await signedIn(there)
    there.world.upstream.respond = (_request, response) => response.writeHead(401).end()

    expect(await call(page, '/denied')).toBe('403 forbidden')
    expect(await call(page, '/api/own-401')).toBe('401 null')
    expect(page.url()).toBe(`${there.world.url}/`)
  })

  test('without a session leaves for one sign-in with nineteen others, and comes back to the very address', async () => {
    const there = await visit()
    const page = await open(there, '/?list=1#/orders/42')

    await page.evaluate("for (let n = 0; n < 20; n += 1) void client.fetch('/api/' + n)")
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/?list=1#/orders/42`)

    expect(there.answers.filter((one) => one === '302 /bff/login')).toHaveLength(1)
    await begin(page)
    expect(await call(page, '/api/orders')).toBe('200 null')
  })

  test('that still finds no session after a sign-in is told so: there is no loop', async () => {
    const there = await visit()
    const page = await open(there)
    await page.evaluate("void client.fetch('/api/orders')")
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/`)
    await there.context.clearCookies()
    await begin(page)

    expect(await call(page, '/api/orders')).toBe('401 login_required')

    expect(page.url()).toBe(`${there.world.url}/`)
    expect(there.answers.filter((one) => one === '302 /bff/login')).toHaveLength(1)
  })

  test('never leaves the page where that cannot be remembered', async () => {
    const there = await visit()
    await there.context.addInitScript(
      'Object.defineProperty(window, "sessionStorage", { get() { throw new DOMException("blocked", "SecurityError") } })',
    )
    const page = await open(there)
    expect(await call(page, '/api/orders')).toBe('401 login_required')
  })

  test('signs in by a popup, and the page, its form and the call survive', async () => {
    const there = await visit()
    const page = await open(there, '/', { popup: true })
    await page.getByLabel('Note').fill('unsaved')

    const opening = page.waitForEvent('popup')
    const answer = call(page, '/api/orders', "{ method: 'POST', body: 'ordered' }")
    const popup = await opening
    await pickAlice(popup)

    expect(await answer).toBe('200 null')
    if (!popup.isClosed()) await popup.waitForEvent('close')
    expect(await page.getByLabel('Note').inputValue()).toBe('unsaved')
    expect(there.world.upstream.requests.map(({ method, body }) => `${method} ${body}`)).toEqual(['POST ordered'])
    expect(await page.evaluate('changes.at(-1).session.user.sub')).toBe('alice')
  })

  test('whose session was ended meanwhile signs in again, and is made again with what it carried', async () => {
    const there = await visit()
    const page = await signedIn(there, '/', { popup: true })
    await page.getByLabel('Note').fill('unsaved')
    const { manager } = there.world.gateway.service
    await manager.endBySubject(there.world.provider.issuer, 'alice', 'backchannel_logout')

    // The authorization server still knows who it is: nobody has to click.
    const first = page.waitForResponse('**/api/orders')
    const answer = call(page, '/api/orders', "{ method: 'POST', body: 'ordered' }")

    expect((await first).headers()['sidegate-error']).toBe('session_expired')
    expect(await answer).toBe('200 null')
    expect(there.world.upstream.last.body).toBe('ordered')
    expect(await page.getByLabel('Note').inputValue()).toBe('unsaved')
  })

  test('of many at once opens one popup, and all are repeated once', async () => {
    const there = await visit()
    const page = await open(there, '/', { popup: true })
    let popups = 0
    page.on('popup', () => (popups += 1))

    const opening = page.waitForEvent('popup')
    const answers = page.evaluate(
      "Promise.all([1, 2, 3, 4, 5].map((n) => client.fetch('/api/' + n).then(({ status }) => status)))",
    )
    await pickAlice(await opening)

    expect(await answers).toEqual([200, 200, 200, 200, 200])
    expect(popups).toBe(1)
  })

  test('comes back as it was when the popup is closed, and the next one does not ask again', async () => {
    const there = await visit()
    const page = await open(there, '/', { popup: true })
    let popups = 0
    page.on('popup', () => (popups += 1))

    const opening = page.waitForEvent('popup')
    const answer = call(page, '/api/orders')
    await (await opening).close()

    expect(await answer).toBe('401 login_required')
    expect(await call(page, '/api/orders')).toBe('401 login_required')
    expect(popups).toBe(1)
  })

  test('comes back as it was when the browser blocks the popup', async () => {
    const there = await visit()
    const page = await open(there, '/', { popup: true })
    await page.evaluate('window.open = () => null')
    expect(await call(page, '/api/orders')).toBe('401 login_required')
  })

  test('asks the application first where it wants to be asked', async () => {
    const there = await visit()
    const page = await there.context.newPage()
    await page.goto(there.world.url)
    await page.waitForFunction('window.isReady')
    await page.evaluate(`begin({
      popup: true,
      onLoginRequired: (login, code) => new Promise((resolve) => {
        const button = document.body.appendChild(document.createElement('button'))
        button.textContent = 'Sign in: ' + code
        button.onclick = () => resolve(login())
      }),
    })`)

    const answer = call(page, '/api/orders')
    const opening = page.waitForEvent('popup')
    await page.getByRole('button', { name: 'Sign in: login_required' }).click()
    await pickAlice(await opening)

    expect(await answer).toBe('200 null')
  })

  test('that wants a fresher sign-in gets one, with what the API asks for', async () => {
    const there = await visit()
    const page = await signedIn(there, '/', { popup: true })
    const stale = { status: 401, code: 'step_up_required', max_age: 600, loginUrl: '/bff/login?max_age=600' }
    await page.route(
      '**/api/orders',
      (route) => route.fulfill({ status: 401, headers: { 'sidegate-error': stale.code }, json: stale }),
      { times: 1 },
    )
    const asked = there.context.waitForEvent('request', (request) => request.url().includes('/bff/login?'))

    const answer = call(page, '/api/orders')

    expect((await asked).url()).toContain('/bff/login?max_age=600&returnTo=%2F&mode=popup')
    expect(await answer).toBe('200 null')
  })

  test('that is never satisfied by a sign-in comes back after one: there is no loop', async () => {
    const there = await visit()
    const page = await signedIn(there, '/', { popup: true })
    await page.route('**/api/orders', (route) =>
      route.fulfill({ status: 401, headers: { 'sidegate-error': 'step_up_required' }, json: {} }),
    )
    let popups = 0
    page.on('popup', () => (popups += 1))

    expect(await call(page, '/api/orders')).toBe('401 step_up_required')
    expect(await call(page, '/api/orders')).toBe('401 step_up_required')
    expect(popups).toBe(1)
  })
})

describe('signing out', () => {
  test('leaves by the authorization server to the signed-out page, and tells the other tabs', async () => {
    const there = await visit()
    const page = await signedIn(there)
    const other = await open(there)

    await page.evaluate('void client.logout()')
    await page.waitForURL(/\/bff\/logout\/callback/)

    expect(await change(other, 'ended')).toMatchObject({ session: { authenticated: false } })
    expect(await there.context.cookies(there.world.url)).toEqual([])
  })

  test('locally stays on the page', async () => {
    const there = await visit()
    const page = await signedIn(there)

    await page.evaluate('client.logout({ local: true })')

    expect(await change(page, 'ended')).toMatchObject({ reason: 'logout' })
    expect(page.url()).toBe(`${there.world.url}/`)
    expect(await page.evaluate('client.session().then(({ authenticated }) => authenticated)')).toBe(false)
  })
})

test('a page that stops listening gives the stream to another tab, and the last one closes it', async () => {
  const there = await visit()
  const page = await signedIn(there)
  const openStreams = () => there.world.metric('sidegate_open_streams{kind="events"}')
  await until(async () => (await openStreams()) === 1)
  const other = await open(there)

  await page.evaluate('stop()')
  await until(async () => there.answers.filter((one) => one === '200 /bff/session/events').length === 2)
  await until(async () => (await openStreams()) === 1)
  await other.evaluate('stop()')

  await until(async () => (await openStreams()) === 0)
})

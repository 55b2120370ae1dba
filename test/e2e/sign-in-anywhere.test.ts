import { rm } from 'node:fs/promises'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { writeApplication } from '../support/application.ts'
import { violationsOf } from '../support/axe.ts'
import { launchChromium, launchProfile } from '../support/chromium.ts'
import { startWorld, type World } from '../support/world.ts'

let chromium: Browser
let directory: string

beforeAll(async () => {
  chromium = await launchChromium()
  directory = await writeApplication()
})

afterAll(async () => {
  await chromium.close()
  await rm(directory, { recursive: true })
})

interface Place {
  readonly world: World
  readonly context: BrowserContext
}

async function place(context?: BrowserContext): Promise<Place> {
  const world = await startWorld({
    config: ({ upstream }) => ({
      routes: [
        { path: '/api', upstream, session: 'required' },
        { path: '/pages', upstream, session: 'login' },
        { path: '/', spa: { directory }, session: 'none' },
      ],
    }),
  })
  world.upstream.respond = (_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<h1>A page of the upstream</h1>')
  const used = context ?? (await chromium.newContext())
  onTestFinished(async () => {
    await used.close()
    await world[Symbol.asyncDispose]()
  })
  return { world, context: used }
}

async function pick(page: Page, name = 'Alice'): Promise<void> {
  await page.getByRole('button', { name }).click()
}

/** A page on which somebody has signed in, and which knows it. */
async function signedIn({ world, context }: Place, path = '/', name = 'Alice'): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${world.url}/bff/login?returnTo=${encodeURIComponent(path)}`)
  await pick(page, name)
  await page.getByText(`This is ${name.toLowerCase()}`).waitFor()
  return page
}

/** As the button does it; playwright's own `goBack` waits for a load that a restored page does not have. */
async function goBack(page: Page): Promise<void> {
  await page.evaluate('setTimeout(() => history.back())')
}

/** What comes back out of the back/forward cache from now on. */
async function backForwardRestores(page: Page): Promise<readonly string[]> {
  const restored: string[] = []
  const session = await page.context().newCDPSession(page)
  session.on('Page.frameNavigated', ({ type, frame }) => {
    if (type === 'BackForwardCacheRestore') restored.push(frame.url)
  })
  await session.send('Page.enable')
  return restored
}

async function countSessions(world: World): Promise<number> {
  let count = 0
  for await (const refs of world.gateway.service.manager.store.refs()) count += refs.length
  return count
}

test('a deep link survives the sign-in with its fragment', async () => {
  const there = await place()
  const page = await there.context.newPage()
  await page.goto(`${there.world.url}/orders/42?list=1#/lines/3?sort=up`)

  await page.getByRole('button', { name: 'Sign in here' }).click()
  await pick(page)

  await page.getByText('This is alice').waitFor()
  expect(page.url()).toBe(`${there.world.url}/orders/42?list=1#/lines/3?sort=up`)
})

test('twenty tabs of a restored window sign in at once, and each ends where it wanted to go (R43)', async () => {
  const there = await place()
  const pages = await Promise.all(Array.from({ length: 20 }, () => there.context.newPage()))
  await Promise.all(pages.map((page, index) => page.goto(`${there.world.url}/pages/${index}?tab=${index}`)))

  await Promise.all(pages.map((page) => pick(page)))
  await Promise.all(pages.map((page) => page.getByText('A page of the upstream').waitFor()))

  expect(pages.map((page) => page.url())).toEqual(
    pages.map((_, index) => `${there.world.url}/pages/${index}?tab=${index}`),
  )
  expect(await countSessions(there.world)).toBe(1)
  expect((await there.context.cookies(there.world.url)).map(({ name }) => name)).toEqual(['__Host-Http-sidegate'])
})

test('the back button leads to the sign-in page, and that back into the application', async () => {
  const there = await place()
  const page = await signedIn(there)

  await page.goBack()
  if (await page.getByRole('button', { name: 'Alice' }).isVisible()) await pick(page)
  await page.getByRole('heading', { name: 'This sign-in has expired' }).waitFor()
  expect(await violationsOf(page)).toEqual([])
  await page.getByRole('link', { name: 'Back to the app' }).click()

  await page.getByText('This is alice').waitFor()
})

test('a bookmark of the callback leads into the application, and in another browser to a page with one next step', async () => {
  const there = await place()
  const callbacks: string[] = []
  there.context.on('request', (request) => {
    if (request.url().includes('/bff/callback?')) callbacks.push(request.url())
  })
  const page = await signedIn(there, '/orders')
  const bookmark = callbacks[0] ?? expect.unreachable('there was a callback')

  await page.goto(bookmark)
  await page.getByText('This is alice').waitFor()
  expect(page.url()).toBe(`${there.world.url}/orders`)

  const other = await chromium.newContext()
  onTestFinished(() => other.close())
  const stranger = await other.newPage()
  await stranger.goto(bookmark)
  await stranger.getByRole('heading', { name: 'Sign-in did not finish' }).waitFor()
  expect(await violationsOf(stranger)).toEqual([])
  await stranger.getByRole('link', { name: 'Sign in again' }).click()
  await pick(stranger)
  await stranger.getByText('This is alice').waitFor()
  expect(there.world.provider.count('authorization_code')).toBe(2)
})

test('a sign-in page left open overnight ends on a page from which one click signs in (R45)', async () => {
  const there = await place()
  const page = await there.context.newPage()
  await page.goto(`${there.world.url}/bff/login?returnTo=/orders`)

  there.world.clock.advance(9 * 3_600_000)
  await pick(page)
  await page.getByRole('heading', { name: 'Sign-in did not finish' }).waitFor()
  there.world.clock.advance(-9 * 3_600_000) // what the provider makes now is not from yesterday
  await page.getByRole('link', { name: 'Sign in again' }).click()

  await page.getByText('This is alice').waitFor()
})

test('a browser that takes no cookies ends on a page that says so, and goes round in no circle', async () => {
  const profile = await launchProfile({ cookies: 'blocked-on-localhost' })
  const there = await place(profile)
  const logins: string[] = []
  profile.on('request', (request) => {
    if (request.url().includes('/bff/login')) logins.push(request.url())
  })
  const page = await profile.newPage()
  // The application itself opens: storage that throws must not end its script.
  await page.goto(there.world.url)
  await page.getByText('Nobody').waitFor()

  await page.getByRole('button', { name: 'Sign in here' }).click()
  await pick(page)

  await page.getByRole('heading', { name: 'Sign-in did not finish' }).waitFor()
  await page.getByText('in a browser that takes no cookies').waitFor()
  expect(logins).toHaveLength(1)
  expect(await countSessions(there.world)).toBe(0)
})

test('signing in, calling and signing out need no third-party cookie', async () => {
  const profile = await launchProfile({ cookies: 'no-third-party' })
  const there = await place(profile)
  const page = await signedIn(there, '/?call')

  await page.getByText('The call got 200').waitFor()
  await page.getByRole('button', { name: 'Sign out here' }).click()
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor()
})

test('a silent sign-in changes nothing for who is not known, and signs in who is', async () => {
  const there = await place()
  const page = await there.context.newPage()
  const silent = `${there.world.url}/bff/login?prompt=none&returnTo=%2Forders`

  await page.goto(silent)
  await page.getByText('Nobody').waitFor()
  expect(page.url()).toBe(`${there.world.url}/orders`)

  await signedIn(there)
  await page.evaluate("fetch('/bff/logout?local=true', { method: 'POST' })")
  await page.goto(silent)
  await page.getByText('This is alice').waitFor()
  expect(page.url()).toBe(`${there.world.url}/orders`)
})

test('a blocked popup leaves a button, by which the popup opens', async () => {
  const profile = await launchProfile({ cookies: 'allowed' })
  const there = await place(profile)
  const page = await profile.newPage()

  // Nobody has clicked anything: the browser opens no window for this call.
  await page.goto(`${there.world.url}/?popup&call`)
  await page.getByText('The call got 401').waitFor()
  expect(profile.pages().filter((one) => one.url().includes('/interaction/'))).toEqual([])

  const opening = page.waitForEvent('popup')
  await page.getByRole('button', { name: 'Sign in here' }).click()
  const popup = await opening
  await pick(popup)
  await page.getByText('This is alice').waitFor()
  expect(page.url()).toBe(`${there.world.url}/?popup&call`)
  await expect.poll(() => popup.isClosed()).toBe(true)
})

test('a service worker that answers navigations, but leaves the gateway’s own paths alone, does not come between', async () => {
  const there = await place()
  const page = await there.context.newPage()
  await page.goto(`${there.world.url}/?worker-shell`)
  await page.getByText('The worker is ready').waitFor()
  await page.goto(`${there.world.url}/orders#here`)
  await page.getByText('Nobody').waitFor()

  await page.getByRole('button', { name: 'Sign in here' }).click()
  await pick(page)
  await page.getByText('This is alice').waitFor()

  expect(page.url()).toBe(`${there.world.url}/orders#here`)
})

test('a service worker that fetches the sign-in itself ends on a page with one next step, and the log names it (AR-09)', async () => {
  const there = await place()
  const page = await there.context.newPage()
  await page.goto(`${there.world.url}/?worker-network`)
  await page.getByText('The worker is ready').waitFor()

  await page.goto(`${there.world.url}/bff/login`)

  await page.getByRole('heading', { name: 'This address does not work' }).waitFor()
  expect(there.world.log.text).toContain('a service worker must leave the endpoints to the browser')
  await page.getByRole('link', { name: 'Go to the start page' }).click()
  await page.getByText('Nobody').waitFor()
})

test('another user who signs in in another tab is shown in this one too', async () => {
  const there = await place()
  const page = await signedIn(there)
  const other = await there.context.newPage()
  await other.goto(`${there.world.url}/bff/login?prompt=login`)
  await pick(other, 'Bob')
  await other.getByText('This is bob').waitFor()

  await page.getByText('This is bob').waitFor()
  expect(await countSessions(there.world)).toBe(1)
})

test('the back button after a sign-out shows nothing of who was signed in, from the back/forward cache neither', async () => {
  const profile = await launchProfile({ cookies: 'allowed' })
  const there = await place(profile)
  const page = await signedIn(there)
  const restored = await backForwardRestores(page)
  // By the plain link: the page is frozen as it is, with the name on it.
  await page.evaluate(
    "fetch('/bff/session').then((answer) => answer.json()).then(({ logoutUrl }) => location.assign(logoutUrl))",
  )
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor()

  await goBack(page)
  await page.getByText('Nobody').waitFor()

  expect(restored).toEqual([`${there.world.url}/`])
  expect(await page.content()).not.toContain('alice')
})

test('the back button after a sign-out asks again for a page that the upstream calls no-store', async () => {
  const profile = await launchProfile({ cookies: 'allowed' })
  const there = await place(profile)
  there.world.upstream.respond = (_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'no-store' }).end('<h1>Of Alice alone</h1>')
  const page = await profile.newPage()
  await page.goto(`${there.world.url}/pages/mine`)
  await pick(page)
  await page.getByRole('heading', { name: 'Of Alice alone' }).waitFor()
  await page.evaluate(
    "fetch('/bff/session').then((answer) => answer.json()).then(({ logoutUrl }) => location.assign(logoutUrl))",
  )
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor()

  await goBack(page)

  await page.getByRole('heading', { name: 'Who are you today?' }).waitFor()
})

test('a tab learns within a second that it was signed out in another browser', async () => {
  const there = await place()
  const page = await signedIn(there)
  const context = await chromium.newContext()
  onTestFinished(() => context.close())
  const elsewhere = await signedIn({ world: there.world, context })
  await elsewhere.goto(`${there.world.url}/bff/your-sessions`, { referer: there.world.url })
  expect(await violationsOf(elsewhere)).toEqual([])

  const learned = page.getByText('Nobody').waitFor()
  const startedAt = performance.now()
  const ended = elsewhere.getByRole('button', { name: 'Sign out everywhere else' }).click()
  await learned
  const tookMs = performance.now() - startedAt
  await ended

  expect(tookMs).toBeLessThan(1_000)
  await elsewhere.goto(there.world.url)
  await elsewhere.getByText('This is alice').waitFor()
})

import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { violationsInBothSchemes } from '../support/axe.ts'
import { launchChromium } from '../support/chromium.ts'
import { type Demo, startDemo } from '../support/demo.ts'

/** Where to leave pictures of the demo, for the README; by default nowhere. */
const pictures = process.env['SIDEGATE_PICTURES']

let chromium: Browser
let demo: Demo

beforeAll(async () => {
  ;[chromium, demo] = await Promise.all([launchChromium(), startDemo()])
  await demo.ready()
})

afterAll(async () => {
  await chromium.close()
  demo.kill('SIGTERM')
  expect(await demo.exited).toBe(0)
})

interface Visit {
  readonly context: BrowserContext
  readonly page: Page
}

/** A fresh browser profile that looks at the demo; its script may fail at nothing. */
async function visit(): Promise<Visit> {
  const context = await chromium.newContext()
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) problems.push(message.text())
  })
  onTestFinished(async () => {
    await context.close()
    expect(problems).toEqual([])
  })
  const document = await page.goto(demo.url)
  expect(document?.headers()['content-security-policy']).toContain("script-src 'self'; style-src 'self'")
  await page.getByText('Nobody is signed in', { exact: true }).waitFor()
  return { context, page }
}

async function signedIn(): Promise<Visit> {
  const there = await visit()
  await there.page.getByRole('link', { name: 'Sign in' }).click()
  await there.page.getByRole('button', { name: 'Alice' }).click()
  await there.page.getByText('Signed in as Alice Liddell').waitFor()
  return there
}

/** Presses a button and returns the first sentence that it leads to, without the time in front. */
async function press(page: Page, name: string): Promise<string> {
  const before = await page.locator('#results > li').count()
  await page.getByRole('button', { name }).click()
  await page.locator('#results > li').nth(before).waitFor()
  return lastResult(page)
}

async function lastResult(page: Page): Promise<string> {
  const time = await page.locator('#results > li time').first().textContent()
  const text = await page.locator('#results > li p').first().textContent()
  return (text ?? '').slice((time ?? '').length)
}

/** Whether it begins within the window, without scrolling. */
async function mayBeSeen(page: Page, selector: string): Promise<boolean> {
  const [box, size] = [await page.locator(selector).boundingBox(), page.viewportSize()]
  return box !== null && size !== null && box.y >= 0 && box.y < size.height - 20
}

/** What stands beside a word in the list of what the gateway holds. */
async function heldAs(page: Page, term: string): Promise<string> {
  return (await page.locator(`#gateway dt:text-is("${term}") + dd`).textContent()) ?? ''
}

/** Presses Tab until this has the focus, which can be seen. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let press = 0; press < 30; press += 1) {
    await page.keyboard.press('Tab')
    const text = String(await page.evaluate('document.activeElement.textContent'))
    if (!text.includes(name) || text.length > 100) continue
    expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).not.toBe('none')
    return
  }
  expect.unreachable(`no way by Tab to ${name}`)
}

async function picture(page: Page, name: string): Promise<void> {
  if (pictures === undefined) return
  for (const [width, height] of [
    [1280, 900],
    [390, 844],
  ] as const) {
    await page.setViewportSize({ width, height })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await page.screenshot({ path: join(pictures, `${name}-${colorScheme}-${width}.png`), fullPage: true })
    }
  }
}

test('a visitor of `npm run demo` signs in, calls the API, cannot find a token, and signs out', async () => {
  const { context, page } = await visit()
  await page.getByText('No token anywhere.').waitFor()
  expect(await violationsInBothSchemes(page)).toEqual([])
  expect(await press(page, 'Call the API')).toBe(
    'Refused: nobody is signed in (401 login_required). The API was not called.',
  )
  for (const name of ['Open a WebSocket', 'Forge a request', 'Tamper with the cookie', 'Open the vault']) {
    expect(await press(page, name)).toMatch(/^(There is no|The gateway refused|Refused)/)
  }

  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.waitForURL(/127\.0\.0\.1/)
  expect(await violationsInBothSchemes(page)).toEqual([])
  await picture(page, 'demo-sign-in')
  await page.getByRole('button', { name: 'Alice' }).click()
  await page.getByText('Signed in as Alice Liddell').waitFor()
  expect(page.url()).toBe(`${demo.url}/`)

  expect(await press(page, 'Call the API')).toMatch(
    /^The API answered 200\. It got an access token for alice \(fingerprint [0-9a-f]{8}\), good for \d+ s more, and no cookie\. This page got neither\.$/,
  )
  expect(await mayBeSeen(page, '#results > li:first-child')).toBe(true)
  await page.setViewportSize({ width: 390, height: 844 })
  await press(page, 'Call the API')
  expect(await mayBeSeen(page, '#results > li:first-child')).toBe(true)
  await page.setViewportSize({ width: 1280, height: 900 })
  const cookies = await context.cookies(demo.url)
  expect(cookies).toEqual([
    expect.objectContaining({
      name: '__Host-Http-sidegate',
      httpOnly: true,
      secure: true,
      sameSite: 'Strict',
      path: '/',
    }),
  ])
  expect(cookies[0]?.value).toMatch(/^[\w-]{43}$/)

  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(/\/bff\/logout\/callback/)
  await picture(page, 'signed-out')
  await page.goto(demo.url)
  await page.getByText('Nobody is signed in', { exact: true }).waitFor()
  expect(await context.cookies(demo.url)).toEqual([])
})

test('in the demo the search would find a token, were there one in storage or in memory', async () => {
  const { page } = await signedIn()

  await page.evaluate("localStorage.setItem('left', 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln')")
  await press(page, 'Call the API')
  await page.getByText('A token may be in: Local storage.').waitFor()
  await page.evaluate('localStorage.clear()')
  await page.evaluate("window.left = { deep: ['Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln'] }")
  await press(page, 'Call the API')
  await page.getByText('A token may be in: Memory.').waitFor()
  await page.evaluate('delete window.left')
  await press(page, 'Call the API')
  await page.getByText('No token anywhere.').waitFor()
})

test('the demo is used by keyboard alone, and says aloud what a press has come to', async () => {
  const { page } = await visit()

  await tabTo(page, 'Sign in')
  await page.keyboard.press('Enter')
  await page.waitForURL(/127\.0\.0\.1/)
  await tabTo(page, 'Alice Liddell')
  await page.keyboard.press('Enter')
  await page.getByText('Signed in as Alice Liddell').waitFor()
  await tabTo(page, 'Call the API')
  await page.keyboard.press('Enter')

  await page.getByRole('log', { name: 'Results' }).getByText('The API answered 200').waitFor()
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Call the API')
  for (const name of ['Twenty calls at once', 'Forge a request', 'Sign out elsewhere', 'What the API saw']) {
    await tabTo(page, name)
  }
})

test('the demo draws the last sign-in from what went over the wires', async () => {
  const { page } = await signedIn()

  const steps = page.locator('#sequence li')
  await expect.poll(() => steps.count()).toBeGreaterThanOrEqual(9)
  const lines = (await steps.allTextContents()).map((line) => line.replace(/\/[\w-]{15,}/, '/…').split('. ', 1)[0])
  expect(lines).toEqual(
    expect.arrayContaining([
      'This browser to Gateway: GET /bff/login, answered 302',
      'Gateway to Sign-in service: POST /request, answered 201',
      'This browser to Sign-in service: GET /auth, answered 303',
      'This browser to Sign-in service: POST /interaction/…, answered 303',
      'This browser to Gateway: GET /bff/callback, answered 303',
      'Gateway to Sign-in service: POST /token (code), answered 200',
      'This browser to Gateway: GET /, answered 200',
      'This browser to Gateway: GET /bff/session, answered 200',
    ]),
  )
  expect(await page.locator('#sequence svg line.message').count()).toBe(lines.length)
})

test('the demo shows the tokens on the server by their fingerprints alone, and how they change', async () => {
  const { page } = await signedIn()

  await page.getByText(/^•{8} [0-9a-f]{8}, good for \d+ s$/).waitFor()
  const before = await Promise.all(['Access token', 'Refresh token', 'ID token'].map((term) => heldAs(page, term)))
  expect(before.slice(1)).toEqual(
    Array.from({ length: 2 }, () => expect.stringMatching(/^•{8} [0-9a-f]{8}$/) as string),
  )
  const fingerprint = /[0-9a-f]{8}/.exec(before[0] ?? '')?.[0]
  expect(await press(page, 'Call the API')).toContain(`(fingerprint ${fingerprint})`)

  await page.evaluate("fetch('/bff/session/refresh', { method: 'POST' })")
  await page.getByText(/^once, at /).waitFor()

  await expect.poll(() => heldAs(page, 'Access token')).not.toContain(fingerprint)
  expect(await heldAs(page, 'Refresh token')).not.toBe(before[1])
})

test('in the demo an expired token is refreshed once, however many calls wait for it', async () => {
  const { page } = await signedIn()
  expect(await press(page, 'Twenty calls at once')).toBe(
    '20 of 20 calls answered 200, all at once, with one and the same access token. It was still good: the sign-in service was not asked.',
  )

  await press(page, 'Let the token expire')
  await page.getByText('expired: the next API call refreshes it first').waitFor()
  await page.getByText('The access token is dead.').waitFor()

  expect(await press(page, 'Twenty calls at once')).toBe(
    '20 of 20 calls answered 200, all at once, with one and the same access token. The old one had expired: the sign-in service was asked for a new one once, not twenty times.',
  )
  await page.getByText(/^2 times, last at /).waitFor()
})

test('in the demo a forged call, a changed cookie and a guessed one get nothing, and a WebSocket carries the token', async () => {
  const { page } = await signedIn()

  expect(await press(page, 'Forge a request')).toMatch(
    /^Refused\. A page on http:\/\/localhost:\d+ sent a POST with your cookie\. The gateway answered 403 csrf_rejected, the API never saw it, and the hostile page could read nothing\.$/,
  )
  expect(await press(page, 'Tamper with the cookie')).toMatch(
    /^Script on this page can neither read the session cookie nor overwrite or delete it: .* its made-up cookie got 401 session_expired\./,
  )
  expect(await press(page, 'Open a WebSocket')).toBe(
    'The WebSocket opened. The API greeted alice, whom it knows by the token that the gateway put on the handshake, and sent back “Hello from the page”.',
  )
})

test('in the demo the vault asks for a stronger sign-in in a popup, and the page stays as it is', async () => {
  const { page } = await signedIn()

  const opening = page.waitForEvent('popup')
  expect(await press(page, 'Open the vault')).toMatch(/^The gateway answered 401 step_up_required/)
  const popup = await opening
  await popup.getByRole('heading', { name: 'Confirm that it is you' }).waitFor()
  await popup.getByRole('button', { name: 'Alice' }).click()

  await page.getByText('The vault is open. You have confirmed that it is you').waitFor()
  expect(await press(page, 'Open the vault')).toMatch(/^The vault is open\. You had confirmed that it is you before/)
  expect(await violationsInBothSchemes(page)).toEqual([])
  await picture(page, 'demo')
})

test('in the demo twenty tabs that sign in at once end signed in, where they wanted to go, with one session (R43)', async () => {
  const { page } = await signedIn()

  await page.getByRole('button', { name: 'Sign in from twenty tabs' }).click()
  await page.getByText('tabs signed in at the same moment').waitFor({ timeout: 50_000 })

  // Other browsers of Alice count as well.
  expect(await lastResult(page)).toMatch(
    /^20 tabs signed in at the same moment\. 20 ended signed in, where they wanted to go\. You had (\w+ sessions?) before and have \1 now\.$/,
  )
})

test('in the demo a sign-out at the sign-in service reaches the page by the back channel (LO-06)', async () => {
  const { context, page } = await signedIn()
  const [elsewhere] = await Promise.all([
    context.waitForEvent('page'),
    page.getByRole('link', { name: 'Sign out elsewhere' }).click(),
  ])
  await elsewhere.getByRole('heading', { name: 'Sign out everywhere?' }).waitFor()
  expect(await violationsInBothSchemes(elsewhere)).toEqual([])

  await elsewhere.getByRole('button', { name: 'Sign out everywhere' }).click()

  await page.getByText('You signed out elsewhere: the sign-in service told the gateway').waitFor()
  await page.getByText('Nobody is signed in', { exact: true }).waitFor()
})

test('the demo says in one line that a port is taken, and ends with 1', async () => {
  const blocker = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void blocker.close())
  await once(blocker, 'listening')
  const address = blocker.address()
  const port = typeof address === 'object' && address ? address.port : 0

  for (const name of ['PROVIDER_PORT', 'API_PORT', 'PORT']) {
    const other = await startDemo({ [name]: port })
    expect(await other.exited).toBe(1)
    expect(other.output()).toContain(
      `sidegate: port ${port} is taken; \`sidegate demo --help\` tells how to choose another\n`,
    )
  }
})

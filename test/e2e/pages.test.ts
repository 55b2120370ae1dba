import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { type Page as OwnPage, Pages } from '../../src/http/pages.ts'
import { violationsOf } from '../support/axe.ts'
import { launchChromium } from '../support/chromium.ts'

/** Where to leave pictures of the pages; by default nowhere. */
const pictures = process.env['SIDEGATE_PICTURES']
const ORIGIN = 'http://app.localhost'
const NOW = Date.UTC(2026, 10, 22, 12)
const HOUR = 3_600_000

const own = new Pages({
  publicUrl: ORIGIN,
  basePath: '/bff',
  headers: { csp: undefined, hsts: true, frameAncestors: "'none'" },
})
const failure = { requestId: '4be1cf9e-6c0b-4a36-9d4d-0f4d6b4a7c11', loginUrl: '/bff/login', retryUrl: '/orders' }

/** Every kind of page, with as much on it as there can be. */
const pages: Record<string, OwnPage> = {
  'signed-out': own.signedOut(),
  'signed-in': own.signedIn(),
  continue: own.signIn({ loginUrl: '/bff/login' }),
  'choose-provider': own.chooseProvider([
    { name: 'staff', issuer: 'https://id.example.com/realms/staff', loginUrl: '/bff/login?provider=staff' },
    { name: 'partners', issuer: 'https://login.partners.example', loginUrl: '/bff/login?provider=partners' },
  ]),
  'your-sessions': own.sessions({
    sessions: [
      { ref: 'a', device: 'Firefox on Linux', createdAt: NOW - HOUR, lastSeenAt: NOW, isCurrent: true },
      {
        ref: 'b',
        device: 'Safari on iPhone',
        createdAt: NOW - 30 * HOUR,
        lastSeenAt: NOW - 5 * HOUR,
        isCurrent: false,
      },
      {
        ref: 'c',
        device: 'Chrome on Windows',
        createdAt: NOW - 3 * HOUR,
        lastSeenAt: NOW - 2 * HOUR,
        isCurrent: false,
      },
    ],
    action: '/bff/your-sessions',
    logoutUrl: '/bff/logout?t=x',
    now: NOW,
  }),
  'failure-sign-in': own.failure({ ...failure, code: 'login_failed' }),
  'failure-try-again': own.failure({ ...failure, code: 'store_unavailable' }),
}

let chromium: Browser

beforeAll(async () => {
  chromium = await launchChromium()
})

afterAll(() => chromium.close())

/** A browser tab in which our pages are what the origin has. */
async function open(): Promise<Page> {
  const context = await chromium.newContext()
  onTestFinished(() => context.close())
  const page = await context.newPage()
  // Shown in a popup that closes itself; here it shall stay.
  await context.addInitScript('window.close = () => {}')
  await page.route(`${ORIGIN}/**`, (route) => {
    const shown = pages[new URL(route.request().url()).pathname.slice(1)]
    return shown ? route.fulfill({ body: shown.html, headers: shown.headers }) : route.fulfill({ status: 404 })
  })
  return page
}

test.each(Object.keys(pages))(
  'the page "%s" is for everybody: phone and screen, light and dark, keyboard alone',
  async (name) => {
    const page = await open()
    const problems: string[] = []
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
    await page.goto(`${ORIGIN}/${name}`)

    for (const [width, height] of [
      [1280, 800],
      [390, 844],
    ] as const) {
      await page.setViewportSize({ width, height })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        // What it finds depends on the colours, and hardly on the width.
        if (width < 1_000) expect(await violationsOf(page)).toEqual([])
        if (pictures) await page.screenshot({ path: join(pictures, `${name}-${colorScheme}-${width}.png`) })
      }
    }
    expect(problems.filter((text) => !text.includes('favicon') && !text.includes('404'))).toEqual([])

    const targets = await page.locator('a, button').count()
    const reached = new Set<string>()
    for (let press = 0; press < targets; press += 1) {
      await page.keyboard.press('Tab')
      reached.add(await page.evaluate('document.activeElement.outerHTML'))
      expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid')
    }
    expect(reached.size).toBe(targets)
  },
)

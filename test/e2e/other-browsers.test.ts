import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { writeApplication } from '../support/application.ts'
import { type DrivenBrowser, type DrivenTab, eventually } from '../support/driven-browser.ts'
import { firefoxPath, launchFirefox } from '../support/firefox.ts'
import { hasWebkit, launchWebkit } from '../support/webkit.ts'
import { startWorld, until, type World } from '../support/world.ts'

interface Place {
  readonly world: World
  readonly tab: DrivenTab
}

/** WebKit's driver tells of no cookie; what its script may see is asked in both. */
const browsers = [
  {
    name: 'Firefox',
    isHere: firefoxPath !== undefined,
    launch: launchFirefox,
    cookie: '__Host-Http-sidegate',
    insecure: false,
    listsCookies: true,
  },
  { name: 'WebKit', isHere: hasWebkit, launch: launchWebkit, cookie: 'sidegate', insecure: true, listsCookies: false },
]

/** The tab that shows this part of an address, once there is one. */
async function newTab(browser: DrivenBrowser, part: string): Promise<DrivenTab> {
  let found: DrivenTab | undefined
  await until(async () => {
    for (const tab of await browser.tabs()) {
      const address = await tab.read('location.href').catch(() => '')
      if (String(address).includes(part)) found = tab
    }
    return found !== undefined
  })
  return found ?? expect.unreachable('it was just found')
}

describe.each(browsers)('in $name', ({ isHere, launch, cookie, insecure, listsCookies }) => {
  let browser: DrivenBrowser

  beforeAll(async () => {
    if (isHere) browser = await launch()
  })
  afterAll(() => (isHere ? browser[Symbol.asyncDispose]() : undefined))

  async function place(): Promise<Place> {
    const directory = await writeApplication()
    onTestFinished(() => rm(directory, { recursive: true }))
    const world = await startWorld({
      config: ({ upstream }) => ({
        ...(insecure && { session: { cookie: { insecure: true } } }),
        routes: [
          { path: '/api', upstream, session: 'required' },
          { path: '/', spa: { directory }, session: 'none' },
        ],
      }),
    })
    onTestFinished(() => world[Symbol.asyncDispose]())
    return { world, tab: browser.tab }
  }

  const who = (text: string) => `document.getElementById('who')?.textContent === '${text}'`

  test.skipIf(!isHere)('somebody signs in, calls the API, is told of an end elsewhere, and signs out', async () => {
    const { world, tab } = await place()
    await tab.goto(`${world.url}/bff/login?returnTo=${encodeURIComponent('/orders#/lines')}`)
    await tab.press('button[value=alice]')
    await eventually(tab, who('This is alice'))
    expect(await tab.read('location.href')).toBe(`${world.url}/orders#/lines`)

    expect(await tab.read('document.cookie')).toBe('')
    if (listsCookies) {
      const seen = (await browser.cookies()).filter(({ path }) => path === '/')
      expect(seen).toEqual([expect.objectContaining({ name: cookie, httpOnly: true, secure: true })])
    }
    expect(await tab.read("fetch('/api/orders').then(({ status }) => status)")).toBe(200)
    expect(await tab.read("fetch('/api/orders', { method: 'POST' }).then(({ status }) => status)")).toBe(200)

    // The page has its event stream: the end comes without a question.
    await until(async () => (await world.metric('sidegate_open_streams{kind="events"}')) === 1)
    await world.gateway.service.manager.endBySubject(world.provider.issuer, 'alice', 'backchannel_logout')
    await eventually(tab, who('Nobody'))

    await tab.press('#sign-in')
    await eventually(tab, who('This is alice'))
    await tab.press('#sign-out')
    await eventually(tab, "document.querySelector('h1')?.textContent === 'You are signed out'")
    await tab.goto(world.url)
    await eventually(tab, who('Nobody'))
  })

  test.skipIf(!isHere)('a popup signs in, tells the page and closes', async () => {
    const { world, tab } = await place()
    await tab.goto(`${world.url}/?popup`)
    await eventually(tab, who('Nobody'))

    await tab.press('#sign-in')
    const popup = await newTab(browser, '/interaction/')
    await eventually(popup, "document.querySelector('button[value=alice]') !== null")
    // The press closes the window that it is made in: there may be nobody left to answer.
    await popup.press('button[value=alice]').catch(() => {})

    await eventually(tab, who('This is alice'))
    await until(async () => (await browser.tabs()).length === 1)
    expect(await tab.read('location.href')).toBe(`${world.url}/?popup`)
  })
})

import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { Browser } from '../support/browser.ts'
import type { FetchOptions } from '../support/browser.ts'
import { launchChromium } from '../support/chromium.ts'

/** What a server saw of one request, as far as a browser decides it. */
interface Seen {
  readonly request: string
  readonly cookies: string
  readonly site: string | undefined
  readonly mode: string | undefined
  readonly dest: string | undefined
  readonly origin: string | undefined
  readonly prefersHtml: boolean
}

/** The same steps for the real and for the scripted browser. */
interface Driver {
  type(url: string): Promise<unknown>
  click(path: string): Promise<unknown>
  press(): Promise<unknown>
  fetch(url: string, init: Pick<FetchOptions, 'method' | 'mode' | 'credentials'>): Promise<unknown>
}

const APP_COOKIES = [
  '__Host-Http-s=1; Secure; HttpOnly; Path=/; SameSite=Strict',
  '__Secure-tx-1=1; Secure; HttpOnly; Path=/bff/callback; SameSite=Lax; Max-Age=600',
  'plain=1; Path=/',
  'none=1; Path=/; SameSite=None; Secure',
  'deep=1; Path=/api/',
  'defaulted=1',
  '__Host-narrow=1; Secure; Path=/api',
  '__Host-Http-open=1; Secure; Path=/',
  '__Secure-weak=1; Path=/',
  'nowhere=1; SameSite=None; Path=/',
  'foreign=1; Domain=example.com; Path=/',
  'gone=1; Max-Age=0; Path=/',
]

/** A site of two origins on localhost and a foreign one on 127.0.0.1, all writing down what they see. */
async function threeOrigins() {
  const seen: Seen[] = []
  const origins = { app: '', sibling: '', foreign: '' }

  const answer = (name: keyof typeof origins, request: IncomingMessage, response: ServerResponse): void => {
    const path = request.url ?? '/'
    if (path === '/favicon.ico') {
      response.writeHead(404).end()
      return
    }
    const { headers } = request
    seen.push({
      request: `${request.method} ${name} ${path}`,
      cookies: (headers.cookie ?? '').split('; ').filter(Boolean).toSorted().join('; '),
      site: one(headers['sec-fetch-site']),
      mode: one(headers['sec-fetch-mode']),
      dest: one(headers['sec-fetch-dest']),
      origin: headers.origin && nameOf(headers.origin),
      prefersHtml: (headers.accept ?? '').startsWith('text/html'),
    })
    const page = (body: string, more: Record<string, string | string[]> = {}): void => {
      response.writeHead(200, { 'content-type': 'text/html', ...more }).end(`<link rel="icon" href="data:,">${body}`)
    }
    const go = (status: number, location: string): void => void response.writeHead(status, { location }).end()
    const form = (action: string): string => `<form method="post" action="${action}"><button>go</button></form>`

    switch (`${name} ${path}`) {
      case 'app /':
        return page('<a href="/login">login</a>', { 'set-cookie': APP_COOKIES })
      case 'app /login':
        return go(302, `${origins.foreign}/auth`)
      case 'foreign /auth':
        return page(form('/signed-in'), { 'set-cookie': 'as=1; Path=/; SameSite=Lax' })
      case 'foreign /signed-in':
        return go(303, `${origins.app}/bff/callback`)
      case 'app /sso':
        return go(302, `${origins.foreign}/sso`)
      case 'foreign /sso':
        return go(302, `${origins.app}/bff/callback?again=1`)
      case 'app /bff/callback?again=1':
        return go(303, '/home')
      case 'app /bff/callback':
        return go(303, '/home')
      case 'app /home':
        return page('<a href="/sso">again</a><a href="/quiet">quiet</a>')
      case 'app /quiet':
        return page(form('/posted'), { 'referrer-policy': 'no-referrer' })
      case 'app /posted':
        return page(`<a href="${origins.foreign}/lure">away</a>`)
      case 'foreign /lure':
        return page(`${form(`${origins.app}/forged`)}<a href="${origins.app}/linked">back</a>`)
      case 'app /forged':
        return page(`<a href="${origins.sibling}/">sibling</a>`)
      case 'sibling /':
        return page(`<a href="${origins.app}/linked">home</a>`)
    }
    page('ok')
  }
  const nameOf = (origin: string): string =>
    Object.entries(origins).find(([, value]) => value === origin)?.[0] ?? origin

  for (const [name, host] of [
    ['app', 'localhost'],
    ['sibling', 'localhost'],
    ['foreign', '127.0.0.1'],
  ] as const) {
    const server = createServer((request, response) => answer(name, request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => server.closeAllConnections())
    onTestFinished(() => void server.close())
    // A TCP server that listens on a port has an AddressInfo.
    origins[name] = `http://${host}:${(server.address() as AddressInfo).port}`
  }
  return { seen, origins }
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

async function walk(driver: Driver, origins: { app: string; sibling: string; foreign: string }): Promise<void> {
  await driver.type(`${origins.app}/`)
  await driver.fetch('/api/x', {})
  await driver.fetch('/api/x', { method: 'POST' })
  await driver.fetch(`${origins.sibling}/x`, { mode: 'no-cors' })
  await driver.fetch(`${origins.sibling}/x`, { mode: 'no-cors', credentials: 'include' })
  await driver.fetch(`${origins.foreign}/x`, { method: 'POST', mode: 'no-cors' })
  await driver.click('/login')
  await driver.press()
  await driver.fetch('/api/after', {})
  await driver.click('/sso')
  await driver.click('/quiet')
  await driver.press()
  await driver.click(`${origins.foreign}/lure`)
  await driver.fetch(`${origins.app}/api/x`, { mode: 'no-cors', credentials: 'include' })
  await driver.fetch(`${origins.app}/api/x`, { method: 'POST', mode: 'no-cors', credentials: 'include' })
  await driver.press()
  await driver.click(`${origins.sibling}/`)
  await driver.fetch(`${origins.app}/api/x`, { method: 'POST', mode: 'no-cors', credentials: 'include' })
  await driver.click(`${origins.app}/linked`)
  await driver.type(`${origins.app}/home`)
}

test('the scripted browser sends what Chromium sends: cookies, Sec-Fetch fields and Origin on every step', async () => {
  const real = await threeOrigins()
  const chromium = await launchChromium()
  onTestFinished(() => chromium.close())
  const page = await chromium.newPage()
  await walk(
    {
      type: (url) => page.goto(url),
      click: (path) => Promise.all([page.waitForNavigation(), page.click(`a[href="${path}"]`)]),
      press: () => Promise.all([page.waitForNavigation(), page.click('button')]),
      fetch: (url, init) =>
        page.evaluate(async ([target, options]) => void (await fetch(target, options)), [url, init] as const),
    },
    real.origins,
  )

  const scripted = await threeOrigins()
  using browser = new Browser()
  const tab = browser.newTab()
  await walk(
    {
      type: (url) => tab.navigate(url, { from: 'none' }),
      click: (path) => tab.click(path),
      press: () => tab.submit(),
      fetch: (url, init) => tab.fetch(url, init),
    },
    scripted.origins,
  )

  expect(scripted.seen).toEqual(real.seen)
})

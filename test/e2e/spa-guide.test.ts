/** The code that README.md, docs/spa.md and docs/browser-client.md show, run in Chromium behind a real gateway. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { ACR } from '../../src/demo/users.ts'
import { launchChromium, launchProfile } from '../support/chromium.ts'
import { blockOf } from '../support/documents.ts'
import { startLiveUpstream } from '../support/live-upstream.ts'
import { type ConfigInput, startWorld, until, type World } from '../support/world.ts'

const modules = new URL('../../node_modules', import.meta.url).pathname
const guide = (name: string) => blockOf('docs/spa.md', name)
const client = (name: string) => blockOf('docs/browser-client.md', name)

/** What a bundler does, by an import map. */
const APPLICATION = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Application</title>
<script type="importmap">
{ "imports": {
  "sidegate/browser": "/bff/client.js",
  "graphql-ws": "/graphql-ws/client.js",
  "@microsoft/signalr": "/signalr.js"
} }
</script>
<h1>Application</h1>`

let chromium: Browser
let directory: string

beforeAll(async () => {
  chromium = await launchChromium()
  directory = await mkdtemp(join(tmpdir(), 'sidegate-guide-'))
  await writeFile(join(directory, 'index.html'), APPLICATION)
  await cp(join(modules, 'graphql-ws/dist'), join(directory, 'graphql-ws'), { recursive: true })
  const signalr = await readFile(join(modules, '@microsoft/signalr/dist/browser/signalr.min.js'), 'utf8')
  const names = 'export const { HttpTransportType, HubConnectionBuilder } = globalThis.signalR'
  // Its bundle hangs itself on `self`, or on `exports` where there are any: in a module there are none.
  await writeFile(join(directory, 'signalr.js'), `${signalr}\n${names}\n`)
  await writeFile(join(directory, 'worker.js'), guide('service-worker'))
})

afterAll(async () => {
  await chromium.close()
  await rm(directory, { recursive: true })
})

interface Visit {
  readonly world: World
  readonly context: BrowserContext
}

async function visit(routes: readonly ConfigInput[] = [], context?: BrowserContext): Promise<Visit> {
  const world = await startWorld({
    config: ({ upstream }) => ({
      provider: { scopes: ['openid', 'profile', 'email', 'offline_access'] },
      routes: [
        ...routes,
        ...(routes.length > 0 ? [] : [{ path: '/api', upstream, session: 'required' }]),
        { path: '/', spa: { directory }, session: 'none' },
      ],
    }),
  })
  const browser = context ?? (await chromium.newContext())
  onTestFinished(async () => {
    await browser.close()
    await world[Symbol.asyncDispose]()
  })
  return { world, context: browser }
}

async function signedIn({ world, context }: Visit, path = '/'): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${world.url}/bff/login?returnTo=${encodeURIComponent(path)}`)
  await pickAlice(page)
  await page.waitForURL(world.url + path)
  return page
}

async function pickAlice(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Alice' }).click()
}

/** Runs code as a module of the page; resolves when it has come to its end, with what its names are then. */
async function run(page: Page, code: string, names: readonly string[] = []): Promise<void> {
  await page.addScriptTag({
    type: 'module',
    content: `${code}\nObject.assign(window, { ${names.join(', ')} })\nwindow.hasRun = (window.hasRun ?? 0) + 1`,
  })
}

async function ranOnce(page: Page): Promise<void> {
  await page.waitForFunction('window.hasRun === 1')
}

describe('README.md', () => {
  test('the three lines of the app sign in where nobody is, and then call the API with the token put on', async () => {
    const there = await visit()
    const page = await there.context.newPage()
    await page.goto(`${there.world.url}/orders`)

    await run(page, blockOf('README.md', 'app').split('\n').slice(0, 2).join('\n'))
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/orders`)
    await run(page, blockOf('README.md', 'app'), ['orders'])
    await ranOnce(page)

    expect(await page.evaluate('orders')).toEqual({ method: 'GET', url: '/api/orders' })
    expect(there.world.upstream.last.headers.authorization).toMatch(/^Bearer /)
  })
})

describe('docs/spa.md', () => {
  test('the session is asked for, and a page without one leads to the sign-in and back', async () => {
    const there = await visit()
    const page = await there.context.newPage()
    await page.goto(`${there.world.url}/orders`)

    await run(page, guide('session'))
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/orders`)
    await run(page, guide('session'), ['session'])

    await ranOnce(page)
    expect(await page.evaluate('session.authenticated')).toBe(true)
  })

  test('a step-up leads to a login that asks for what the call wants, and then the call works', async () => {
    const there = await visit()
    const challenge = `Bearer error="insufficient_user_authentication", acr_values="${ACR.secondFactor}"`
    there.world.upstream.respond = (_, response) => response.writeHead(401, { 'www-authenticate': challenge }).end()
    const page = await signedIn(there)

    await run(page, `const body = '{}'\n${guide('step-up')}`)
    await page.waitForURL(/127\.0\.0\.1/)
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/`)
    there.world.upstream.respond = (_, response) => response.writeHead(200).end()
    await run(page, `const body = '{}'\n${guide('step-up')}`, ['answer'])

    await ranOnce(page)
    expect(await page.evaluate('answer.status')).toBe(200)
  })

  test('signing out ends the session here and at the authorization server', async () => {
    const there = await visit()
    const page = await signedIn(there)

    await run(page, guide('sign-out'))

    await page.waitForURL(/\/bff\/logout\/callback/)
    await page.goto(there.world.url)
    expect(await page.evaluate("fetch('/bff/session').then((answer) => answer.json())")).toMatchObject({
      authenticated: false,
    })
  })

  test('a page that comes back from memory looks again', async () => {
    const there = await visit([], await launchProfile({ cookies: 'allowed' }))
    const page = await signedIn(there)
    await run(page, `${guide('back-button')}\nwindow.isOld = true`)
    await ranOnce(page)

    await page.goto(`${there.world.url}/elsewhere`)
    await page.goBack()

    await page.waitForFunction('!window.isOld')
    expect(page.url()).toBe(`${there.world.url}/`)
  })

  test('a service worker that leaves /bff/ and the API alone disturbs no sign-in, no call and no sign-out', async () => {
    const there = await visit()
    const page = await there.context.newPage()
    await page.goto(there.world.url)
    await page.evaluate(`(async () => {
      await navigator.serviceWorker.register('/worker.js')
      await navigator.serviceWorker.ready
    })()`)
    const byWorker: string[] = []
    there.context.on('response', (response) => {
      if (response.fromServiceWorker()) byWorker.push(new URL(response.url()).pathname)
    })
    await page.goto(`${there.world.url}/orders`)
    expect(await page.evaluate('navigator.serviceWorker.controller !== null')).toBe(true)

    await page.evaluate("location.assign('/bff/login?returnTo=/orders')")
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/orders`)
    expect(await page.evaluate("fetch('/api/orders').then(({ status }) => status)")).toBe(200)
    await run(page, guide('sign-out'))
    await page.waitForURL(/\/bff\/logout\/callback/)

    expect(new Set(byWorker)).toEqual(new Set(['/orders']))
  })

  test('a download by a link is saved while signed in, and asks for the sign-in otherwise', async () => {
    const there = await visit()
    there.world.upstream.respond = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/csv', 'content-disposition': 'attachment; filename=report.csv' })
      response.end('a,b\n')
    }
    const page = await signedIn(there)
    await run(page, guide('download'), ['download'])
    await ranOnce(page)

    const [saved] = await Promise.all([page.waitForEvent('download'), page.evaluate("download('/api/report.csv')")])
    expect([saved.suggestedFilename(), await readFile(await saved.path(), 'utf8')]).toEqual(['report.csv', 'a,b\n'])
    expect(page.url()).toBe(`${there.world.url}/`)
    await page.evaluate("fetch('/bff/logout?local=true', { method: 'POST' })")
    const login = page.waitForRequest(/\/bff\/login\?returnTo=%2F$/)
    await page.evaluate("void download('/api/report.csv')")
    await login
  })

  test('a GraphQL subscription carries the token in its handshake, and ends with the session at the sign-in', async () => {
    await using live = await startLiveUpstream()
    const there = await visit([{ path: '/api', upstream: live.url, session: 'required' }])
    const page = await signedIn(there)
    await run(page, guide('graphql-ws').replace('export ', ''), ['client'])
    await ranOnce(page)

    await page.evaluate(`window.greetings = []; client.subscribe({ query: 'subscription { greeting }' }, {
      next: ({ data }) => greetings.push(data.greeting), error: (error) => (window.failure = error.code), complete() {},
    })`)
    await page.waitForFunction('greetings.length > 0')
    expect(await page.evaluate('greetings')).toEqual(['hello'])
    expect(live.handshakes).toEqual([{ path: '/api/graphql', authorization: expect.stringMatching(/^Bearer /) }])
    const login = page.waitForRequest(/\/bff\/login\?returnTo=%2F$/)
    await page.evaluate("void fetch('/bff/logout?local=true', { method: 'POST' })")

    await login
  })

  test('a SignalR hub is called with the token in its handshake, and ends with the session at the sign-in', async () => {
    await using live = await startLiveUpstream()
    const there = await visit([{ path: '/api', upstream: live.url, session: 'required' }])
    const page = await signedIn(there)
    await run(page, guide('signalr').replace('export ', ''), ['hub'])
    await ranOnce(page)

    expect(await page.evaluate("hub.invoke('Ask')")).toBe('Ask answered')
    expect(live.handshakes).toEqual([{ path: '/api/hub', authorization: expect.stringMatching(/^Bearer /) }])
    const login = page.waitForRequest(/\/bff\/login\?returnTo=%2F$/)
    await page.evaluate("void fetch('/bff/logout?local=true', { method: 'POST' })")

    await login
  })
})

describe('docs/browser-client.md', () => {
  test('the module comes from the gateway, and by the name of the package it is the same', async () => {
    const there = await visit()
    const page = await signedIn(there)
    const inline = /<script type="module">([\s\S]*)<\/script>/.exec(client('module'))?.[1] ?? ''

    await run(page, inline, ['sidegate'])
    await page.waitForFunction('window.sidegate')
    expect(await page.evaluate('sidegate.session().then(({ user }) => user.sub)')).toBe('alice')
    await page.evaluate('delete window.sidegate')
    await run(page, client('package'), ['sidegate'])
    await page.waitForFunction('window.sidegate')
    expect(await page.evaluate('sidegate.session().then(({ user }) => user.sub)')).toBe('alice')
  })

  test('the session is greeted, watched and called with', async () => {
    const there = await visit()
    const page = await signedIn(there)

    await run(
      page,
      `${client('package')}
      const greeted = []
      const rendered = []
      const greet = (name) => greeted.push(name)
      const render = ({ authenticated }) => rendered.push(authenticated)
      const order = { number: 7 }
      ${client('session')}
      ${client('calls')}`,
      ['sidegate', 'greeted', 'rendered', 'answer', 'stop'],
    )
    await ranOnce(page)
    await page.evaluate("sidegate.fetch('/bff/session/refresh', { method: 'POST' })")
    await page.waitForFunction('rendered.length > 0')

    expect(await page.evaluate('[greeted, rendered, answer.status]')).toEqual([['Alice Liddell'], [true], 200])
    expect(there.world.upstream.last).toMatchObject({ method: 'POST', body: '{"number":7}' })
    await page.evaluate('stop()')
  })

  test('the dialog of the application asks before a sign-in, and the popup opens by its click', async () => {
    const there = await visit()
    const page = await there.context.newPage()
    await page.goto(there.world.url)
    await page.evaluate(`window.showDialog = ({ text, onConfirm }) => {
      const button = document.createElement('button')
      button.textContent = text
      button.onclick = onConfirm
      document.body.append(button)
    }`)
    await run(page, `import { createClient } from 'sidegate/browser'\n${client('dialog')}`, ['sidegate'])
    await ranOnce(page)

    const answer = page.evaluate("sidegate.fetch('/api/orders').then(({ status }) => status)")
    const popup = page.waitForEvent('popup')
    await page.getByRole('button', { name: 'Please sign in again to go on.' }).click()
    await pickAlice(await popup)

    expect(await answer).toBe(200)
  })

  test('each line about signing in and out does what it says', async () => {
    const there = await visit()
    const lines = client('in-and-out')
      .split('\n')
      .filter((line) => line !== '')
    expect(lines).toHaveLength(5)
    const page = await there.context.newPage()
    /** Runs one line in a page that has just been loaded. */
    const line = async (index: number) => run(page, `${client('package')}\n${lines[index]}`, ['sidegate'])
    const isSignedIn = () =>
      page.evaluate("fetch('/bff/session').then((answer) => answer.json()).then((session) => session.authenticated)")

    await page.goto(`${there.world.url}/here`)
    await line(0)
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/here`)
    await line(1)
    await page.waitForURL(`${there.world.url}/orders#open`)
    const popup = page.waitForEvent('popup')
    await run(page, `${client('package')}\n${lines[2]}`, ['isSignedIn'])
    await popup
    await page.waitForFunction('window.isSignedIn')
    await line(3)
    await page.waitForURL(/\/bff\/logout\/callback/)

    await page.goto(`${there.world.url}/bff/login?returnTo=/`)
    await pickAlice(page)
    await page.waitForURL(`${there.world.url}/`)
    await line(4)
    await ranOnce(page)
    expect(await isSignedIn()).toBe(false)
    expect(page.url()).toBe(`${there.world.url}/`)
    await until(async () => (await there.world.metric('sidegate_sessions_ended_total{reason="logout"}')) >= 2)
  })
})

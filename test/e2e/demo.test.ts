import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { expect, onTestFinished, test } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'

const root = new URL('../..', import.meta.url).pathname
/** Where to leave pictures of the demo, for the README; by default nowhere. */
const pictures = process.env['SIDEGATE_PICTURES']

interface Demo {
  readonly process: ChildProcess
  readonly url: string
  /** Everything printed so far. */
  readonly output: () => string
  readonly exited: Promise<number | null>
}

/** Starts what `npm run demo` starts, with ports that are free. */
async function startDemo(ports: Record<string, number> = {}): Promise<Demo> {
  const env: NodeJS.ProcessEnv = { ...process.env }
  for (const name of ['PORT', 'MANAGEMENT_PORT', 'PROVIDER_PORT', 'API_PORT']) {
    env[`SIDEGATE_DEMO_${name}`] = String(ports[name] ?? (await freePort()))
  }
  const child = spawn(process.execPath, ['scripts/with-node.mjs', 'src/main.ts', 'demo'], { cwd: root, env })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  const exited = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null)
  return { process: child, url: `http://localhost:${env['SIDEGATE_DEMO_PORT']}`, output: () => output, exited }
}

/** Resolves once the demo has said that it can be opened. */
async function ready(demo: Demo): Promise<void> {
  while (!demo.output().includes('Open ')) {
    const ended = await Promise.race([
      once(demo.process.stdout ?? demo.process, 'data'),
      demo.exited.then(() => 'ended'),
    ])
    if (ended === 'ended') throw new Error(`the demo has ended: ${demo.output()}`)
  }
}

/** Presses a button and returns the sentence that it leads to, without the time in front. */
async function press(page: Page, name: string): Promise<string> {
  const before = await page.locator('#results > li').count()
  await page.getByRole('button', { name }).click()
  await page.locator('#results > li').nth(before).waitFor()
  const time = await page.locator('#results > li time').first().textContent()
  const text = await page.locator('#results > li p').first().textContent()
  return (text ?? '').slice((time ?? '').length)
}

async function picture(page: Page, name: string): Promise<void> {
  if (pictures !== undefined) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true })
}

test('a visitor of `npm run demo` signs in, calls the API, cannot find a token, cannot forge a call, and signs out', async () => {
  const demo = await startDemo()
  await ready(demo)
  const chromium = await launchChromium()
  onTestFinished(() => chromium.close())
  const context = await chromium.newContext()
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) problems.push(message.text())
  })

  const document = await page.goto(demo.url)
  expect(document?.headers()['content-security-policy']).toContain("script-src 'self'; style-src 'self'")
  await page.getByText('Nobody is signed in', { exact: true }).waitFor()
  expect(await press(page, 'Call the API')).toBe(
    'Refused: nobody is signed in (401 login_required). The API was not called.',
  )

  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.waitForURL(/127\.0\.0\.1/)
  await picture(page, 'demo-sign-in')
  await page.getByRole('button', { name: 'Alice' }).click()
  await page.getByText('Signed in as Alice Liddell').waitFor()
  expect(page.url()).toBe(`${demo.url}/`)

  expect(await press(page, 'Call the API')).toMatch(
    /^The API answered 200\. It got an access token for alice, good for \d+ s more, and no cookie\. This page got neither\.$/,
  )
  expect(await press(page, 'Twenty calls at once')).toBe(
    '20 of 20 calls answered 200, all at once, with one and the same access token.',
  )
  expect(await press(page, 'Refresh now')).toMatch(
    /^The gateway has new tokens, good for .*\. None of them came here\.$/,
  )
  expect(await press(page, 'Forge a request')).toMatch(
    /^Refused\. A page on http:\/\/localhost:\d+ sent a POST with your cookie\. The gateway answered 403 csrf_rejected, the API never saw it, and the hostile page could read nothing\.$/,
  )
  expect(await page.locator('#verdict').textContent()).toBe(
    'No token anywhere. The session cookie is HttpOnly: the browser sends it, script cannot read it.',
  )
  // Were there one, the search would find it.
  await page.evaluate("localStorage.setItem('left', 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln')")
  await press(page, 'Call the API')
  await page.getByText('A token may be in: Local storage.').waitFor()
  await page.evaluate('localStorage.clear()')
  await press(page, 'Call the API')
  await page.getByText('No token anywhere.').waitFor()
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
  await picture(page, 'demo')
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.setViewportSize({ width: 390, height: 844 })
  await picture(page, 'demo-dark-phone')

  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(/\/bff\/logout\/callback/)
  await picture(page, 'demo-signed-out')
  await page.goto(demo.url)
  await page.getByText('Nobody is signed in', { exact: true }).waitFor()
  expect(await context.cookies(demo.url)).toEqual([])
  expect(problems).toEqual([])

  demo.process.kill('SIGTERM')
  expect(await demo.exited).toBe(0)
})

test('the demo says in one line that a port is taken, and ends with 1', async () => {
  const blocker = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void blocker.close())
  await once(blocker, 'listening')
  const address = blocker.address()
  const port = typeof address === 'object' && address ? address.port : 0

  for (const name of ['PROVIDER_PORT', 'API_PORT', 'PORT']) {
    const demo = await startDemo({ [name]: port })
    expect(await demo.exited).toBe(1)
    expect(demo.output()).toContain(
      `sidegate: port ${port} is taken; \`sidegate demo --help\` tells how to choose another\n`,
    )
  }
})

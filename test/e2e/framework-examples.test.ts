import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { launchChromium } from '../support/chromium.ts'
import { buildExample, type Framework, frameworks } from '../support/examples.ts'
import { startWorld, type World } from '../support/world.ts'

const names = Object.keys(frameworks) as Framework[] // its own keys
const JAVASCRIPT = new URL('../../docs/examples/javascript', import.meta.url).pathname

let chromium: Browser
let built: string
let world: World

beforeAll(async () => {
  built = await mkdtemp(join(tmpdir(), 'sidegate-examples-'))
  chromium = await launchChromium()
  for (const name of names) await buildExample(name, join(built, name))
  const spa = (path: string, directory: string) => ({ path, spa: { directory }, session: 'none' })
  world = await startWorld({
    config: ({ upstream }) => ({
      routes: [
        { path: '/api', upstream, session: 'required' },
        spa('/javascript', JAVASCRIPT),
        ...names.map((name) => spa(`/${name}`, join(built, name))),
      ],
    }),
  })
})

afterAll(async () => {
  await chromium.close()
  await world[Symbol.asyncDispose]()
  await rm(built, { recursive: true })
})

test.each(['javascript', ...names])(
  'the %s example of the documents signs in, calls the API, and signs out in all its tabs',
  async (name) => {
    const context = await chromium.newContext()
    onTestFinished(() => context.close())
    const problems: string[] = []
    context.on('weberror', (error) => problems.push(error.error().message))
    context.on('console', (message) => message.type() === 'warning' && problems.push(message.text()))
    const page = await context.newPage()
    const button = (label: string) => page.getByRole('button', { name: label })

    await page.goto(`${world.url}/${name}/#/orders/42`)
    await page.getByText('Nobody is signed in').waitFor()
    await button('Call the API').click()
    await button('Alice').click()
    await page.getByText('Signed in as Alice Liddell').waitFor()
    expect(page.url()).toBe(`${world.url}/${name}/#/orders/42`)

    await button('Call the API').click()
    await page.getByText('The API answered 200').waitFor()
    expect(world.upstream.last.headers['x-csrf']).toBe('1')

    const other = await context.newPage()
    await other.goto(`${world.url}/${name}/`)
    await other.getByText('Signed in as Alice Liddell').waitFor()
    await button('Sign out').click()
    await page.waitForURL(/\/bff\/logout\/callback/)
    await other.getByText('Nobody is signed in').waitFor()
    await other.getByRole('button', { name: 'Sign in' }).click()
    await other.waitForURL(/\/interaction\//)
    expect(problems).toEqual([])
  },
)

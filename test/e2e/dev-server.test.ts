import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createServer } from 'vite'
import { launchChromium } from '../support/chromium.ts'
import { startWorld } from '../support/world.ts'

const CLIENT = new URL('../../src/browser/client.ts', import.meta.url).pathname

const PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Application</title>
<p id="who"></p><p id="text"></p>
<script type="module" src="/main.js"></script>`

const MAIN = `import { text } from './text.js'
import { createClient } from 'sidegate/browser'
const show = (text) => (document.getElementById('text').textContent = text)
show(text)
import.meta.hot.accept('./text.js', (changed) => show(changed.text))
createClient().onChange(({ session }) => (document.getElementById('who').textContent = session.user?.name ?? 'Nobody'))
`

test('behind the gateway a Vite server has its views, its modules and its hot reload, and the app its session', async () => {
  const root = await mkdtemp(join(tmpdir(), 'sidegate-vite-'))
  onTestFinished(() => rm(root, { recursive: true }))
  const text = (words: string) => writeFile(join(root, 'text.js'), `export const text = '${words}'\n`)
  await Promise.all([
    writeFile(join(root, 'index.html'), PAGE),
    writeFile(join(root, 'main.js'), MAIN),
    text('as it was'),
  ])
  const vite = await createServer({
    root,
    configFile: false,
    logLevel: 'error',
    // The client of this checkout, as if it were installed.
    resolve: { alias: { 'sidegate/browser': CLIENT } },
    server: { host: '127.0.0.1', port: 0, fs: { allow: [root, dirname(CLIENT)] } },
  })
  await vite.listen()
  onTestFinished(() => vite.close())
  const address = vite.resolvedUrls?.local[0] ?? expect.unreachable('it listens')

  await using world = await startWorld({
    config: { routes: [{ path: '/', spa: { devServer: new URL(address).origin }, session: 'none' }] },
  })
  const chromium = await launchChromium()
  onTestFinished(() => chromium.close())
  const page = await chromium.newPage()

  await page.goto(`${world.url}/bff/login?returnTo=${encodeURIComponent('/orders/42#lines')}`)
  await page.getByRole('button', { name: 'Alice' }).click()
  await page.getByText('Alice Liddell').waitFor()
  await page.getByText('as it was').waitFor()
  expect(page.url()).toBe(`${world.url}/orders/42#lines`)

  await page.evaluate('window.isTheSamePage = true')
  await text('as it is now')
  await page.getByText('as it is now').waitFor()
  expect(await page.evaluate('window.isTheSamePage')).toBe(true)
  expect(await world.metric('sidegate_open_streams{kind="websocket"}')).toBe(1)
})

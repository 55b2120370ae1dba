/** WebKitGTK's MiniBrowser, by WebDriver (https://www.w3.org/TR/webdriver2/) and a display that nobody sees. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { globSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findProgram } from '../../scripts/test-tools.mjs'
import type { DrivenBrowser, DrivenTab } from './driven-browser.ts'
import { freePort } from './free-port.ts'

const driverPath = findProgram(['WebKitWebDriver'])
const displayPath = findProgram(['Xvfb'])
const [browserPath] = globSync('/usr/lib/*/webkit2gtk-4*/MiniBrowser')

/** Whether all three parts are on this machine (Debian: `webkit2gtk-driver`, `xvfb`). */
export const hasWebkit = driverPath !== undefined && displayPath !== undefined && browserPath !== undefined

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'

export async function launchWebkit(): Promise<DrivenBrowser> {
  const home = await mkdtemp(join(tmpdir(), 'sidegate-webkit-'))
  const display = spawn(displayPath ?? 'Xvfb', ['-displayfd', '3', '-screen', '0', '1280x900x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const processes: ChildProcess[] = [display]
  const close = async (): Promise<void> => {
    for (const one of processes.toReversed()) {
      const exited = once(one, 'exit')
      one.kill('SIGTERM')
      await exited
    }
    await rm(home, { recursive: true, force: true, maxRetries: 20 })
  }
  try {
    const [number] = (await once(display.stdio[3] as NodeJS.ReadableStream, 'data')) as [Buffer] // a pipe, as asked
    const port = await freePort()
    const driver = spawn(driverPath ?? 'WebKitWebDriver', ['-p', String(port)], {
      stdio: 'ignore',
      env: {
        ...process.env,
        HOME: home,
        XDG_RUNTIME_DIR: home,
        DISPLAY: `:${number.toString().trim()}`,
        // Its sandbox needs namespaces, which containers and root do not have.
        WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1',
        LIBGL_ALWAYS_SOFTWARE: '1',
        WEBKIT_DISABLE_COMPOSITING_MODE: '1',
        GTK_A11Y: 'none',
        NO_AT_BRIDGE: '1',
      },
    })
    processes.push(driver)
    const session = await Session.begin(`http://127.0.0.1:${port}`)
    const end = async (): Promise<void> => {
      try {
        await session.end()
      } finally {
        await close()
      }
    }
    return { ...driven(session), [Symbol.asyncDispose]: end }
  } catch (error) {
    await close()
    throw error
  }
}

function driven(session: Session): Omit<DrivenBrowser, typeof Symbol.asyncDispose> {
  const tabOf = (handle: string): DrivenTab => {
    const here = async (method: string, path: string, body?: object): Promise<unknown> => {
      await session.send('POST', '/window', { handle })
      return session.send(method, path, body)
    }
    return {
      goto: async (url) => void (await here('POST', '/url', { url })),
      read: async (expression) => {
        const script = `const done = arguments[0]; Promise.resolve(${expression}).then((value) => done(JSON.stringify(value)), (error) => done(JSON.stringify(String(error))))`
        const value = await here('POST', '/execute/async', { script, args: [] })
        return typeof value === 'string' ? JSON.parse(value) : undefined
      },
      press: async (selector) => {
        // WebDriver §12.3: an element is an object with this one member.
        const found = (await here('POST', '/element', { using: 'css selector', value: selector })) as Record<
          string,
          string
        >
        await session.send('POST', `/element/${found[ELEMENT]}/click`, {})
      },
    }
  }
  const tabs = async (): Promise<DrivenTab[]> => ((await session.send('GET', '/window/handles')) as string[]).map(tabOf) // WebDriver §11.4
  return {
    tab: tabOf(session.firstWindow),
    tabs,
    async cookies() {
      await session.send('POST', '/window', { handle: session.firstWindow })
      return (await session.send('GET', '/cookie')) as Awaited<ReturnType<DrivenBrowser['cookies']>> // §14.1
    },
  }
}

/** One WebDriver session over HTTP. */
class Session {
  readonly #url: string
  readonly firstWindow: string

  constructor(url: string, firstWindow: string) {
    this.#url = url
    this.firstWindow = firstWindow
  }

  static async begin(driverUrl: string): Promise<Session> {
    const browser = { binary: browserPath, args: ['--automation'] }
    const capabilities = { alwaysMatch: { 'webkitgtk:browserOptions': browser } }
    for (let attempt = 0; ; attempt += 1) {
      try {
        const { sessionId } = (await call('POST', `${driverUrl}/session`, { capabilities })) as { sessionId: string }
        const url = `${driverUrl}/session/${sessionId}`
        return new Session(url, String(await call('GET', `${url}/window`)))
      } catch (error) {
        // Not listening yet.
        if (attempt > 100 || !(error instanceof TypeError)) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  send(method: string, path: string, body?: object): Promise<unknown> {
    return call(method, this.#url + path, body)
  }

  async end(): Promise<void> {
    await call('DELETE', this.#url)
  }
}

async function call(method: string, url: string, body?: object): Promise<unknown> {
  const response = await fetch(url, { method, ...(body && { body: JSON.stringify(body) }) })
  const { value } = (await response.json()) as { value: unknown } // WebDriver §6.3
  if (!response.ok) throw new Error(`${method} ${new URL(url).pathname}: ${JSON.stringify(value).slice(0, 300)}`)
  return value
}

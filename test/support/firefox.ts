/** Debian's Firefox, by the WebDriver BiDi that it speaks itself (https://w3c.github.io/webdriver-bidi/). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import { findProgram } from '../../scripts/test-tools.mjs'
import type { DrivenBrowser, DrivenTab } from './driven-browser.ts'

export const firefoxPath = findProgram(['firefox-esr', 'firefox'])

type Result = Record<string, unknown>

/** Starts a headless Firefox with a fresh profile. */
export async function launchFirefox(): Promise<DrivenBrowser> {
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-firefox-'))
  const child = spawn(
    firefoxPath ?? 'firefox-esr',
    ['--headless', '--no-remote', '--profile', directory, '--remote-debugging-port', '0', 'about:blank'],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: directory } },
  )
  const exited = once(child, 'exit')
  const close = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
    await rm(directory, { recursive: true, force: true, maxRetries: 20 })
  }
  try {
    const bidi = await Bidi.connect(`${await addressOf(child.stderr)}/session`)
    await bidi.send('session.new', { capabilities: {} })
    return await driven(bidi, close)
  } catch (error) {
    await close()
    throw error
  }
}

async function addressOf(stderr: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: stderr })) {
    const address = /WebDriver BiDi listening on (ws:\S+)/.exec(line)?.[1]
    if (address) return address
  }
  throw new Error('Firefox did not say where it listens')
}

async function driven(bidi: Bidi, close: () => Promise<void>): Promise<DrivenBrowser> {
  const tabs = async (): Promise<DrivenTab[]> => {
    const { contexts } = await bidi.send('browsingContext.getTree', { maxDepth: 0 })
    // BiDi §7.3.3.5: each has the id of its context.
    return (contexts as { context: string }[]).map(({ context }) => tabOf(bidi, context))
  }
  const [tab] = await tabs()
  if (!tab) throw new Error('Firefox has no window')
  return {
    tab,
    tabs,
    async cookies() {
      const origin = String(await tab.read('location.hostname'))
      const { cookies } = await bidi.send('storage.getCookies', { filter: { domain: origin } })
      return cookies as Awaited<ReturnType<DrivenBrowser['cookies']>> // BiDi §7.8.1.1
    },
    [Symbol.asyncDispose]: close,
  }
}

function tabOf(bidi: Bidi, context: string): DrivenTab {
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result, exceptionDetails } = await bidi.send('script.evaluate', {
      expression: `Promise.resolve(${expression}).then((value) => JSON.stringify(value))`,
      target: { context },
      awaitPromise: true,
      userActivation: true,
    })
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails).slice(0, 300))
    const { value } = result as { value?: string } // a text, or `undefined` has no JSON
    return value === undefined ? undefined : JSON.parse(value)
  }
  return {
    goto: async (url) => void (await bidi.send('browsingContext.navigate', { context, url, wait: 'complete' })),
    read: evaluate,
    press: async (selector) => void (await evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`)),
  }
}

/** One connection: commands by number, events unread. */
/** An answer of the browser; who asked knows what the result is. */
interface BidiAnswer {
  readonly id: number
  readonly result: unknown
  readonly error: string
  readonly message: string
}

class Bidi {
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, PromiseWithResolvers<Result>>()
  #next = 0

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => {
      // BiDi §4.2: answers have the id of their command.
      const { id, result, error, message } = JSON.parse(data.toString()) as Partial<BidiAnswer>
      const waiting = this.#waiting.get(Number(id))
      this.#waiting.delete(Number(id))
      if (error === undefined) waiting?.resolve(result as Result)
      else waiting?.reject(new Error(`${error}: ${message ?? ''}`))
    })
  }

  static async connect(url: string): Promise<Bidi> {
    const socket = new WebSocket(url)
    await once(socket, 'open')
    return new Bidi(socket)
  }

  send(method: string, params: Result): Promise<Result> {
    this.#next += 1
    const waiting = Promise.withResolvers<Result>()
    this.#waiting.set(this.#next, waiting)
    this.#socket.send(JSON.stringify({ id: this.#next, method, params }))
    return waiting.promise
  }
}

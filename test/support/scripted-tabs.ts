/**
 * Tabs of one browser in which the served client runs, on a clock that does not wait and against answers that a test
 * makes up. What a browser would do with a page (leave, come back, open a window) is counted, and done at once.
 */
import { createContext, Script } from 'node:vm'
import { loadClientModule } from '../../src/commands/client-module.ts'

const ORIGIN = 'https://app.test'
/** What one moment may lead to: far more than a handful of tabs have to tell each other. */
const MOST_HOPS = 500

export interface ScriptedAnswer {
  readonly status: number
  readonly code?: string
  /** The body as JSON; what is no JSON is `undefined`. */
  readonly body?: unknown
  /** No answer at all. */
  readonly isLost?: boolean
}

export interface ScriptedEvent {
  readonly type: string
  readonly data: unknown
}

/** What the network does, asked anew each time. */
export interface ScriptedNetwork {
  answer(path: string): ScriptedAnswer
  /** The events of a stream as it opens; `undefined` refuses it. */
  stream(): readonly ScriptedEvent[] | undefined
}

/** What an application does with the client, each time its page is loaded. */
export type Application = (client: ScriptedClient, clock: VirtualClock) => void

export interface ScriptedClient {
  onChange(listener: () => void): () => void
  fetch(path: string): Promise<{ status: number }>
}

/** Timers in the order of their time. */
export class VirtualClock {
  now = Date.UTC(2026, 0, 1)
  #hops = 0
  readonly #timers = new Map<number, { at: number; run: () => void; everyMs: number | undefined }>()
  #next = 0

  setTimer(run: () => void, delayMs = 0, everyMs?: number): number {
    this.#next += 1
    this.#timers.set(this.#next, { at: this.now + delayMs, run, everyMs })
    return this.#next
  }

  clear(id: number): void {
    this.#timers.delete(id)
  }

  /** Runs what takes no time on this clock, but is not at once either: a message, an answer. */
  soon(run: () => void): void {
    this.#hops += 1
    setImmediate(() => {
      this.#hops -= 1
      run()
    })
  }

  /** Waits until all that follows from one moment has happened. Throws when that has no end. */
  async #rest(): Promise<void> {
    for (let left = MOST_HOPS; left > 0; left -= 1) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#hops === 0) return
    }
    throw new Error('it never comes to rest: there is a loop')
  }

  /** Runs everything that is due until then, and what comes of it. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms
    for (let atOnce = 0; ; atOnce += 1) {
      await this.#rest()
      const [id, timer] = [...this.#timers].toSorted(([, a], [, b]) => a.at - b.at)[0] ?? []
      if (id === undefined || !timer || timer.at > end) break
      if (timer.at > this.now) atOnce = 0
      else if (atOnce > MOST_HOPS) throw new Error('time stands still: there is a loop')
      this.now = timer.at
      if (timer.everyMs === undefined) this.#timers.delete(id)
      else timer.at += timer.everyMs
      timer.run()
    }
    this.now = end
  }
}

export class ScriptedBrowser {
  readonly clock = new VirtualClock()
  /** When a sign-in was begun, by redirect or popup; by tab. */
  readonly signIns: number[][] = []
  /** Paths that were asked for, all tabs together; a stream counts as its path. */
  readonly asked: string[] = []
  readonly #network: ScriptedNetwork
  readonly #channels = new Set<{ owner: object; hear: (data: unknown) => void }>()
  /** The first holds the lock. */
  #locks: { tab: object; lead: () => Promise<void> }[] = []

  constructor(network: ScriptedNetwork) {
    this.#network = network
  }

  /** Opens a tab; `options` are the client's. */
  async open(options: object, application: Application): Promise<void> {
    const text = (await loadClientModule())
      .replace(/^export /m, '')
      .replace('import.meta.url', `'${ORIGIN}/bff/client.js'`)
    const script = new Script(`${text}\ncreateClient(options)`)
    const index = this.signIns.push([]) - 1
    const storage = new Map<string, string>()
    const load = () => {
      let isGone = false
      const leave = () => {
        this.signIns[index]?.push(this.clock.now)
        if (isGone) return
        isGone = true
        this.#release(tab)
        // Back from the sign-in a moment later, in a page that knows nothing but its storage.
        this.clock.setTimer(load, 1_000)
      }
      const tab = { storage, leave, isGone: () => isGone, index }
      const page = createContext({ ...this.#globals(tab), options })
      application(script.runInContext(page) as ScriptedClient, this.clock) // a `Client`
    }
    load()
  }

  #globals(tab: { storage: Map<string, string>; leave: () => void; isGone: () => boolean; index: number }): object {
    const { clock } = this
    /** A page that has been left runs no more of its script. */
    const alive =
      <Arguments extends unknown[]>(run: (...args: Arguments) => void) =>
      (...args: Arguments) => {
        if (!tab.isGone()) run(...args)
      }
    const windowObject = { BroadcastChannel: true }
    return {
      window: windowObject,
      URL,
      AbortController,
      JSON,
      location: { href: `${ORIGIN}/page#here`, origin: ORIGIN, assign: tab.leave, reload: tab.leave },
      document: { visibilityState: 'visible', hasFocus: () => true, addEventListener: () => {} },
      addEventListener: () => {},
      queueMicrotask,
      Date: { now: () => clock.now },
      setTimeout: (run: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) =>
        clock.setTimer(
          alive(() => run(...args)),
          ms,
        ),
      setInterval: (run: () => void, ms: number) => clock.setTimer(alive(run), ms, ms),
      clearInterval: (id: number) => clock.clear(id),
      sessionStorage: {
        getItem: (key: string) => tab.storage.get(key) ?? null,
        setItem: (key: string, value: string) => tab.storage.set(key, value),
      },
      // A window that the visitor closes after a while.
      open: () => {
        this.signIns[tab.index]?.push(clock.now)
        const popup = { closed: false }
        clock.setTimer(() => (popup.closed = true), 5_000)
        return popup
      },
      navigator: {
        locks: {
          request: (_name: string, _options: object, lead: () => Promise<void>) =>
            new Promise<never>(() => {
              if (this.#locks.push({ tab, lead }) === 1) void lead()
            }),
        },
      },
      BroadcastChannel: this.#channel(alive),
      EventSource: this.#eventSource(alive),
      Request: ScriptedRequest,
      fetch: (input: string | ScriptedRequest) => this.#fetch(typeof input === 'string' ? input : input.url),
    }
  }

  /** A page that is left gives its lock to the next. */
  #release(tab: object): void {
    const [holder] = this.#locks
    this.#locks = this.#locks.filter((one) => one.tab !== tab)
    const [next] = this.#locks
    if (next && next !== holder) void next.lead()
  }

  #channel(alive: (run: (event: { data: unknown }) => void) => (event: { data: unknown }) => void): unknown {
    const channels = this.#channels
    const soon = this.clock.soon.bind(this.clock)
    return class {
      addEventListener(_type: string, hear: (event: { data: unknown }) => void): void {
        const heard = alive(hear)
        channels.add({ owner: this, hear: (data) => heard({ data }) })
      }
      postMessage(data: unknown): void {
        for (const { owner, hear } of channels) if (owner !== this) soon(() => hear(data))
      }
    }
  }

  #eventSource(alive: (run: (event: { data: string }) => void) => (event: { data: string }) => void): unknown {
    const soon = this.clock.soon.bind(this.clock)
    const open = () => {
      this.asked.push('/bff/session/events')
      return this.#network.stream()
    }
    return class {
      static readonly CLOSED = 2
      static readonly OPEN = 1
      readyState = 0
      readonly #listeners: { type: string; hear: (event: { data: string }) => void }[] = []
      constructor() {
        soon(() => {
          const events = open()
          this.readyState = events ? 1 : 2
          if (!events) this.#tell('error', undefined)
          for (const { type, data } of events ?? []) this.#tell(type, data)
        })
      }
      addEventListener(type: string, hear: (event: { data: string }) => void): void {
        this.#listeners.push({ type, hear: alive(hear) })
      }
      close(): void {
        this.readyState = 2
      }
      #tell(type: string, data: unknown): void {
        if (this.readyState === 2 && type !== 'error') return
        for (const one of this.#listeners) if (one.type === type) one.hear({ data: JSON.stringify(data) })
      }
    }
  }

  async #fetch(input: string): Promise<object> {
    const path = new URL(input, ORIGIN).pathname
    this.asked.push(path)
    await new Promise<void>((resolve) => this.clock.soon(resolve))
    const { status, code, body, isLost } = this.#network.answer(path)
    if (isLost) throw new TypeError('Failed to fetch')
    const response = {
      ok: status >= 200 && status < 300,
      status,
      headers: { get: () => code ?? null },
      json: () => (body === undefined ? Promise.reject(new SyntaxError('no JSON')) : Promise.resolve(body)),
      clone: () => response,
    }
    return response
  }
}

class ScriptedRequest {
  readonly url: string
  readonly headers = { set: () => {} }
  constructor(input: string | ScriptedRequest) {
    this.url = new URL(typeof input === 'string' ? input : input.url, ORIGIN).href
  }
  clone(): ScriptedRequest {
    return new ScriptedRequest(this)
  }
}

/**
 * What really went over the wires of the demo: every request to the gateway, the authorization server and the API, as
 * Node itself reports them (`node:diagnostics_channel`). Nobody has to be asked, and nothing is made up.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'

const MOST_ENTRIES = 1_000

export type Party = 'browser' | 'gateway' | 'provider' | 'api'

/** One request and how it was answered. No query and no body: codes and tokens are in those. */
export interface Step {
  readonly from: Party
  readonly to: Party
  readonly method: string
  readonly path: string
  readonly status: number
  /** At the token endpoint (RFC 6749 §4.1.3, §6). */
  readonly grantType?: string
}

interface Entry extends Step {
  readonly startedAt: number
  readonly endedAt: number
  /** Whole, to follow a browser from one redirect to the next; never shown. */
  readonly url: string
  readonly location: string | undefined
  readonly code: string | undefined
}

/** Where the three listen. */
export interface JournalOptions {
  readonly gateway: URL
  readonly provider: URL
  readonly api: URL
  /** Of the gateway's own endpoints. */
  readonly basePath: string
}

interface Finished {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** Keeps the last thousand requests of this process; watches from `start` to `close`. */
export class Journal {
  readonly #options: JournalOptions
  readonly #parties: ReadonlyMap<string, Exclude<Party, 'browser'>>
  readonly #startedAt = new WeakMap<IncomingMessage, number>()
  readonly #grants = new WeakMap<IncomingMessage, { type: string; code: string | undefined }>()
  #entries: Entry[] = []
  #refreshes = 0

  constructor(options: JournalOptions) {
    this.#options = options
    this.#parties = new Map([
      [options.gateway.port, 'gateway'],
      [options.provider.port, 'provider'],
      [options.api.port, 'api'],
    ])
  }

  start(): void {
    subscribe('http.server.request.start', this.#begin)
    subscribe('http.server.response.finish', this.#end)
  }

  close(): void {
    unsubscribe('http.server.request.start', this.#begin)
    unsubscribe('http.server.response.finish', this.#end)
  }

  /** How many refresh grants have succeeded since the start. */
  get refreshes(): number {
    return this.#refreshes
  }

  /** The body of a token request, which only the authorization server reads. */
  noteGrant(request: IncomingMessage, type: string, code: string | undefined): void {
    this.#grants.set(request, { type, code })
  }

  /** The last sign-in that succeeded, from the browser's first request to the page that knows who is signed in. */
  lastLogin(): Step[] {
    const { basePath } = this.#options
    const callback = this.#entries.findLast(
      ({ to, path, status }) => to === 'gateway' && path === `${basePath}/callback` && status === 303,
    )
    if (!callback) return []
    const way = this.#wayTo(callback)
    const [login = callback] = way
    const behind = [...this.#during(login), ...this.#during(callback)]
    const after = this.#entries.filter(({ startedAt, from }) => from === 'browser' && startedAt >= callback.endedAt)
    const page = after.find(({ url }) => url === callback.location)
    const isSession = ({ path, status }: Entry) => path === `${basePath}/session` && status === 200
    const session = page && after.find((one) => one.startedAt > page.startedAt && isSession(one))
    return [...way, ...behind, ...(page ? [page] : []), ...(session ? [session] : [])]
      .toSorted((a, b) => a.startedAt - b.startedAt)
      .map(({ from, to, method, path, status, grantType }) => ({
        from,
        to,
        method,
        path,
        status,
        ...(grantType !== undefined && { grantType }),
      }))
  }

  /** Back from a request to the redirect that led to it, or to the page whose form was sent, and so on. */
  #wayTo(last: Entry): Entry[] {
    const way = [last]
    for (let entry = this.#before(last); entry; entry = this.#before(entry)) way.unshift(entry)
    return way
  }

  #before({ url, method, startedAt }: Entry): Entry | undefined {
    return this.#entries.findLast(
      (one) =>
        one.from === 'browser' &&
        one.startedAt < startedAt &&
        (one.location === url || (method === 'POST' && one.method === 'GET' && one.url === url)),
    )
  }

  /** What the gateway asked the authorization server for meanwhile: each thing once, and only this login's code. */
  #during({ startedAt, endedAt, code }: Entry): Entry[] {
    const asked = this.#entries.filter(
      (one) =>
        one.from === 'gateway' &&
        one.to === 'provider' &&
        one.startedAt >= startedAt &&
        one.endedAt <= endedAt &&
        (one.code === undefined || one.code === code),
    )
    return [...new Map(asked.map((one) => [one.path, one])).values()]
  }

  readonly #begin = (message: unknown): void => {
    const { request } = message as Finished // as Node documents both channels
    this.#startedAt.set(request, performance.now())
  }

  readonly #end = (message: unknown): void => {
    const { request, response } = message as Finished
    const to = this.#parties.get(String(request.socket.localPort))
    if (!to) return
    const base = { gateway: this.#options.gateway, provider: this.#options.provider, api: this.#options.api }[to].href
    const url = URL.parse(request.url ?? '', base)
    if (!url) return
    const grant = this.#grants.get(request)
    const location = locationOf(response)
    if (grant?.type === 'refresh_token' && response.statusCode === 200) this.#refreshes += 1
    this.#entries.push({
      from: this.#senderOf(request, to),
      to,
      method: request.method ?? '',
      path: url.pathname,
      status: response.statusCode,
      ...(grant && { grantType: grant.type }),
      startedAt: this.#startedAt.get(request) ?? performance.now(),
      endedAt: performance.now(),
      url: url.href,
      // No browser sends the fragment.
      location: location === undefined ? undefined : URL.parse(location, base)?.href.split('#', 1)[0],
      code: grant?.code ?? url.searchParams.get('code') ?? undefined,
    })
    this.#entries = this.#entries.slice(-MOST_ENTRIES)
  }

  /** Browsers say what kind of request it is (Fetch Metadata); servers do not. */
  #senderOf({ headers, url }: IncomingMessage, to: Party): Party {
    if (headers['sec-fetch-mode'] !== undefined && headers.via === undefined) return 'browser'
    if (to === 'gateway') return url === `${this.#options.basePath}/backchannel-logout` ? 'provider' : 'api'
    if (to === 'provider') return headers['user-agent']?.startsWith('demo-api') ? 'api' : 'gateway'
    return 'gateway'
  }
}

/** From the head as it was written: fields that are given to `writeHead` alone are not among `getHeaders()`. */
function locationOf(response: ServerResponse): string | undefined {
  const { _header: head } = response as ServerResponse & { _header?: unknown } // where Node has it in all versions
  return typeof head === 'string' ? /^location: (.*)\r$/im.exec(head)?.[1] : undefined
}

/**
 * A scripted browser over real HTTP: cookies, redirects, forms, and the `Sec-Fetch-*`, `Origin` and `Accept` fields
 * that Chromium sends. `test/integration/browser-fidelity.test.ts` compares it with the real one.
 */
import { Agent, request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { CookieJar, isTrustworthy } from './cookie-jar.ts'
import type { SiteContext } from './cookie-jar.ts'
import { readForms, readLinks, submitsItself } from './page-forms.ts'
import type { Form } from './page-forms.ts'

const NAVIGATION_ACCEPT =
  'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7'
const USER_AGENT =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36'
const MAX_REDIRECTS = 20

export type FetchSite = 'none' | 'same-origin' | 'same-site' | 'cross-site'

/** One request and its answer. */
export interface Hop {
  readonly method: string
  readonly url: string
  readonly sent: Readonly<Record<string, string>>
  readonly status: number
  readonly headers: IncomingHttpHeaders
}

/** What a request came to. `hops` holds every redirect on the way, the last answer included. */
export interface Answer {
  readonly url: string
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly hops: readonly Hop[]
  /** The body as JSON. */
  json(): unknown
  /** A text member of the JSON body. */
  member(name: string): string
}

export interface NavigateOptions {
  /**
   * What caused the navigation: the page in the tab (the default, once there is one), the address bar (the text
   * `none`), or a page of that address.
   */
  readonly from?: URL | string
  readonly method?: string
  readonly form?: URLSearchParams
  /** `false` stops at the first redirect. */
  readonly follow?: boolean
  /** Stops before a request to an address that begins so; the answer is then the redirect that leads there. */
  readonly stopBefore?: string
  /** A frame instead of the whole tab. */
  readonly frame?: boolean
}

export interface FetchOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly mode?: 'cors' | 'no-cors'
  /** As in `fetch`: cookies go to other origins only with `include`. */
  readonly credentials?: 'same-origin' | 'include'
  /** The page that calls; the one in the tab unless given. */
  readonly from?: URL | string
  readonly signal?: AbortSignal
}

/** One browser profile: a cookie jar that all its tabs share. */
export class Browser implements Disposable {
  readonly jar: CookieJar
  readonly #agent = new Agent({ keepAlive: true })
  /** Every request of every tab, in order. */
  readonly hops: Hop[] = []
  /** Which server takes a request to this origin; the origin itself, unless there is a load balancer in between. */
  connectTo: (origin: string) => string = (origin) => origin
  /** The way back: an answer reaches the browser, cookies and all, when this has resolved. */
  network: (request: { readonly method: string; readonly url: URL }) => Promise<void> = () => Promise.resolve()

  constructor(options: { now?: () => number } = {}) {
    this.jar = new CookieJar(options.now ?? Date.now)
  }

  newTab(): Tab {
    return new Tab(this)
  }

  /** @internal one request without redirects; the caller decides on fields and on the cookies' context (none: no cookies) */
  async send(
    method: string,
    url: URL,
    headers: Record<string, string>,
    context: { send: SiteContext; set: SiteContext } | undefined,
    body?: string,
    signal?: AbortSignal,
  ): Promise<Hop & { text: string }> {
    const cookie = context && this.jar.header(url, context.send)
    const sent: Record<string, string> = {
      host: url.host,
      'user-agent': USER_AGENT,
      ...headers,
      ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
      ...(cookie === undefined ? {} : { cookie }),
    }
    const answer = await new Promise<{ status: number; headers: IncomingHttpHeaders; text: string }>(
      (resolve, reject) => {
        const { hostname: host, port } = new URL(this.connectTo(url.origin))
        const path = url.pathname + url.search
        const options = { host, port, path, method, headers: sent, agent: this.#agent, ...(signal ? { signal } : {}) }
        const request = httpRequest(options, (response) => {
          let text = ''
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
          response.on('error', reject)
          response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
        })
        request.on('error', reject).end(body)
      },
    )
    await this.network({ method, url })
    for (const field of (context && answer.headers['set-cookie']) ?? [])
      this.jar.set(field, url, context?.set ?? 'strict')
    const hop: Hop = { method, url: url.href, sent, status: answer.status, headers: answer.headers }
    this.hops.push(hop)
    return { ...hop, text: answer.text }
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
}

/** One tab: shows a page, from which links, forms and script go on. */
export class Tab {
  readonly #browser: Browser
  readonly #history: string[] = []
  #page: Answer | undefined

  constructor(browser: Browser) {
    this.#browser = browser
  }

  /** What the tab shows. */
  get page(): Answer {
    if (!this.#page) throw new Error('the tab is empty')
    return this.#page
  }

  /** Follows a link, or types an address where the tab is empty or `from` is `none`. */
  async navigate(target: URL | string, options: NavigateOptions = {}): Promise<Answer> {
    const initiator = this.#initiator(options.from)
    const hops: Hop[] = []
    let method = options.method ?? 'GET'
    let url = new URL(target, this.#page?.url)
    let body = options.form?.toString()
    let worst: FetchSite = initiator ? siteOf(initiator, url) : 'none'
    let originTainted = false
    const noReferrer = this.#page?.headers['referrer-policy'] === 'no-referrer'

    for (let left = MAX_REDIRECTS; ; left -= 1) {
      const site = initiator ? siteOf(initiator, url) : 'none'
      worst = worse(worst, site)
      // Cookies go by who caused the navigation; `Sec-Fetch-Site` by every address on the way (Fetch Metadata §2.3).
      const sameSite = site !== 'cross-site'
      const safe = method === 'GET' || method === 'HEAD'
      const framed = options.frame === true
      const send: SiteContext = sameSite ? 'strict' : framed ? 'third-party' : safe ? 'lax' : 'lax-unsafe'
      const headers: Record<string, string> = {
        accept: NAVIGATION_ACCEPT,
        'upgrade-insecure-requests': '1',
        ...(isTrustworthy(url)
          ? {
              'sec-fetch-site': worst,
              'sec-fetch-mode': 'navigate',
              'sec-fetch-dest': framed ? 'iframe' : 'document',
              ...(framed ? {} : { 'sec-fetch-user': '?1' }),
            }
          : {}),
        ...(!safe && initiator ? { origin: noReferrer || originTainted ? 'null' : initiator.origin } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      }
      const context = { send, set: framed && !sameSite ? 'third-party' : 'strict' } as const
      const { text, ...hop } = await this.#browser.send(method, url, headers, context, body)
      hops.push(hop)

      const location = hop.headers.location
      const next = isRedirect(hop.status) && location !== undefined ? new URL(location, url) : undefined
      const stop =
        !next ||
        options.follow === false ||
        (options.stopBefore !== undefined && next.href.startsWith(options.stopBefore))
      if (stop || left === 0) return this.#show(answer(url, hop, text, hops), framed)
      if (initiator && url.origin !== initiator.origin && url.origin !== next.origin) originTainted = true
      if (hop.status === 303 || (method === 'POST' && hop.status < 303)) {
        method = 'GET'
        body = undefined
      }
      next.hash ||= url.hash
      url = next
    }
  }

  /** Sends a form of the page, as if the button of that value, or the only one, was pressed. */
  async submit(button?: string, options: NavigateOptions = {}): Promise<Answer> {
    const { form, pressed } = this.#formWith(button)
    const fields = new URLSearchParams(form.fields.map(([name, value]): [string, string] => [name, value]))
    if (pressed?.name) fields.append(pressed.name, pressed.value)
    const action = new URL(form.action || this.page.url, this.page.url)
    if (form.method === 'POST') return this.navigate(action, { method: 'POST', form: fields, ...options })
    action.search = fields.toString()
    return this.navigate(action, options)
  }

  /** Lets the page's own script send its form, as many times in a row as pages do so. */
  async settle(): Promise<Answer> {
    for (let left = 3; left > 0 && submitsItself(this.page.text); left -= 1)
      await this.submit(firstButton(readForms(this.page.text)))
    return this.page
  }

  /** Follows the page's first link to an address that begins so. */
  async click(prefix: string, options: NavigateOptions = {}): Promise<Answer> {
    const link = readLinks(this.page.text).find((href) =>
      new URL(href, this.page.url).href.startsWith(new URL(prefix, this.page.url).href),
    )
    if (link === undefined) throw new Error(`no link to ${prefix} on ${this.page.url}`)
    return this.navigate(link, options)
  }

  /** Loads the address again, as the reload button does. */
  async reload(options: NavigateOptions = {}): Promise<Answer> {
    // A reload keeps the initiator of the page's first load out of it: Chromium sends `same-origin` cookies again.
    return this.navigate(this.page.url, { from: this.page.url, ...options })
  }

  /** Loads the address before this one again. */
  async back(): Promise<Answer> {
    this.#history.pop()
    const url = this.#history.at(-1)
    if (url === undefined) throw new Error('there is nothing to go back to')
    return this.navigate(url, { from: url })
  }

  /** What the page's script gets from `fetch`. Redirects are followed, as far as the origin stays the same. */
  async fetch(target: URL | string, options: FetchOptions = {}): Promise<Answer> {
    const initiator = new URL(options.from ?? this.page.url)
    const hops: Hop[] = []
    let method = options.method ?? 'GET'
    let url = new URL(target, initiator)
    let body = options.body
    let worst = siteOf(initiator, url)

    for (let left = MAX_REDIRECTS; ; left -= 1) {
      const site = siteOf(initiator, url)
      worst = worse(worst, site)
      const safe = method === 'GET' || method === 'HEAD'
      const context: SiteContext = site === 'cross-site' ? 'third-party' : 'strict'
      const crossOrigin = url.origin !== initiator.origin
      const headers: Record<string, string> = {
        accept: '*/*',
        ...(isTrustworthy(url)
          ? { 'sec-fetch-site': worst, 'sec-fetch-mode': options.mode ?? 'cors', 'sec-fetch-dest': 'empty' }
          : {}),
        ...(!safe || (crossOrigin && options.mode !== 'no-cors') ? { origin: initiator.origin } : {}),
        ...(body === undefined ? {} : { 'content-type': 'text/plain;charset=UTF-8' }),
        ...options.headers,
      }
      const { text, ...hop } = await this.#browser.send(
        method,
        url,
        headers,
        crossOrigin && options.credentials !== 'include' ? undefined : { send: context, set: context },
        body,
        options.signal,
      )
      hops.push(hop)
      const location = hop.headers.location
      if (!isRedirect(hop.status) || location === undefined || left === 0) return answer(url, hop, text, hops)
      url = new URL(location, url)
      if (hop.status === 303 || (method === 'POST' && hop.status < 303)) {
        method = 'GET'
        body = undefined
      }
    }
  }

  #initiator(from: NavigateOptions['from']): URL | undefined {
    if (from === 'none') return undefined
    if (from !== undefined) return new URL(from)
    return this.#page && new URL(this.#page.url)
  }

  #formWith(value: string | undefined): { form: Form; pressed: Form['buttons'][number] | undefined } {
    const forms = readForms(this.page.text)
    for (const form of forms) {
      const pressed = form.buttons.find((button) => button.value === value)
      if (pressed) return { form, pressed }
    }
    const [only] = forms
    if (!only || value !== undefined) throw new Error(`no form with a button ${value} on ${this.page.url}`)
    return { form: only, pressed: undefined }
  }

  #show(page: Answer, framed: boolean): Answer {
    if (framed) return page
    this.#page = page
    if (this.#history.at(-1) !== page.url) this.#history.push(page.url)
    return page
  }
}

function firstButton(forms: readonly Form[]): string | undefined {
  return forms[0]?.buttons[0]?.value
}

function answer(url: URL, hop: Hop, text: string, hops: readonly Hop[]): Answer {
  return {
    url: url.href,
    status: hop.status,
    headers: hop.headers,
    text,
    hops,
    json: () => JSON.parse(text),
    member: (name) => {
      const body: unknown = JSON.parse(text)
      const value =
        typeof body === 'object' && body !== null ? Object.entries(body).find(([key]) => key === name)?.[1] : undefined
      if (typeof value !== 'string') throw new Error(`no text member ${name} in ${text.slice(0, 200)}`)
      return value
    },
  }
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

/** The site relation of two addresses; a site is scheme and registrable domain, here: the host, since ports do not count. */
function siteOf(initiator: URL, target: URL): FetchSite {
  if (initiator.origin === target.origin) return 'same-origin'
  return initiator.protocol === target.protocol && initiator.hostname === target.hostname ? 'same-site' : 'cross-site'
}

function worse(a: FetchSite, b: FetchSite): FetchSite {
  const order: readonly FetchSite[] = ['none', 'same-origin', 'same-site', 'cross-site']
  // A navigation that nobody's page caused stays `none` through all its redirects.
  return a === 'none' ? a : order[Math.max(order.indexOf(a), order.indexOf(b))]!
}

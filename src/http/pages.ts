/** Our own HTML pages: self-contained, under a strict CSP, with every value escaped. */
import { hash } from 'node:crypto'
import type { Config } from '../config/schema.ts'
import type { FailureCode } from '../errors.ts'
import { pageStyle } from './page-style.ts'
import { SecurityHeaders } from './security-headers.ts'
import { texts } from './texts.ts'

/** A page with the header fields that belong to it. */
export interface Page {
  readonly html: string
  readonly headers: Record<string, string>
}

export interface FailurePageFacts {
  readonly code: FailureCode
  readonly requestId: string
  /** Where "sign in" leads. */
  readonly loginUrl: string
  /** The same address once more, where asking again can help; a path that has been judged. */
  readonly retryUrl: string | undefined
}

interface Action {
  readonly href: string
  readonly label: string
}

/** One provider of several, with the address that begins a login there. */
export interface ProviderChoice {
  readonly name: string
  readonly issuer: string
  readonly loginUrl: string
}

/** One session of the user as the page tells it. */
export interface ShownSession {
  readonly ref: string
  readonly device: string
  readonly createdAt: number
  readonly lastSeenAt: number
  readonly isCurrent: boolean
}

interface Content {
  readonly heading: string
  readonly explanation: string
  readonly mark: keyof typeof marks
  /** Between the explanation and the actions; made of escaped values. */
  readonly body?: string
  readonly actions: readonly Action[]
  /** None of the actions is the one next step. */
  readonly actionsAreLinks?: boolean
  readonly details?: readonly (readonly [term: string, value: string])[]
  readonly script?: string
}

const HOME: Action = { href: '/', label: texts.actions.home }

/** Drawings of 24 by 24, in the colour of their ground. */
const marks = {
  key: '<circle cx="8" cy="15" r="4"/><path d="M10.8 12.2 20 3m-4 4 3 3"/>',
  done: '<path d="m5 12.5 4.5 4.5L19 7.5"/>',
  devices:
    '<rect x="3" y="5" width="13" height="10" rx="1.5"/><path d="M7 19h5m-2.5-4v4"/><rect x="17" y="9" width="5" height="10" rx="1.2"/>',
  alert: '<path d="M12 7v6m0 4v.01"/><circle cx="12" cy="12" r="9.5"/>',
} as const

/** Tells the tabs of this origin, and closes the popup in which the sign-in took place. */
const SIGNED_IN_SCRIPT = `new BroadcastChannel('sidegate').postMessage({type:'login'});window.close()`

/** Draws the pages of one gateway; made once. */
export class Pages {
  readonly #site: string
  readonly #loginUrl: string
  readonly #security: SecurityHeaders
  readonly #plainHeaders: Readonly<Record<string, string>>

  constructor(config: Pick<Config, 'publicUrl' | 'basePath' | 'headers'>) {
    this.#site = new URL(config.publicUrl).host
    this.#loginUrl = `${config.basePath}/login`
    this.#security = new SecurityHeaders(config)
    this.#plainHeaders = this.#headers()
  }

  /** For a visitor whom another site sent to the login: it goes on only by the visitor's own click (AR-09). */
  signIn(facts: { loginUrl: string }): Page {
    return this.#page({
      ...texts.signIn,
      mark: 'key',
      actions: [{ href: facts.loginUrl, label: texts.actions.signIn }, HOME],
    })
  }

  /** Where several providers are configured and a login names none; it goes on by the visitor's click too. */
  chooseProvider(choices: readonly ProviderChoice[]): Page {
    return this.#page({
      ...texts.chooseProvider,
      mark: 'key',
      body: `<ul class="choices">${choices.map(choiceItem).join('')}</ul>`,
      actions: [],
    })
  }

  /** The user's own sessions, with a form for each end. */
  sessions(facts: { sessions: readonly ShownSession[]; action: string; logoutUrl: string; now: number }): Page {
    const { sessions, action, logoutUrl, now } = facts
    const items = sessions.map((session) => sessionItem(session, { action, logoutUrl, now }))
    const endOthers = `<form method="post" action="${escaped(action)}"><button class="button" name="others" value="true">${texts.sessions.endOthers}</button></form>`
    return this.#page({
      ...texts.sessions,
      mark: 'devices',
      body: `<ul class="sessions">${items.join('')}</ul>${sessions.length > 1 ? endOthers : ''}`,
      actions: [HOME],
      actionsAreLinks: true,
    })
  }

  signedOut(): Page {
    const again = { href: this.#loginUrl, label: texts.actions.signInAgain }
    return this.#page({ ...texts.signedOut, mark: 'done', actions: [again, HOME] })
  }

  /** The last page of a sign-in in a popup. */
  signedIn(): Page {
    const page = this.#page({ ...texts.signedIn, mark: 'done', actions: [HOME], script: SIGNED_IN_SCRIPT })
    // It says nothing that is secret, and a stricter policy would cut the tie to the opener by which it may close itself.
    return { ...page, headers: { ...page.headers, 'cross-origin-opener-policy': 'unsafe-none' } }
  }

  /** One clear next step for each failure; no text of anyone else's, such as `error_description`, is shown (CB-06). */
  failure(facts: FailurePageFacts): Page {
    const { heading, explanation, action } = texts.failures[facts.code]
    const next = { signIn: facts.loginUrl, signInAgain: facts.loginUrl, tryAgain: facts.retryUrl, home: '/' }[action]
    const first = next === undefined ? HOME : { href: next, label: texts.actions[action] }
    return this.#page({
      heading,
      explanation,
      mark: facts.code === 'login_required' ? 'key' : 'alert',
      actions: first.href === HOME.href ? [first] : [first, HOME],
      details: [
        [texts.code, facts.code],
        [texts.reference, facts.requestId],
      ],
    })
  }

  #page(content: Content): Page {
    const headers = content.script === undefined ? this.#plainHeaders : this.#headers(content.script)
    return { html: render(content, this.#site), headers: { ...headers } }
  }

  #headers(script?: string): Record<string, string> {
    return {
      ...this.#security.page({ style: sourceOf(pageStyle), ...(script !== undefined && { script: sourceOf(script) }) }),
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
    }
  }
}

function sourceOf(text: string): string {
  return `'sha256-${hash('sha256', text, 'base64')}'`
}

function render(content: Content, site: string): string {
  const links = content.actions.map(({ href, label }, index) => {
    const look = index === 0 && !content.actionsAreLinks ? 'button' : 'link'
    return `<a class="${look}" href="${escaped(href)}">${escaped(label)}</a>`
  })
  const details = (content.details ?? []).map(
    ([term, value]) => `<div><dt>${escaped(term)}</dt><dd>${escaped(value)}</dd></div>`,
  )
  return `<!doctype html>
<html lang="${texts.language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${escaped(content.heading)} · ${escaped(site)}</title>
<style>${pageStyle}</style>
</head>
<body>
<header>${escaped(site)}</header>
<main>
<div class="mark${content.mark === 'alert' ? ' alert' : ''}" aria-hidden="true"><svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">${marks[content.mark]}</svg></div>
<h1>${escaped(content.heading)}</h1>
<p>${escaped(content.explanation)}</p>
${content.body ?? ''}
${content.actions.length > 0 ? `<div class="actions">${links.join('')}</div>` : ''}
</main>
${details.length > 0 ? `<footer><dl>${details.join('')}</dl></footer>` : ''}
${content.script === undefined ? '' : `<script>${content.script}</script>`}
</body>
</html>
`
}

function choiceItem({ name, issuer, loginUrl }: ProviderChoice): string {
  // Names in a configuration begin as they like; on a button they begin with a capital.
  const label = name.charAt(0).toUpperCase() + name.slice(1)
  return `<li><a class="choice" href="${escaped(loginUrl)}"><span>${escaped(label)}</span><small>${escaped(new URL(issuer).host)}</small></a></li>`
}

function sessionItem(
  { ref, device, createdAt, lastSeenAt, isCurrent }: ShownSession,
  { action, logoutUrl, now }: { action: string; logoutUrl: string; now: number },
): string {
  const { signedIn, lastUsed, current, end } = texts.sessions
  const name = `<strong>${escaped(device)}</strong>`
  const times = `<small>${signedIn} ${timeTag(createdAt, now)}</small><small>${lastUsed} ${timeTag(lastSeenAt, now)}</small>`
  const label = ` aria-label="${escaped(`${end}: ${device}, ${signedIn} ${ago(createdAt, now)}`)}"`
  const ending = isCurrent
    ? `<a class="link" href="${escaped(logoutUrl)}"${label}>${end}</a>`
    : `<form method="post" action="${escaped(action)}"><button class="quiet" name="ref" value="${escaped(ref)}"${label}>${end}</button></form>`
  return `<li><div>${name}${isCurrent ? ` <em>${current}</em>` : ''}${times}</div>${ending}</li>`
}

function timeTag(at: number, now: number): string {
  return `<time datetime="${new Date(at).toISOString()}">${ago(at, now)}</time>`
}

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const

const relative = new Intl.RelativeTimeFormat(texts.language)

/** How long ago, in words: a page without script does not know the visitor's time zone. */
function ago(at: number, now: number): string {
  for (const [unit, length] of UNITS) {
    const count = Math.floor((now - at) / length)
    if (count >= 1) return relative.format(-count, unit)
  }
  return texts.sessions.justNow
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** For text and for attribute values in double quotes. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? '')
}

/** The pages of the demo's authorization server: plain, self-contained, no script that is not pinned by its hash. */
import { createHash } from 'node:crypto'
import type { DemoUser } from './users.ts'

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a404c); --soft: light-dark(#5a6270, #a5adbb); --accent: light-dark(#1d4fd7, #8fb1ff) }
* { box-sizing: border-box }
body { margin: 0; min-height: 100dvh; display: grid; place-items: center; padding: 1.5rem;
  font: 1rem/1.5 system-ui, sans-serif; background: light-dark(#f3f5f9, #14171d); color: light-dark(#171a21, #eceff5) }
main { width: min(26rem, 100%); padding: 2rem; border: 1px solid var(--line); border-radius: 1rem; background: light-dark(#fff, #1c2028) }
h1 { margin: 0 0 .25rem; font-size: 1.4rem; line-height: 1.25; text-wrap: balance }
p { margin: .5rem 0 1.25rem; color: var(--soft) }
form { display: grid; gap: .75rem; margin: 0 }
button { font: inherit; color: inherit; text-align: start; display: grid; grid-template-columns: 2.75rem 1fr; column-gap: .9rem; align-items: center;
  padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .75rem; background: transparent; cursor: pointer }
button:hover { border-color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
button.plain, a.plain { display: block; width: 100%; text-align: center; text-decoration: none; font-weight: 600; padding: .75rem 1rem; border-radius: .75rem;
  border: 1px solid var(--accent); background: var(--accent); color: light-dark(#fff, #10131a) }
button.quiet { display: block; text-align: center; border-color: transparent; color: var(--soft) }
.face { grid-row: span 2; width: 2.75rem; height: 2.75rem; border-radius: 50%; display: grid; place-items: center; font-weight: 600;
  color: #fff; background: #7a3fb0 }
button:nth-of-type(even) .face { background: #0b6e6e }
small { color: var(--soft) }
footer { margin-top: 1.5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .85rem; color: var(--soft) }
`
const SUBMIT = `document.forms[0].requestSubmit(document.querySelector("button"))`

function hash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`
}

/** A whole page and the Content-Security-Policy that goes with it. */
export interface Page {
  readonly html: string
  readonly csp: string
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

function page(title: string, body: string, options: { formTargets?: readonly string[]; script?: string } = {}): Page {
  const script = options.script ? `<script>${options.script}</script>` : ''
  return {
    html: `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title><link rel="icon" href="data:,"><style>${STYLE}</style></head>
<body><main>${body}<footer>This is the demo’s own sign-in service, on another host than the app. It takes no password and keeps nothing.</footer></main>${script}</body></html>
`,
    csp: [
      "default-src 'none'",
      `style-src ${hash(STYLE)}`,
      'img-src data:',
      ...(options.script ? [`script-src ${hash(options.script)}`] : []),
      // Chromium holds the redirects that follow a form against this list too, so the client's origin is on it.
      `form-action ${["'self'", ...(options.formTargets ?? [])].join(' ')}`,
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
  }
}

export interface SignInPageOptions {
  readonly action: string
  readonly client: string
  readonly users: readonly DemoUser[]
  /** The origin to which the client's redirect URI belongs. */
  readonly clientOrigin: string
  /** Said in words when a stronger sign-in than the present one was asked for. */
  readonly stepUp: boolean
}

/** One button for each user; the name of the button that was pressed is the whole sign-in. */
export function signInPage(options: SignInPageOptions): Page {
  const title = options.stepUp ? 'Confirm that it is you' : 'Who are you today?'
  const reason = options.stepUp
    ? `${options.client} asks for a second factor. In this demo a click is enough.`
    : `${options.client} asks you to sign in. Choose a user: one click does it.`
  const buttons = options.users
    .map(
      ({ sub, claims }) =>
        `<button name="user" value="${escape(sub)}"><span class="face" aria-hidden="true">${escape(claims.name.slice(0, 1))}</span>` +
        `<span>${escape(claims.name)}</span><small>${escape(claims.email)}</small></button>`,
    )
    .join('\n')
  return page(
    title,
    `<h1>${title}</h1><p>${escape(reason)}</p>
<form method="post" action="${escape(options.action)}">
${buttons}
<button class="quiet" name="cancel" value="yes">Cancel</button>
</form>`,
    { formTargets: [options.clientOrigin] },
  )
}

/**
 * Goes on by itself where a client has sent its user here and has asked already; else it asks. `form` is the
 * confirmation that oidc-provider made.
 */
export function signOutPage(
  form: string,
  { clientOrigin, isAsked }: { clientOrigin: string | undefined; isAsked: boolean },
): Page {
  if (!isAsked) {
    const title = 'Sign out everywhere?'
    return page(
      title,
      `<h1>${title}</h1><p>You are signed in at this service. Signing out here ends it in every app that you use it for.</p>
${form}
<button form="op.logoutForm" class="plain" name="logout" value="yes">Sign out everywhere</button>`,
    )
  }
  return page(
    'Signing out',
    `<h1>Signing out</h1>
${form}
<button form="op.logoutForm" class="quiet" name="logout" value="yes">Continue</button>`,
    { formTargets: clientOrigin ? [clientOrigin] : [], script: SUBMIT },
  )
}

/** What is left when a client did not say where to go after the sign-out. */
export function signedOutPage(): Page {
  return page('Signed out', '<h1>You are signed out</h1><p>Every app has been told. You can close this page.</p>')
}

/** A sign-in page that was left open overnight, or was opened in another browser: there is nothing to go on with. */
export function expiredPage(appUrl: string | undefined): Page {
  return page(
    'This sign-in has expired',
    `<h1>This sign-in has expired</h1><p>The page was open for too long, or belongs to another browser. Start again from the app.</p>${backLink(appUrl)}`,
  )
}

function backLink(appUrl: string | undefined): string {
  return appUrl === undefined ? '' : `<a class="plain" href="${escape(appUrl)}">Back to the app</a>`
}

/** An error that must not be sent to the client, such as an unknown redirect URI. */
export function errorPage(code: string, description: string, appUrl: string | undefined): Page {
  return page(
    'That did not work',
    `<h1>That did not work</h1><p>${escape(code)}: ${escape(description)}</p>${backLink(appUrl)}`,
  )
}

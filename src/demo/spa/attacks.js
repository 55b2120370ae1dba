/** What people with bad intentions would do, done here on purpose. */
import { backstage, call, refusal } from './gateway.js'
import { say } from './page.js'

const FORGERY_TIMEOUT_MS = 10_000
const COOKIE = '__Host-Http-sidegate'

/** Lets the hostile page try in a hidden frame, and tells what it achieved. */
export async function forge() {
  const answer = await call('/bff/session')
  if (!answer.body.authenticated) return say('There is no session to abuse. Sign in first.', { bad: true })

  const page = new URL((await backstage('places')).attacker)
  page.searchParams.set('target', location.origin)
  const frame = Object.assign(document.createElement('iframe'), {
    src: page.href,
    title: 'A hostile page',
    hidden: true,
  })
  const outcome = new Promise((resolve) => {
    const settle = (event) => {
      if (event && event.source !== frame.contentWindow) return
      removeEventListener('message', settle)
      resolve(event?.data.forgery)
    }
    addEventListener('message', settle)
    setTimeout(settle, FORGERY_TIMEOUT_MS)
  })
  document.body.append(frame)
  const forgery = await outcome
  frame.remove()

  if (!forgery) return say('The hostile page did not report back.', { bad: true })
  const { refused, arrived, read } = forgery
  if (arrived > 0)
    return say(`The forged request reached the API ${arrived} times. This must not happen.`, { bad: true })
  say(
    `Refused. A page on ${page.origin} sent a POST with your cookie. ` +
      (refused > 0 ? 'The gateway answered 403 csrf_rejected, ' : 'The gateway turned it away, ') +
      `the API never saw it, and the hostile page could read ${read}.`,
  )
}

/** Script cannot reach the cookie; a program outside the browser can only guess one. */
export async function tamper() {
  const before = await call('/bff/session')
  if (!before.body.authenticated) return say('There is no cookie to tamper with. Sign in first.', { bad: true })

  const isReadable = document.cookie.includes(COOKIE)
  document.cookie = `${COOKIE}=${'A'.repeat(43)}; Path=/; Secure`
  document.cookie = `${COOKIE}=; Path=/; Secure; Max-Age=0`
  const after = await call('/bff/session')
  const isUnharmed = !isReadable && after.body.createdAt === before.body.createdAt
  if (!isUnharmed) return say('Script reached the session cookie. This must not happen.', { bad: true })

  const guess = await backstage('made-up-cookie', { method: 'POST' })
  if (guess.status !== 401) return say(`A made-up cookie got ${guess.status}. This must not happen.`, { bad: true })
  say(
    'Script on this page can neither read the session cookie nor overwrite or delete it: it is HttpOnly, and you are ' +
      'still signed in. A program outside the browser can send what it likes: its made-up cookie got ' +
      `${refusalOf(guess)}. The cookie is 256 random bits and nothing else; changing one of them only makes a stranger’s.`,
  )
}

function refusalOf({ status, code }) {
  return `${status} ${code ?? refusal({ status, body: {} })}`
}

import { remember, takeInventory } from './inventory.js'

const POLL_MS = 15_000
const FORGERY_TIMEOUT_MS = 10_000
const KEPT_RESULTS = 20

/** The last answer of `GET /bff/session` and when it came, by a clock that no one can set. */
let session = { authenticated: false }
let receivedAt = performance.now()

const $ = (id) => document.getElementById(id)

/** Calls the gateway; resolves the status and what the body says, JSON or not. */
async function call(path, init = {}) {
  const response = await fetch(path, { ...init, headers: { 'X-CSRF': '1', ...init.headers } })
  const text = await response.text()
  remember(text)
  let body = {}
  try {
    body = JSON.parse(text)
  } catch {
    // Not JSON: the status says enough.
  }
  return { ok: response.ok, status: response.status, body }
}

/** A refusal of the gateway (RFC 9457) in words. */
function refusal({ status, body }) {
  if (status === 401)
    return `Refused: nobody is signed in (401 ${body.code ?? 'from the API'}). The API was not called.`
  if (status === 429) return 'Slow down: the gateway takes only so many of these a minute (429 rate_limited).'
  return `Refused: ${body.title ?? 'the answer gives no reason'} (${status} ${body.code ?? ''}).`
}

/** Adds a line to the results, newest first; the list is a live region, so it is spoken too. */
function say(text, { bad = false, detail } = {}) {
  $('no-results').hidden = true
  const item = document.createElement('li')
  if (bad) item.className = 'bad'
  const time = Object.assign(document.createElement('time'), { textContent: new Date().toLocaleTimeString() })
  const sentence = document.createElement('p')
  sentence.append(time, text)
  item.append(sentence)
  if (detail !== undefined) {
    const details = document.createElement('details')
    details.append(
      Object.assign(document.createElement('summary'), { textContent: 'What the API saw' }),
      Object.assign(document.createElement('pre'), { textContent: JSON.stringify(detail, null, 2) }),
    )
    item.append(details)
  }
  $('results').prepend(item)
  while ($('results').children.length > KEPT_RESULTS) $('results').lastElementChild.remove()
}

function clock(seconds) {
  const left = Math.max(0, Math.floor(seconds))
  const minutes = Math.floor((left % 3_600) / 60)
  const parts = [
    left >= 3_600 ? `${Math.floor(left / 3_600)} h` : '',
    left >= 60 ? `${minutes} min` : '',
    `${left % 60} s`,
  ]
  return parts.filter(Boolean).join(' ')
}

/** Writes a definition list, touching only what changed, so that nothing flickers or loses its selection. */
function fill(list, rows) {
  const names = rows.map(([name]) => name)
  if ([...list.querySelectorAll('dt')].map((dt) => dt.textContent).join() !== names.join()) {
    list.replaceChildren(
      ...names.flatMap((name) => [
        Object.assign(document.createElement('dt'), { textContent: name }),
        document.createElement('dd'),
      ]),
    )
  }
  list.querySelectorAll('dd').forEach((dd, index) => {
    if (dd.textContent !== rows[index][1]) dd.textContent = rows[index][1]
  })
}

function showSession() {
  const { authenticated, user = {} } = session
  const name = user.name ?? user.sub
  $('who').textContent = authenticated ? `Signed in as ${name}` : 'Nobody is signed in'
  $('sign-in').hidden = authenticated
  $('sign-out').hidden = !authenticated
  if (!authenticated) return fill($('gateway'), [['Session', 'none: nobody is signed in']])

  const age = (performance.now() - receivedAt) / 1_000
  const left = session.accessToken.expiresInSeconds - age
  fill($('gateway'), [
    ['User', [name, user.email].filter(Boolean).join(', ')],
    ['Signed in', new Date(session.createdAt).toLocaleString()],
    ['Access token', left > 0 ? `good for ${clock(left)}` : 'expired: the next API call refreshes it'],
    ['Without use', `the session ends in ${clock(session.idleExpiresInSeconds - age)}`],
    ['At the latest', `it ends in ${clock(session.expiresInSeconds - age)}`],
  ])
}

async function showInventory() {
  const lines = await takeInventory()
  const suspicious = lines.filter((line) => line.suspicious)
  fill(
    $('browser'),
    lines.map(({ place, found }) => [place, found]),
  )
  $('verdict').className = suspicious.length > 0 ? 'verdict bad' : 'verdict'
  $('verdict').textContent =
    suspicious.length > 0
      ? `A token may be in: ${suspicious.map(({ place }) => place).join(', ')}.`
      : 'No token anywhere. The session cookie is HttpOnly: the browser sends it, script cannot read it.'
}

async function look() {
  try {
    const answer = await call('/bff/session')
    if (answer.ok) session = answer.body
    else say(refusal(answer), { bad: true })
    receivedAt = performance.now()
  } catch {
    say('The gateway does not answer. Is the demo still running?', { bad: true })
  }
  showSession()
  await showInventory()
}

async function callApi() {
  const answer = await call('/api/orders?limit=3')
  if (!answer.ok) return say(refusal(answer), { bad: true })
  const { token, cookies } = answer.body
  const seconds = Math.max(0, token.exp - Math.floor(Date.now() / 1_000))
  say(
    `The API answered 200. It got an access token for ${token.sub}, good for ${seconds} s more, ` +
      `and ${cookies === 'none' ? 'no cookie' : 'cookies'}. This page got neither.`,
    { detail: answer.body },
  )
}

async function callTwenty() {
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => call(`/api/orders/${index + 1}`)))
  const good = answers.filter(({ ok }) => ok)
  if (good.length === 0) return say(refusal(answers[0]), { bad: true })
  const tokens = new Set(good.map(({ body }) => body.token.jti))
  say(
    `${good.length} of 20 calls answered 200, all at once, with ` +
      `${tokens.size === 1 ? 'one and the same access token' : `${tokens.size} access tokens`}.`,
    { bad: good.length < 20 },
  )
}

async function refresh() {
  const answer = await call('/bff/session/refresh', { method: 'POST' })
  if (!answer.ok) return say(refusal(answer), { bad: true })
  say(
    `The gateway has new tokens, good for ${clock(answer.body.accessToken.expiresInSeconds)}. None of them came here.`,
  )
}

/** Lets the hostile page try in a hidden frame, and tells what it achieved. */
async function forge() {
  const answer = await call('/api/attacker')
  if (!answer.ok) return say(`There is no session to abuse. Sign in first. ${refusal(answer)}`, { bad: true })

  const page = new URL(answer.body.page)
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

async function signOut() {
  const answer = await call('/bff/logout', { method: 'POST' })
  if (!answer.ok) return say(refusal(answer), { bad: true })
  // The tokens are gone by now; this trip signs the user out at the sign-in service as well.
  location.assign(answer.body.redirectUrl ?? '/')
}

/** Runs one action at a time for each button; a second press while it runs does nothing. */
function onPress(id, action) {
  const button = $(id)
  const run = async () => {
    button.setAttribute('aria-disabled', 'true')
    try {
      await action()
    } catch {
      say('The gateway does not answer. Is the demo still running?', { bad: true })
    }
    button.removeAttribute('aria-disabled')
    await look()
  }
  button.addEventListener('click', () => {
    if (button.getAttribute('aria-disabled') !== 'true') void run()
  })
}

onPress('call', callApi)
onPress('twenty', callTwenty)
onPress('refresh', refresh)
onPress('forge', forge)
onPress('sign-out', signOut)

// A page that the back button brings out of the browser's memory shows what was; ask again.
addEventListener('pageshow', (event) => {
  if (event.persisted) void look()
})
setInterval(showSession, 1_000)
setInterval(() => {
  if (document.visibilityState === 'visible') void look()
}, POLL_MS)
await look()

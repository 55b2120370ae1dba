/** Sign-ins that are harder than the first one: stronger, twenty at once, ended elsewhere. */
import { call, client, refusal } from './gateway.js'
import { say } from './page.js'

const TABS = 20
const TABS_TIMEOUT_MS = 45_000
const HEARD_TIMEOUT_MS = 10_000
const LOOK_AGAIN_MS = 300
const CHANNEL = 'sidegate-demo-tabs'

/** The vault's route asks for another `acr`; what is missing is asked for in a popup, and the call made again. */
export async function openVault() {
  const first = await call('/api/vault')
  if (first.ok) return say(opened(first, 'You had confirmed that it is you before'))
  if (first.body.code !== 'step_up_required') return say(refusal(first), { bad: true })

  say('The gateway answered 401 step_up_required: the vault wants a second factor. Confirm in the window that opens.')
  const isConfirmed = await client.login({ url: first.body.loginUrl, popup: true })
  const second = await call('/api/vault')
  if (second.ok) return say(opened(second, 'You have confirmed that it is you'))
  say(isConfirmed ? refusal(second) : 'The window was closed or blocked: the vault stays shut.', { bad: true })
}

function opened({ body }, how) {
  return `The vault is open. ${how}, and the access token now says so (acr ${body.token.acr}).`
}

/** Opens the tabs, each of which signs in and reports back; a browser may let only the first of them through. */
export async function signInFromTabs() {
  const before = await call('/bff/sessions')
  if (!before.ok) return say(`Sign in first, so that no tab has to ask who you are. ${refusal(before)}`, { bad: true })

  const channel = new BroadcastChannel(CHANNEL)
  const arrived = new Set()
  const windows = Array.from({ length: TABS }, (_, index) => {
    const returnTo = `/?tab=${index + 1}#signed-in`
    return open(`/bff/login?returnTo=${encodeURIComponent(returnTo)}`, `sidegate-demo-${index + 1}`)
  })
  const openedTabs = windows.filter(Boolean).length
  await new Promise((resolve) => {
    setTimeout(resolve, TABS_TIMEOUT_MS)
    channel.addEventListener('message', ({ data }) => {
      if (data.isSignedIn && data.fragment === '#signed-in') arrived.add(data.tab)
      channel.postMessage({ seen: data.tab })
      if (arrived.size >= openedTabs) resolve()
    })
    if (openedTabs === 0) resolve()
  })
  channel.close()

  const after = await call('/bff/sessions')
  const blocked = openedTabs < TABS ? ` The browser blocked ${TABS - openedTabs}: allow pop-ups here to see all.` : ''
  const sessions = after.body.sessions?.length
  say(
    `${openedTabs} tabs signed in at the same moment. ${arrived.size} ended signed in, where they wanted to go. You had ` +
      `${inWords(before.body.sessions.length)} before and have ${inWords(sessions)} now.${blocked}`,
    { bad: arrived.size < openedTabs || sessions > before.body.sessions.length },
  )
}

function inWords(sessions) {
  return sessions === 1 ? 'one session' : `${sessions} sessions`
}

/** In one of the twenty tabs: says how it went, and closes once that was heard. Resolves `false` in any other. */
export async function reportAsTab() {
  const tab = new URLSearchParams(location.search).get('tab')
  if (tab === null) return false
  const isSignedIn = await isSignedInAtLast()
  const channel = new BroadcastChannel(CHANNEL)
  await new Promise((resolve) => {
    // Among twenty windows that open and close at once Chromium loses a message now and then: say it until it is heard.
    channel.addEventListener('message', ({ data }) => data.seen === tab && resolve())
    const report = () => channel.postMessage({ tab, isSignedIn, fragment: location.hash })
    report()
    setInterval(report, LOOK_AGAIN_MS)
    setTimeout(resolve, HEARD_TIMEOUT_MS)
  })
  channel.close()
  window.close()
  return true
}

/** The sign-in of a tab that began later takes this one's place: between the two there is a moment without a session. */
async function isSignedInAtLast() {
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    const { body } = await call('/bff/session')
    if (body.authenticated) return true
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS))
  }
  return false
}

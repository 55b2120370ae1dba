/** The demo's page: what browser and gateway hold, buttons to try, and the last sign-in as it happened. */
import { forge, tamper } from './attacks.js'
import { backstage, client, endOf } from './gateway.js'
import { takeInventory } from './inventory.js'
import { $, clock, fill, onPress, say } from './page.js'
import { drawSequence } from './sequence.js'
import { openVault, reportAsTab, signInFromTabs } from './sign-ins.js'
import { callApi, callTwenty, heldTokens, letExpire, masked, openSocket, tokenLife } from './uses.js'

/** The last that was heard of the session and when, by a clock that no one can set. */
let session = { authenticated: false }
let receivedAt = performance.now()
/** Fingerprints of the tokens on the server. */
let held = {}
let refreshes = 0
let lastRefresh = ''

function learn(news) {
  session = news
  receivedAt = performance.now()
  showSession()
}

function showSession() {
  const { authenticated, user = {} } = session
  const name = user.name ?? user.sub
  $('who').textContent = authenticated ? `Signed in as ${name}` : 'Nobody is signed in'
  $('sign-in').hidden = authenticated
  $('sign-out').hidden = !authenticated
  if (!authenticated) return fill($('gateway'), [['Session', 'none: nobody is signed in']])

  const age = (performance.now() - receivedAt) / 1_000
  fill($('gateway'), [
    ...Object.entries(user).map(([claim, value]) => [`Claim ${claim}`, String(value)]),
    ['Signed in', new Date(session.createdAt).toLocaleString()],
    ['Access token', `${masked(held.access)}, ${tokenLife(session.accessToken.expiresInSeconds - age)}`],
    ['Refresh token', masked(held.refresh)],
    ['ID token', masked(held.id)],
    [
      'Refreshed',
      refreshes === 0
        ? 'not since this page was opened'
        : `${refreshes === 1 ? 'once, at' : `${refreshes} times, last at`} ${lastRefresh}`,
    ],
    ['Without use', `the session ends in ${clock(session.idleExpiresInSeconds - age)}`],
    ['At the latest', `it ends in ${clock(session.expiresInSeconds - age)}`],
  ])
}

async function showTokens() {
  held = await heldTokens(session)
  showSession()
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

async function showBackstage() {
  const [{ signOut }, { login = [] }] = await Promise.all([backstage('places'), backstage('journal')])
  if (signOut) $('elsewhere').href = signOut
  drawSequence($('sequence'), $('sequence-hint'), login)
}

/** Asks for everything anew. */
async function look() {
  try {
    learn(await client.session())
    await showBackstage()
  } catch {
    say('The gateway does not answer. Is the demo still running?', { bad: true })
  }
  await showInventory()
}

function start() {
  client.onChange((change) => {
    learn(change.session)
    if (change.type === 'refreshed') {
      refreshes += 1
      lastRefresh = new Date().toLocaleTimeString()
    }
    if (change.type !== 'expiring') void showTokens()
    if (change.type === 'expiring') say('The session ends within a minute, unless something is done with it.')
    if (change.type === 'ended') say(endOf(change.reason))
    if (change.type !== 'refreshed') void look()
  })
  const actions = {
    call: callApi,
    expire: letExpire,
    twenty: callTwenty,
    socket: openSocket,
    forge,
    tamper,
    'step-up': openVault,
    tabs: signInFromTabs,
    'sign-out': () => client.logout(),
  }
  for (const [id, action] of Object.entries(actions)) onPress(id, action, look)
  setInterval(showSession, 1_000)
  return look()
}

if (!(await reportAsTab())) await start()

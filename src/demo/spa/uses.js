/** The ordinary things: calls with a token that this page does not have. */
import { backstage, call, refusal } from './gateway.js'
import { clock, say } from './page.js'

export async function callApi() {
  const answer = await call('/api/orders?limit=3')
  if (!answer.ok) return say(refusal(answer), { bad: true })
  const { token, cookies, fingerprint } = answer.body
  const seconds = Math.max(0, token.exp - Math.floor(Date.now() / 1_000))
  say(
    `The API answered 200. It got an access token for ${token.sub} (fingerprint ${fingerprint}), good for ` +
      `${seconds} s more, and ${cookies === 'none' ? 'no cookie' : 'cookies'}. This page got neither.`,
    { detail: answer.body },
  )
}

/** The authorization server gives the next token a short life; a refresh fetches it, and then it is only to wait. */
export async function letExpire() {
  const asked = await call('/api/short-token', { method: 'POST' })
  if (!asked.ok) return say(refusal(asked), { bad: true })
  const answer = await call('/bff/session/refresh', { method: 'POST' })
  if (!answer.ok) return say(refusal(answer), { bad: true })
  const { expiresInSeconds } = answer.body.accessToken
  say(`The gateway has fetched a token that lives ${asked.body.seconds} s. Wait for it …`)
  await new Promise((resolve) => setTimeout(resolve, (expiresInSeconds + 1) * 1_000))
  say('The access token is dead. Call the API, or call it twenty times at once: the gateway gets a new one first.')
}

export async function callTwenty() {
  const before = await backstage('journal')
  const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => call(`/api/orders/${index + 1}`)))
  const after = await backstage('journal')
  const good = answers.filter(({ ok }) => ok)
  if (good.length === 0) return say(refusal(answers[0]), { bad: true })
  const tokens = new Set(good.map(({ body }) => body.fingerprint))
  const refreshes = after.refreshes - before.refreshes
  const freshness = {
    0: 'It was still good: the sign-in service was not asked.',
    1: 'The old one had expired: the sign-in service was asked for a new one once, not twenty times.',
  }
  say(
    `${good.length} of 20 calls answered 200, all at once, with ` +
      `${tokens.size === 1 ? 'one and the same access token' : `${tokens.size} access tokens`}. ` +
      (freshness[refreshes] ?? `The sign-in service was asked for new ones ${refreshes} times.`),
    { bad: good.length < 20 || refreshes > 1 },
  )
}

/** A greeting from the API, which knows whom by the token of the handshake, and an echo. */
export async function openSocket() {
  const socket = new WebSocket(new URL('/api/socket', location.href.replace(/^http/, 'ws')))
  const messages = []
  const isOver = new Promise((resolve) => {
    socket.addEventListener('message', ({ data }) => {
      messages.push(data)
      if (messages.length === 1) socket.send('Hello from the page')
      else resolve(true)
    })
    for (const type of ['error', 'close']) socket.addEventListener(type, () => resolve(false))
  })
  if (!(await isOver)) {
    return say('The gateway refused the handshake: without a session there is no socket to the API.', { bad: true })
  }
  socket.close()
  say(
    `The WebSocket opened. The API greeted ${JSON.parse(messages[0]).hello}, whom it knows by the token that the ` +
      `gateway put on the handshake, and sent back “${messages[1]}”.`,
  )
}

/**
 * Fingerprints of the tokens that the gateway holds, as the sign-in service knows them. In the background: that a page
 * shows them keeps no session alive. An expired token is left alone, since the call would have it refreshed.
 */
export async function heldTokens({ authenticated, accessToken }) {
  if (!authenticated || accessToken.expiresInSeconds < 3) return {}
  const { ok, body } = await call('/api/tokens', { headers: { 'Sidegate-Background': '1' } })
  return ok ? body : {}
}

/** A token as far as a page may know it. */
export function masked(fingerprint) {
  return fingerprint ? `•••••••• ${fingerprint}` : 'held'
}

/** How long the token of a session is good for, in words. */
export function tokenLife(seconds) {
  return seconds > 0 ? `good for ${clock(seconds)}` : 'expired: the next API call refreshes it first'
}

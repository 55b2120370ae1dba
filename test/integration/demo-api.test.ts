import {
  allowInsecureRequests,
  ClientSecretBasic,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  discovery,
} from 'openid-client'
import { calculatePKCECodeChallenge, randomPKCECodeVerifier } from 'openid-client'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { startApi } from '../../src/demo/api.ts'
import { ACR } from '../../src/demo/users.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider } from '../support/provider.ts'

const API = 'urn:sidegate:demo:api'
const REDIRECT_URI = 'http://localhost:8080/bff/callback'

/** The demo's API and a way to get access tokens for it. */
async function demo() {
  const provider = await startProvider({ api: API })
  onTestFinished(() => provider.close())
  const api = await startApi({ issuer: provider.issuer, audience: API })
  onTestFinished(() => api.close())

  const signIn = async (parameters: Record<string, string> = {}): Promise<string> => {
    const client = await discovery(new URL(provider.issuer), CLIENT_ID, undefined, ClientSecretBasic(CLIENT_SECRET), {
      execute: [allowInsecureRequests],
    })
    const pkceCodeVerifier = randomPKCECodeVerifier()
    const url = buildAuthorizationUrl(client, {
      redirect_uri: REDIRECT_URI,
      scope: 'openid api',
      code_challenge: await calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
      ...parameters,
    })
    const tokens = await authorizationCodeGrant(client, await provider.login(url), { pkceCodeVerifier })
    return tokens.access_token
  }
  const base = `http://127.0.0.1:${api.port}`
  const call = (path: string, token?: string, init: RequestInit = {}): Promise<Response> =>
    fetch(base + path, { ...init, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })
  return { signIn, call, base }
}

test('the demo API tells what it got, by the claims of the access token and never by the token', async () => {
  const { signIn, call } = await demo()
  const token = await signIn()

  const response = await call('/api/orders?limit=3', token, { method: 'POST' })

  const text = await response.text()
  expect(response.status).toBe(200)
  expect(JSON.parse(text)).toMatchObject({
    method: 'POST',
    path: '/api/orders?limit=3',
    cookies: 'none',
    token: { sub: 'alice' },
  })
  expect(text).not.toContain(token)
})

test('the demo API refuses a call without a good access token', async () => {
  const { signIn, call } = await demo()
  const token = await signIn()

  const anonymous = await call('/api/orders')
  const tampered = await call('/api/orders', `${token.slice(0, -8)}AAAAAAAA`)

  expect([anonymous.status, tampered.status]).toEqual([401, 401])
  expect(tampered.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
})

test('the demo API asks for a second factor on /api/secure and takes a token that has it (RFC 9470)', async () => {
  const { signIn, call } = await demo()

  const refused = await call('/api/secure', await signIn())
  const taken = await call('/api/secure', await signIn({ acr_values: ACR.secondFactor }))

  expect(refused.status).toBe(401)
  expect(refused.headers.get('www-authenticate')).toBe(
    `Bearer error="insufficient_user_authentication", acr_values="${ACR.secondFactor}"`,
  )
  expect(taken.status).toBe(200)
})

test('the demo API streams events and echoes over a WebSocket', async () => {
  const { signIn, call, base } = await demo()
  const token = await signIn()

  const events = await call('/api/events', token)
  const first = await events.body?.getReader().read()
  const socket = new WebSocket(`${base.replace('http', 'ws')}/api/socket`, {
    headers: { authorization: `Bearer ${token}` },
  })
  onTestFinished(() => socket.terminate())
  const received: string[] = []
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => socket.send('ping'))
    // ws hands text over as a Buffer.
    socket.on('message', (data: Buffer) => {
      if (received.push(data.toString()) === 2) resolve()
    })
  })

  expect(new TextDecoder().decode(first?.value)).toBe('event: tick\nid: 1\ndata: {"count":1}\n\n')
  expect(received).toEqual(['{"hello":"alice"}', 'ping'])
})

/** A mobile app: a public client with tokens of its own, which it gets without the gateway (RFC 8252). */
import { createHash, randomBytes } from 'node:crypto'
import type { RegisteredClient } from '../../src/demo/authorization-server.ts'
import type { TestProvider } from './provider.ts'

const CLIENT_ID = 'mobile'
/** An address that the phone hands to the app (RFC 8252 §7.2). */
const REDIRECT_URI = 'https://mobile.example.com/callback'

/** How the app is registered. */
export const nativeClient: RegisteredClient = {
  client_id: CLIENT_ID,
  token_endpoint_auth_method: 'none',
  redirect_uris: [REDIRECT_URI],
  grant_types: ['authorization_code'],
  response_types: ['code'],
}

export interface NativeTokens {
  readonly accessToken: string
  readonly idToken: string
}

/** Signs `user` in, in the app's own browser tab, for one API. */
export async function nativeSignIn(
  provider: TestProvider,
  { user = 'alice', ...params }: { user?: string; resource: string; scope: string; acr_values?: string },
): Promise<NativeTokens> {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: CLIENT_ID,
    redirect_uri: REDIRECT_URI,
    nonce: randomBytes(16).toString('base64url'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...params,
  })
  const answer = await provider.login(`${provider.issuer}/auth?${query}`, { user })
  const response = await fetch(`${provider.issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      client_id: CLIENT_ID,
      redirect_uri: REDIRECT_URI,
      code: answer.searchParams.get('code') ?? '',
      code_verifier: verifier,
      resource: params.resource,
    }),
  })
  // RFC 6749 §5.1, of a real server.
  const body = (await response.json()) as { access_token?: string; id_token?: string }
  if (!body.access_token || !body.id_token) throw new Error(`no tokens: ${JSON.stringify(body)}`)
  return { accessToken: body.access_token, idToken: body.id_token }
}

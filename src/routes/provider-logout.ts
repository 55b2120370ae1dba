/** The authorization server ends sessions: OIDC Back-Channel and Front-Channel Logout. */
import type { FastifyInstance } from 'fastify'
import { decodeJwt } from 'jose'
import { BffError, hasCode } from '../errors.ts'
import { readForm } from '../http/form.ts'
import type { Judged } from '../http/judge.ts'
import { parseQuery } from '../http/query.ts'
import type { OidcProvider } from '../oidc/provider.ts'
import type { KeyRing } from '../session/key-ring.ts'
import type { SessionManager } from '../session/manager.ts'
import type { Audit } from '../telemetry/audit.ts'

export interface ProviderLogoutOptions {
  readonly manager: Pick<SessionManager, 'endByProviderSession' | 'endBySubject' | 'store'>
  readonly providers: ReadonlyMap<string, Pick<OidcProvider, 'issuer' | 'verifyLogoutToken'>>
  readonly keyRing: Pick<KeyRing, 'keyedHashes'>
  readonly audit: Audit
  readonly now: () => number
}

export function registerProviderLogout(app: FastifyInstance, options: ProviderLogoutOptions): void {
  app.post('/backchannel-logout', async (request, reply) => {
    reply.header('cache-control', 'no-store')
    try {
      const tokens = (await readForm(request)).getAll('logout_token')
      if (tokens.length !== 1) throw new BffError('invalid_request', 'exactly one logout_token is needed')
      const ended = await endByLogoutToken(tokens[0] as string, options) // one, as just counted
      options.audit.record('logout.backchannel', { reason: 'accepted', requestId: request.id, ...ended })
      return await reply.code(200).send()
    } catch (error) {
      options.audit.record('logout.backchannel', {
        reason: error instanceof BffError ? error.message : 'internal',
        requestId: request.id,
      })
      // Invalid or failed, the answer is 400 (Back-Channel §2.8): the server may send it again.
      if (hasCode(error, 'unsupported_media_type', 'payload_too_large')) throw error
      throw new BffError('invalid_request', error instanceof BffError ? error.message : 'internal', { cause: error })
    }
  })

  app.get('/frontchannel-logout', async (request, reply) => {
    const { path } = request.judged as Judged // set by the judge on every request
    const query = parseQuery(path.query, ['iss', 'sid'])
    const issuer = query.get('iss')
    const sid = query.get('sid')
    const isKnown = [...options.providers.values()].some((provider) => provider.issuer === issuer)
    // The session is found by sid, not by cookie: in the server's frame no Strict cookie comes (LO-12, LO-13).
    if (isKnown && issuer !== undefined && sid) {
      await options.manager.endByProviderSession(issuer, sid, 'frontchannel_logout')
    }
    // The one page of ours that a foreign page may frame, and only the servers' own.
    const framedBy = [...options.providers.values()].map((provider) => new URL(provider.issuer).origin).join(' ')
    return reply
      .code(200)
      .headers({
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'cross-origin-resource-policy': 'cross-origin',
        'content-security-policy': `default-src 'none'; frame-ancestors ${framedBy}`,
      })
      .send('<!doctype html><html lang="en"><title>Signed out</title></html>')
  })
}

/** @throws BffError `invalid_request` with the check that failed; `store_unavailable` */
async function endByLogoutToken(
  token: string,
  options: ProviderLogoutOptions,
): Promise<{ readonly ended: number; readonly sub: string | undefined }> {
  const provider = [...options.providers.values()].find(({ issuer }) => issuer === issuerInside(token))
  if (!provider) throw new BffError('invalid_request', 'the logout token is of no configured issuer')
  const { iss, sub, sid, jti, iat, exp } = await provider.verifyLogoutToken(token)

  const { store } = options.manager
  const keys = options.keyRing.keyedHashes('logout token', `${iss} ${jti}`).map((hash) => `j:{${hash}}`)
  for (const key of keys) {
    // A replay has had its effect already: it is refused (LO-11).
    if ((await store.readNote(key)) !== undefined)
      throw new BffError('invalid_request', 'the logout token was used before')
  }
  const ended =
    sid === undefined
      ? // Sessions begun after the token was made are not meant by it. It tells whole seconds: those of its own second are.
        await options.manager.endBySubject(iss, sub as string, 'backchannel_logout', (iat + 1) * 1_000) // sub or sid, as verified
      : await options.manager.endByProviderSession(iss, sid, 'backchannel_logout')
  // Remembered after the effect: a failure before this line lets the server try again.
  await store.note(keys[0] as string, 'used', Math.max(60_000, exp * 1_000 - options.now())) // a ring has at least one key
  return { ended, sub }
}

/** Only to choose the provider, whose keys then decide. */
function issuerInside(token: string): string | undefined {
  try {
    return decodeJwt(token).iss
  } catch {
    return undefined
  }
}

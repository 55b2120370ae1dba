/** `GET login`: starts the authorization code grant (RFC 6749 §4.1.1) with PKCE (RFC 7636). */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ProviderConfig } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import { addCookie, type CookieJar } from '../http/cookies.ts'
import { isNavigation } from '../http/csrf.ts'
import type { Judged } from '../http/judge.ts'
import { sealTransaction } from '../http/login-cookies.ts'
import type { Pages } from '../http/pages.ts'
import { parseQuery } from '../http/query.ts'
import { parseReturnTo } from '../http/return-to.ts'
import {
  codeVerifierOf,
  createLoginTransaction,
  issuerMark,
  type LoginTransaction,
  nonceOf,
  stateOf,
  TRANSACTION_LIFETIME_MS,
  transactionId,
} from '../oidc/login-transaction.ts'
import type { OidcProvider } from '../oidc/provider.ts'
import type { KeyRing } from '../session/key-ring.ts'
import type { LoginLedger } from '../session/login-ledger.ts'
import { loginParams, readLoginParams } from './login-params.ts'

/** A longer return address waits in the store and not in the cookie. */
const MOST_RETURN_TO_IN_COOKIE = 256

/** A provider with the part of its configuration that a login reads. */
export interface LoginProvider {
  readonly client: Pick<OidcProvider, 'issuer' | 'authorizationUrl' | 'exchangeCode' | 'revoke'>
  readonly config: Pick<ProviderConfig, 'issuer' | 'loginParams' | 'authorizationParams' | 'responseMode'>
}

export interface LoginOptions {
  readonly providers: ReadonlyMap<string, LoginProvider>
  readonly publicUrl: URL
  readonly basePath: string
  readonly returnOrigins: readonly string[]
  readonly allowCrossSite: boolean
  readonly cookies: CookieJar
  readonly keyRing: Pick<KeyRing, 'seal' | 'open'>
  readonly ledger: LoginLedger
  readonly pages: Pages
  readonly now: () => number
}

/** The names under which a return address is taken; the first is ours, the others are those of other gateways. */
export const RETURN_TO_NAMES = ['returnTo', 'returnUrl', 'redirect', 'rd']

/** What a sign-in was asked to do, already checked. */
export interface WantedLogin {
  readonly returnTo: string
  readonly provider: string
  readonly params: Readonly<Record<string, string>>
  readonly isPopup: boolean
}

export function registerLogin(app: FastifyInstance, options: LoginOptions): void {
  app.get('/login', async (request, reply) => {
    // Set by the judge on every request that reaches a handler.
    const judged = request.judged as Judged
    const site = judgeLoginRequest(request)
    const wanted = readWantedLogin(judged.path.query, options, request)
    if (wanted.provider === undefined) return askForProvider(reply, judged.path.query, wanted, options)
    if (site === 'foreign' && !options.allowCrossSite) return sendSignInButton(reply, judged.path.query, options)
    return beginLogin(reply, { ...wanted, provider: wanted.provider }, options)
  })

  // Where a sign-in in a popup ends: it tells the other tabs and closes itself.
  app.get('/login/done', (_request, reply) => {
    const page = options.pages.signedIn()
    return reply.headers(page.headers).send(page.html)
  })
}

/**
 * A login starts by a top-level navigation only: a frame, a script or a prefetch would set state behind the user's
 * back (AR-09, Fetch Metadata).
 *
 * @throws BffError `invalid_request`
 */
function judgeLoginRequest(request: FastifyRequest): 'own' | 'foreign' {
  const { headers } = request
  const dest = headers['sec-fetch-dest']
  if (dest === 'empty' && headers['sec-fetch-mode'] === 'navigate') {
    // What a worker passes on has lost where it came from: it could be a frame's, or another site's.
    throw new BffError(
      'invalid_request',
      'a service worker must leave the endpoints to the browser: it fetched a login',
    )
  }
  if (!isNavigation(headers) || (dest !== undefined && dest !== 'document')) {
    throw new BffError('invalid_request', 'a login is started by a top-level navigation')
  }
  if (headers['sec-purpose'] !== undefined)
    throw new BffError('invalid_request', 'a login is not started by a prefetch')
  const site = headers['sec-fetch-site']
  return site === undefined || site === 'same-origin' || site === 'none' ? 'own' : 'foreign'
}

function readWantedLogin(
  rawQuery: string,
  options: LoginOptions,
  request: FastifyRequest,
): Omit<WantedLogin, 'provider'> & { readonly provider: string | undefined } {
  const query = parseQuery(rawQuery, [...RETURN_TO_NAMES, ...loginParams, 'provider', 'mode'])
  const named = RETURN_TO_NAMES.filter((name) => query.has(name))
  if (named.length > 1) throw new BffError('invalid_request', 'the return address is given under several names')
  const asked = named[0] === undefined ? undefined : query.get(named[0])
  const { returnTo, refused } = parseReturnTo(asked, {
    publicUrl: options.publicUrl,
    basePath: options.basePath,
    allowedOrigins: options.returnOrigins,
  })
  if (refused) request.log.warn({ check: 'returnTo' }, 'a return address was refused and replaced by /')

  const mode = query.get('mode')
  if (mode !== undefined && mode !== 'popup') throw new BffError('invalid_request', 'mode is popup or left out')
  const provider = query.get('provider') ?? onlyProvider(options)
  const known = provider === undefined ? undefined : options.providers.get(provider)
  if (provider !== undefined && !known) throw new BffError('invalid_request', 'there is no provider of that name')
  // What none of several providers has been chosen for is only looked at: the choice brings it again.
  const params = readLoginParams(query, known?.config.loginParams ?? loginParams)
  return { returnTo, provider, params, isPopup: mode === 'popup' }
}

/** The one to whom a login goes that names none; `undefined` where there are several to choose from. */
export function onlyProvider({ providers }: Pick<LoginOptions, 'providers'>): string | undefined {
  return providers.size === 1 ? providers.keys().next().value : undefined
}

/** Lets the visitor choose, each by a link that is this very login with a provider. */
function askForProvider(
  reply: FastifyReply,
  rawQuery: string,
  wanted: Pick<WantedLogin, 'returnTo' | 'params' | 'isPopup'>,
  { providers, basePath, pages }: LoginOptions,
): FastifyReply {
  // A silent login shows nothing to anybody: it ends as a server's `account_selection_required` does.
  if (wanted.params['prompt'] === 'none') {
    return reply.redirect(wanted.isPopup ? `${basePath}/login/done` : wanted.returnTo, 303)
  }
  const start = `${basePath}/login${rawQuery === '' ? '?' : `${rawQuery}&`}`
  const page = pages.chooseProvider(
    [...providers].map(([name, { config }]) => ({
      name,
      issuer: config.issuer,
      loginUrl: `${start}provider=${encodeURIComponent(name)}`,
    })),
  )
  return reply.code(200).headers(page.headers).send(page.html)
}

/**
 * Sends the browser to the authorization server with a fresh transaction in a cookie of its own.
 *
 * @throws BffError `provider_unavailable`, `store_unavailable`
 */
export async function beginLogin(
  reply: FastifyReply,
  wanted: WantedLogin,
  options: LoginOptions,
): Promise<FastifyReply> {
  const provider = options.providers.get(wanted.provider)
  if (!provider) throw new BffError('internal', 'a login was begun at a provider that is not configured')
  const transaction = transactionFor(wanted, provider, options.now())
  const state = stateOf(transaction)
  const url = await provider.client.authorizationUrl({
    state,
    nonce: nonceOf(transaction),
    codeVerifier: codeVerifierOf(transaction),
    requiresIss: options.providers.size > 1,
    params: { ...wanted.params },
  })
  if (transaction.returnTo === undefined) {
    await options.ledger.keepReturnTo(state, wanted.returnTo, TRANSACTION_LIFETIME_MS)
  }

  const cookie = options.cookies.setTransaction(
    transactionId(state),
    sealTransaction(options.keyRing, transaction, state),
  )
  addCookie(reply, cookie)
  return reply.header('cache-control', 'no-store').redirect(url.href, 302)
}

function transactionFor(wanted: WantedLogin, provider: LoginProvider, now: number): LoginTransaction {
  const sent = { ...provider.config.authorizationParams, ...wanted.params }
  const maxAge = sent['max_age']
  const acrValues = sent['acr_values']
  return createLoginTransaction({
    createdAt: now,
    provider: wanted.provider,
    issuer: issuerMark(provider.client.issuer),
    returnTo: wanted.returnTo.length <= MOST_RETURN_TO_IN_COOKIE ? wanted.returnTo : undefined,
    ...(typeof maxAge === 'string' && { maxAgeSeconds: Number(maxAge) }),
    ...(typeof acrValues === 'string' && { acrValues: acrValues.split(' ') }),
    ...(wanted.isPopup && { isPopup: true }),
    ...(sent['prompt'] === 'none' && { isSilent: true }),
  })
}

/** Another site may send a visitor here, but only the visitor begins the sign-in: by a button on our own page. */
function sendSignInButton(reply: FastifyReply, query: string, options: LoginOptions): FastifyReply {
  const page = options.pages.signIn({ loginUrl: `${options.basePath}/login${query}` })
  return reply.code(200).headers(page.headers).send(page.html)
}

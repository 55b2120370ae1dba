/** An authorization server on a real socket that says what it is told and misbehaves on command, one switch a fault. */
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { SignJWT, UnsecuredJWT, exportJWK, generateKeyPair } from 'jose'
import type { CryptoKey, JWK } from 'jose'

export type Endpoint = 'metadata' | 'jwks' | 'token' | 'par' | 'userinfo' | 'revocation' | 'introspection'

/** What an endpoint does instead of its work. `lost` does the work first and then cuts the connection. */
export type Fault =
  | {
      readonly kind: 'status'
      readonly status: number
      readonly body?: string
      readonly headers?: Record<string, string>
    }
  | {
      readonly kind: 'oauthError'
      readonly error: string
      readonly status?: number
      readonly headers?: Record<string, string>
    }
  | { readonly kind: 'redirect'; readonly location: string }
  | {
      readonly kind:
        'reset' | 'lost' | 'hang' | 'stall' | 'endless' | 'gzipBomb' | 'html' | 'empty' | 'truncated' | 'array'
    }

type Claims = Record<string, unknown>
type Header = Record<string, unknown>

export interface RecordedRequest {
  readonly endpoint: Endpoint
  readonly headers: IncomingHttpHeaders
  readonly form: URLSearchParams
  /** As the client sent it: host header and path. */
  readonly url: string
  /** DN of the client's certificate, where TLS asked for one. */
  readonly certificate?: string
}

export interface ScriptedProviderOptions {
  readonly clientId?: string
  readonly clientSecret?: string
  /** Path of the issuer, with its trailing slash if it is to have one. */
  readonly path?: string
  /** Where it listens; any free port unless given. */
  readonly port?: number
  readonly tls?: ServerOptions
}

interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
}

interface Grant {
  readonly nonce: string | undefined
  readonly challenge: string | undefined
  readonly scope: string
  readonly sub: string
  readonly claims: Claims
  /** Refresh tokens of this family; the last one is alive. */
  readonly refreshTokens: string[]
  isRevoked: boolean
}

/** Starts it on a free port of 127.0.0.1. Its key is RS256, as the default configuration expects. */
export async function startScriptedProvider(options: ScriptedProviderOptions = {}): Promise<ScriptedProvider> {
  const provider = new ScriptedProvider(options)
  await provider.start()
  return provider
}

const keyPairs = new Map<string, Promise<SigningKey[]>>()

// Making RSA keys is the slowest part of the start: three of each kind serve the whole process.
async function makeKeys(alg: string): Promise<SigningKey[]> {
  return await Promise.all(
    [0, 1, 2].map(async (index) => {
      const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
      const kid = `${alg}-${index}`
      return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
    }),
  )
}

export class ScriptedProvider implements AsyncDisposable {
  readonly clientId: string
  /** Every secret that is taken. */
  clientSecrets: string[]
  readonly requests: RecordedRequest[] = []
  /** Endpoints that misbehave; delete an entry to cure it. */
  readonly faults: Partial<Record<Endpoint, Fault>> = {}
  /** Last word on the metadata document. */
  metadata: (document: Claims) => unknown = (document) => document
  /** Last word on claims and header of each ID token; a string is sent as it is. */
  idToken: (claims: Claims, header: Header) => { claims: Claims; header: Header } | string = (claims, header) => ({
    claims,
    header,
  })
  /** Last word on the body of each successful answer of the token endpoint. */
  tokenResponse: (body: Claims, form: URLSearchParams) => Claims = (body) => body
  /** What the UserInfo endpoint answers. */
  userinfo: (sub: string) => Claims | string = (sub) => ({ sub, email: `${sub}@example.com` })
  /** Last word on what the introspection endpoint answers (RFC 7662). */
  introspection: (answer: Claims, token: string) => Claims = (answer) => answer
  /** Whether authorization responses carry `iss` (RFC 9207), and metadata says so. */
  sendsIss = true
  /** Seconds by which this server's clock is ahead. */
  clockOffsetSeconds = 0
  accessTokenSeconds = 300
  /** Refresh grants answer with a new refresh token and kill the old one; a second use kills the family. */
  rotatesRefreshTokens = true
  /** Refresh grants answer with an ID token. */
  refreshesIdTokens = true
  /** A nonce that DPoP proofs must carry. */
  dpopNonce: string | undefined
  /** Calls of the token endpoint are answered when this has resolved. */
  tokenGate: Promise<void> | undefined
  /** Which key signs; `rotateKey` moves on. */
  keyIndex = 0
  /** The keys shown at `jwks_uri`; `undefined` shows the one that signs. */
  publishedKeys: JWK[] | undefined
  readonly #options: ScriptedProviderOptions
  readonly #codes = new Map<string, Grant>()
  readonly #grants = new Map<string, Grant>()
  readonly #accessTokens = new Map<string, Grant>()
  readonly #revoked: string[] = []
  readonly #open = new Set<ServerResponse>()
  readonly #waiters: { endpoint: Endpoint; count: number; resolve: () => void }[] = []
  readonly #keys = new Map<string, SigningKey[]>()
  #server: Server | undefined
  #alg = 'RS256'

  constructor(options: ScriptedProviderOptions) {
    this.#options = options
    this.clientId = options.clientId ?? 'shop'
    this.clientSecrets = [options.clientSecret ?? 'shop-secret-with-at-least-32-characters']
  }

  async start(): Promise<void> {
    await this.useAlgorithm('RS256')
    const { tls } = this.#options
    this.#server = tls ? createTlsServer(tls) : createServer()
    this.#server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#serve(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : undefined)
      })
    })
    await new Promise<void>((resolve) => this.#server?.listen(this.#options.port ?? 0, '127.0.0.1', resolve))
  }

  /** Signs with keys of another JWS algorithm from now on. */
  async useAlgorithm(alg: string): Promise<void> {
    let keys = keyPairs.get(alg)
    if (!keys) keyPairs.set(alg, (keys = makeKeys(alg)))
    this.#keys.set(alg, await keys)
    this.#alg = alg
  }

  get isListening(): boolean {
    return this.#server?.listening ?? false
  }

  get port(): number {
    if (!this.#server) throw new Error('start first')
    // A listening TCP server has an AddressInfo.
    return (this.#server.address() as AddressInfo).port
  }

  get origin(): string {
    return `${this.#options.tls ? 'https' : 'http'}://127.0.0.1:${this.port}`
  }

  /** Exactly as the metadata says it. */
  get issuer(): string {
    return `${this.origin}${this.#options.path ?? ''}`
  }

  /** Tokens given to the revocation endpoint. */
  get revoked(): readonly string[] {
    return this.#revoked
  }

  calls(endpoint: Endpoint): number {
    return this.requests.filter((request) => request.endpoint === endpoint).length
  }

  /** Resolves once an endpoint has been called that often since the start. */
  async called(endpoint: Endpoint, count = 1): Promise<void> {
    if (this.calls(endpoint) >= count) return
    await new Promise<void>((resolve) => this.#waiters.push({ endpoint, count, resolve }))
  }

  /** The key that signs now. */
  get signingKey(): SigningKey {
    const keys = this.#keys.get(this.#alg)
    if (!keys) throw new Error('start first')
    return keys[this.keyIndex % keys.length]!
  }

  /** Signs with the next key and shows only that one. */
  rotateKey(): void {
    this.keyIndex += 1
  }

  /**
   * Signs the user in at an authorization URL (its own parameters, or none after PAR) and resolves the callback URL.
   * `claims` go into the ID tokens of this grant; `response` overrides parameters, `null` leaves one out.
   */
  authorize(
    authorizationUrl: URL,
    options: { sub?: string; claims?: Claims; response?: Record<string, string | null> } = {},
  ): URL {
    const requestUri = authorizationUrl.searchParams.get('request_uri')
    const pushed = requestUri === null ? undefined : this.#pushed.get(requestUri)
    const params = pushed ?? authorizationUrl.searchParams
    const code = randomBytes(16).toString('base64url')
    this.#codes.set(code, {
      nonce: params.get('nonce') ?? undefined,
      challenge: params.get('code_challenge') ?? undefined,
      scope: params.get('scope') ?? '',
      sub: options.sub ?? 'alice',
      claims: options.claims ?? {},
      refreshTokens: [],
      isRevoked: false,
    })
    const response: Record<string, string | null> = {
      code,
      state: params.get('state'),
      iss: this.sendsIss ? this.issuer : null,
      ...options.response,
    }
    const url = new URL(params.get('redirect_uri') ?? 'http://client.invalid/')
    for (const [name, value] of Object.entries(response)) if (value !== null) url.searchParams.set(name, value)
    return url
  }

  /** A JWT signed with the current key; `alg: 'none'` in the header makes an unsigned one. */
  async sign(claims: Claims, header: Header = {}): Promise<string> {
    if (header['alg'] === 'none') return new UnsecuredJWT(claims).encode()
    const { kid, alg, privateKey } = this.signingKey
    return await new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(privateKey)
  }

  /** A good logout token (OIDC Back-Channel Logout §2.4); `undefined` among the overrides leaves a claim out. */
  async logoutToken(overrides: Claims = {}, header: Header = {}): Promise<string> {
    const claims: Claims = {
      iss: this.issuer,
      aud: this.clientId,
      iat: this.#now(),
      exp: this.#now() + 120,
      jti: randomBytes(12).toString('base64url'),
      sub: 'alice',
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      ...overrides,
    }
    return await this.sign(without(claims), { typ: 'logout+jwt', ...header })
  }

  /** Lets every request that hangs or stalls fail now. */
  release(): void {
    for (const response of this.#open) response.destroy()
  }

  async close(): Promise<void> {
    const server = this.#server
    if (!server?.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  readonly #pushed = new Map<string, URLSearchParams>()

  #now(): number {
    return Math.floor(Date.now() / 1_000) + this.clockOffsetSeconds
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const endpoint = endpointOf(request.url ?? '/')
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(Buffer.from(chunk as Buffer)) // a request without encoding yields buffers
    if (!endpoint) {
      response.writeHead(404).end()
      return
    }
    const form = new URLSearchParams(Buffer.concat(chunks).toString())
    this.requests.push({
      endpoint,
      headers: request.headers,
      form,
      url: `${request.headers.host}${request.url}`,
      ...certificateOf(request),
    })
    for (const waiter of this.#waiters) {
      if (waiter.endpoint === endpoint && waiter.count <= this.calls(endpoint)) waiter.resolve()
    }

    if (endpoint === 'token') await this.tokenGate
    const fault = this.faults[endpoint]
    if (fault && fault.kind !== 'lost') {
      this.#misbehave(fault, response)
      return
    }
    const answer = await this.#answer(endpoint, request, form)
    if (fault) {
      response.destroy()
      return
    }
    const isText = typeof answer.body === 'string'
    response.writeHead(answer.status, {
      'content-type': isText ? 'application/jwt' : 'application/json',
      'cache-control': 'no-store',
      ...(this.dpopNonce && { 'dpop-nonce': this.dpopNonce }),
    })
    response.end(isText ? answer.body : JSON.stringify(answer.body))
  }

  async #answer(endpoint: Endpoint, request: IncomingMessage, form: URLSearchParams): Promise<Answer> {
    if (endpoint === 'metadata') return { status: 200, body: this.metadata(this.#document()) }
    if (endpoint === 'jwks') return { status: 200, body: { keys: this.publishedKeys ?? [this.signingKey.publicJwk] } }
    if (endpoint === 'userinfo') {
      const token = request.headers.authorization?.split(' ')[1] ?? ''
      const grant = this.#accessTokens.get(token)
      return grant ? { status: 200, body: this.userinfo(grant.sub) } : { status: 401, body: { error: 'invalid_token' } }
    }

    if (!this.#isAuthenticated(request, form)) return { status: 401, body: { error: 'invalid_client' } }
    if (this.dpopNonce && request.headers['dpop'] !== undefined && endpoint === 'token') {
      const [, payload = ''] = String(request.headers['dpop']).split('.')
      // Ours to read: the client has just made it.
      const { nonce } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { nonce?: string }
      if (nonce !== this.dpopNonce) return { status: 400, body: { error: 'use_dpop_nonce' } }
    }
    switch (endpoint) {
      case 'par': {
        const requestUri = `urn:ietf:params:oauth:request_uri:${randomBytes(8).toString('hex')}`
        this.#pushed.set(requestUri, form)
        return { status: 201, body: { request_uri: requestUri, expires_in: 60 } }
      }
      case 'revocation':
        this.#revoked.push(form.get('token') ?? '')
        return { status: 200, body: {} }
      case 'introspection': {
        const token = form.get('token') ?? ''
        return { status: 200, body: this.introspection({ active: this.#accessTokens.has(token) }, token) }
      }
      case 'token':
        return await this.#grant(form, request.headers['dpop'] !== undefined)
    }
  }

  async #grant(form: URLSearchParams, isDpop: boolean): Promise<Answer> {
    const refused = { status: 400, body: { error: 'invalid_grant' } }
    const type = form.get('grant_type')
    if (type === 'authorization_code') {
      const code = form.get('code') ?? ''
      const grant = this.#codes.get(code)
      const verifier = createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url')
      if (!grant || (grant.challenge !== undefined && grant.challenge !== verifier)) return refused
      this.#codes.delete(code)
      return { status: 200, body: await this.#tokens(grant, form, isDpop, true) }
    }
    if (type === 'refresh_token') {
      const token = form.get('refresh_token') ?? ''
      const grant = this.#grants.get(token)
      if (!grant || grant.isRevoked) return refused
      if (grant.refreshTokens.at(-1) !== token) {
        grant.isRevoked = true
        return refused
      }
      return { status: 200, body: await this.#tokens(grant, form, isDpop, this.refreshesIdTokens) }
    }
    const body = {
      access_token: `at-${randomBytes(12).toString('base64url')}`,
      token_type: isDpop ? 'DPoP' : 'Bearer',
      expires_in: this.accessTokenSeconds,
      ...(type === 'urn:ietf:params:oauth:grant-type:token-exchange' && {
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      }),
    }
    return { status: 200, body: this.tokenResponse(body, form) }
  }

  async #tokens(grant: Grant, form: URLSearchParams, isDpop: boolean, withIdToken: boolean): Promise<Claims> {
    const accessToken = `at-${randomBytes(12).toString('base64url')}`
    this.#accessTokens.set(accessToken, grant)
    const isRefresh = form.get('grant_type') === 'refresh_token'
    let refreshToken: string | undefined
    if (!isRefresh || this.rotatesRefreshTokens) {
      refreshToken = `rt-${randomBytes(12).toString('base64url')}`
      grant.refreshTokens.push(refreshToken)
      this.#grants.set(refreshToken, grant)
    }
    const body = this.tokenResponse(
      {
        access_token: accessToken,
        token_type: isDpop ? 'DPoP' : 'Bearer',
        expires_in: this.accessTokenSeconds,
        scope: grant.scope,
        ...(refreshToken && { refresh_token: refreshToken }),
        ...(withIdToken && { id_token: await this.#issueIdToken(grant, isRefresh) }),
      },
      form,
    )
    // UserInfo knows the token that was sent.
    if (typeof body['access_token'] === 'string') this.#accessTokens.set(body['access_token'], grant)
    return body
  }

  async #issueIdToken(grant: Grant, isRefresh: boolean): Promise<string> {
    const now = this.#now()
    const made = this.idToken(
      {
        iss: this.issuer,
        aud: this.clientId,
        sub: grant.sub,
        iat: now,
        exp: now + 300,
        ...(grant.nonce !== undefined && !isRefresh && { nonce: grant.nonce }),
        ...grant.claims,
      },
      { alg: this.signingKey.alg, kid: this.signingKey.kid },
    )
    return typeof made === 'string' ? made : await this.sign(without(made.claims), without(made.header))
  }

  #isAuthenticated(request: IncomingMessage, form: URLSearchParams): boolean {
    const [scheme, credentials] = (request.headers.authorization ?? '').split(' ')
    if (scheme === 'Basic') {
      const [id = '', secret = ''] = Buffer.from(credentials ?? '', 'base64')
        .toString()
        .split(':')
      const decode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '))
      return decode(id) === this.clientId && this.clientSecrets.includes(decode(secret))
    }
    if (form.has('client_secret')) return this.clientSecrets.includes(form.get('client_secret') ?? '')
    // Assertions and certificates are judged by the tests that use them.
    return form.has('client_assertion') || certificateOf(request) !== undefined
  }

  #document(): Claims {
    const at = (path: string): string => `${this.origin}${path}`
    return {
      issuer: this.issuer,
      authorization_endpoint: at('/authorize'),
      token_endpoint: at('/token'),
      jwks_uri: at('/jwks'),
      userinfo_endpoint: at('/userinfo'),
      revocation_endpoint: at('/revoke'),
      introspection_endpoint: at('/introspect'),
      end_session_endpoint: at('/logout'),
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'none'],
      code_challenge_methods_supported: ['S256'],
      ...(this.sendsIss && { authorization_response_iss_parameter_supported: true }),
    }
  }

  #misbehave(fault: Exclude<Fault, { kind: 'lost' }>, response: ServerResponse): void {
    const json = { 'content-type': 'application/json' }
    if (fault.kind === 'status') {
      response.writeHead(fault.status, { ...json, ...fault.headers }).end(fault.body ?? '')
      return
    }
    if (fault.kind === 'oauthError') {
      const body = JSON.stringify({ error: fault.error, error_description: '<script>alert(1)</script>' })
      response.writeHead(fault.status ?? 400, { ...json, ...fault.headers }).end(body)
      return
    }
    if (fault.kind === 'redirect') {
      response.writeHead(302, { location: fault.location }).end()
      return
    }
    this.#open.add(response)
    response.once('close', () => this.#open.delete(response))
    switch (fault.kind) {
      case 'reset':
      case 'lost':
        response.socket?.resetAndDestroy()
        return
      case 'hang':
        return
      case 'stall':
        response.writeHead(200, json).write('{"access_token":')
        return
      case 'endless': {
        response.writeHead(200, json).write('{"access_token":"')
        const pump = (): void => {
          while (!response.destroyed && response.write('a'.repeat(65_536)));
          if (!response.destroyed) response.once('drain', pump)
        }
        pump()
        return
      }
      case 'gzipBomb':
        response
          .writeHead(200, { ...json, 'content-encoding': 'gzip' })
          .end(gzipSync(Buffer.alloc(50 * 1_048_576, ' '), { level: 9 }))
        return
      case 'html':
        response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>We are making things better for you</h1>')
        return
      case 'empty':
        response.writeHead(200, json).end()
        return
      case 'truncated':
        response.writeHead(200, { ...json, 'content-length': '500' }).write('{"access_token":"at"')
        setImmediate(() => response.destroy())
        return
      case 'array':
        response.writeHead(200, json).end('[]')
    }
  }
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

function endpointOf(target: string): Endpoint | undefined {
  const path = target.split('?')[0] ?? ''
  if (path.includes('/.well-known/')) return 'metadata'
  const table: Record<string, Endpoint> = {
    jwks: 'jwks',
    token: 'token',
    par: 'par',
    userinfo: 'userinfo',
    revoke: 'revocation',
    introspect: 'introspection',
  }
  return table[path.split('/').at(-1) ?? '']
}

function certificateOf(request: IncomingMessage): { certificate: string } | undefined {
  const { socket } = request
  if (!('getPeerCertificate' in socket)) return undefined
  // A TLS socket, by the method that it has.
  const peer = (socket as unknown as { getPeerCertificate(): { subject?: { CN?: string } } }).getPeerCertificate()
  return peer.subject?.CN ? { certificate: peer.subject.CN } : undefined
}

function without(claims: Claims): Claims {
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined))
}

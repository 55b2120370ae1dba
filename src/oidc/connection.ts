/** One configured provider as it is right now: metadata, keys, our credentials and the way there. */
import type { JWK } from 'jose'
import * as client from 'openid-client'
import type { ProviderConfig } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { BackChannel } from './back-channel.ts'
import type { Exchange, ExchangeOptions, ProviderEndpoint } from './exchange.ts'
import { authenticationMethods, readClientKeys } from './client-authentication.ts'
import type { ClientKey } from './client-authentication.ts'
import { DpopNonces, dpopHandle } from './dpop.ts'
import type { IdTokenRules } from './id-token.ts'
import { IssuerKeys } from './issuer-keys.ts'
import { Metadata } from './metadata.ts'
import type { CheckedMetadata } from './metadata.ts'

export interface ConnectionOptions {
  readonly name: string
  readonly config: ProviderConfig
  readonly redirectUri: string
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'providerDuration'>
  readonly tracing?: Tracing | undefined
  readonly now: () => number
}

/** How a request ended: what the library made of it, and the facts of the wire. */
export interface RequestOutcome<T> {
  readonly exchange: Exchange
  readonly value?: T
  readonly error?: unknown
}

/** What a request needs of the library. */
export interface LibraryCall {
  readonly configuration: client.Configuration
  readonly dpop: { DPoP?: client.DPoPHandle }
}

export class Connection {
  readonly name: string
  readonly redirectUri: string
  readonly log: Log
  readonly now: () => number
  readonly keys: readonly ClientKey[]
  readonly metadata: Metadata
  readonly backChannel: BackChannel
  readonly #nonces = new DpopNonces()
  readonly #issuer: URL
  #config: ProviderConfig
  #methods: client.ClientAuth[]
  /** The credential that worked last. */
  #position = 0
  #issuerKeys: IssuerKeys | undefined
  #forUrls: { made: client.Configuration; metadata: CheckedMetadata; skewSeconds: number } | undefined

  constructor(options: ConnectionOptions) {
    const { config, log, metrics, tracing, now } = options
    this.#config = config
    this.#issuer = new URL(config.issuer)
    this.name = options.name
    this.redirectUri = options.redirectUri
    this.log = log
    this.now = now
    this.keys = readClientKeys(config)
    this.#methods = authenticationMethods(config, this.keys)
    if (this.#methods.length === 0)
      throw new Error(`provider: ${config.clientAuthentication} has neither a secret nor a key`)
    this.backChannel = new BackChannel({
      timeoutMs: config.timeout,
      publicOrigin: this.#issuer.origin,
      ...(config.backchannelBaseUrl !== undefined && { baseUrl: config.backchannelBaseUrl }),
      ...(config.tls?.cert && config.tls.key && { tls: { cert: config.tls.cert, key: config.tls.key } }),
      ...(metrics && { observe: (endpoint, seconds) => metrics.providerDuration.observe({ endpoint }, seconds) }),
      tracing,
    })
    this.metadata = new Metadata({ config, backChannel: this.backChannel, log, now })
  }

  get config(): ProviderConfig {
    return this.#config
  }

  /** Takes secrets that changed while running; everything else needs a new connection. */
  useSecretsOf(config: ProviderConfig): void {
    const methods = authenticationMethods(config, this.keys)
    if (methods.length === 0) throw new Error(`provider: ${config.clientAuthentication} has neither a secret nor a key`)
    this.#config = config
    this.#methods = methods
    this.#position = 0
  }

  /** The provider's keys, with the metadata that names them. */
  issuerKeys(metadata: CheckedMetadata): IssuerKeys {
    if (this.#issuerKeys?.uri !== metadata.jwks_uri) {
      const { backChannel, log, now } = this
      this.#issuerKeys = new IssuerKeys(metadata.jwks_uri, { backChannel, log, now })
    }
    return this.#issuerKeys
  }

  /** Servers that give tokens for one resource at a time hear in each grant which (RFC 8707 §2.2). */
  resourceParameters(): URLSearchParams {
    const parameters = new URLSearchParams()
    for (const resource of [this.#config.resource ?? []].flat()) parameters.append('resource', resource)
    return parameters
  }

  idTokenRules(metadata: CheckedMetadata): IdTokenRules {
    const { clientId, idTokenSignedResponseAlg, clockTolerance, allowedTenants } = this.#config
    return {
      issuer: metadata.issuer,
      clientId,
      algorithm: idTokenSignedResponseAlg,
      clockToleranceMs: clockTolerance,
      now: this.now,
      allowedTenants,
    }
  }

  /**
   * Makes one authenticated request. Of several secrets the next is tried once when the server does not take
   * this one, and the one that works is remembered.
   */
  async request<T>(
    metadata: CheckedMetadata,
    endpoint: ProviderEndpoint,
    run: (call: LibraryCall) => Promise<T>,
    options: ExchangeOptions & { dpopKey?: JWK | undefined } = {},
  ): Promise<RequestOutcome<T>> {
    const first = this.#position
    const outcome = await this.#attempt(metadata, endpoint, run, options, first)
    if (!refusesClient(outcome.exchange) || this.#methods.length === 1) return outcome
    const next = (first + 1) % this.#methods.length
    const second = await this.#attempt(metadata, endpoint, run, options, next)
    if (second.exchange.status !== undefined && !refusesClient(second.exchange)) {
      this.#position = next
      this.log.warn(
        { event: 'client_secret.changed', provider: this.name, position: next + 1 },
        'the provider takes another of the configured client secrets',
      )
    }
    return second
  }

  /** For what the library builds without calling anybody. It copies all of the metadata: one serves until they change. */
  configuration(metadata: CheckedMetadata): client.Configuration {
    const skewSeconds = this.#skewSeconds()
    let kept = this.#forUrls
    if (kept?.metadata !== metadata || kept.skewSeconds !== skewSeconds) {
      kept = { made: this.#configurationWith(metadata, this.#methods[this.#position]), metadata, skewSeconds }
      this.#forUrls = kept
    }
    return kept.made
  }

  #configurationWith(metadata: CheckedMetadata, method: client.ClientAuth | undefined): client.Configuration {
    const { clientId, idTokenSignedResponseAlg, clockTolerance, tls } = this.#config
    const configuration = new client.Configuration(
      // A signed userinfo answer is pinned to the one algorithm too; without this the library refuses any, or takes all.
      { ...metadata, userinfo_signing_alg_values_supported: [idTokenSignedResponseAlg] },
      clientId,
      {
        [client.clockSkew]: this.#skewSeconds(),
        [client.clockTolerance]: clockTolerance / 1_000,
        id_token_signed_response_alg: idTokenSignedResponseAlg,
        authorization_signed_response_alg: idTokenSignedResponseAlg,
        // RFC 8705 §5: a server may ask for certificates at other addresses only.
        use_mtls_endpoint_aliases: tls !== undefined,
      },
      method,
    )
    // The exchange has the deadline: it also covers the body and stops at our own signal.
    configuration.timeout = 0
    // An http issuer is a loopback address ; the metadata check holds https issuers to https.
    if (this.#issuer.protocol === 'http:') client.allowInsecureRequests(configuration)
    return configuration
  }

  #skewSeconds(): number {
    return Math.round((this.now() - Date.now()) / 1_000)
  }

  /** RFC 7009; never throws. A server without the endpoint has nothing to be told. */
  async revoke(token: string, hint: 'access_token' | 'refresh_token'): Promise<void> {
    try {
      const metadata = await this.metadata.get()
      if (metadata.revocation_endpoint === undefined) return
      const { exchange, error } = await this.request(metadata, 'revocation', ({ configuration }) =>
        client.tokenRevocation(configuration, token, { token_type_hint: hint }),
      )
      if (error === undefined) return
      this.log.warn({ provider: this.name, hint, reason: exchange.describe() }, 'a token could not be revoked')
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'unknown'
      this.log.warn({ provider: this.name, hint, reason }, 'a token could not be revoked')
    }
  }

  /**
   * Gives way to a new connection. The back channel stays open: a login under way has more calls to make, and a grant
   * must not be lost. Its idle sockets close by themselves within seconds.
   */
  retire(): void {
    this.metadata.close()
  }

  close(): void {
    this.metadata.close()
    this.backChannel.close()
  }

  async #attempt<T>(
    metadata: CheckedMetadata,
    endpoint: ProviderEndpoint,
    run: (call: LibraryCall) => Promise<T>,
    { dpopKey, ...options }: ExchangeOptions & { dpopKey?: JWK | undefined },
    position: number,
  ): Promise<RequestOutcome<T>> {
    const exchange = this.backChannel.exchange(endpoint, options)
    const method = this.#methods[position]
    if (!method) throw new BffError('internal', 'there is no such client secret')
    const configuration = this.#configurationWith(metadata, this.#withExactRedirectUri(method))
    configuration[client.customFetch] = exchange.fetch
    const handle = dpopKey && (await dpopHandle(configuration, dpopKey, this.#nonces))
    try {
      return { exchange, value: await run({ configuration, dpop: handle ? { DPoP: handle } : {} }) }
    } catch (error) {
      return { exchange, error }
    } finally {
      if (exchange.url !== undefined) this.#nonces.learn(new URL(exchange.url).origin, exchange.dpopNonce)
    }
  }

  // The library sends what a URL parser makes of the address; servers compare with the registered text (TK-05).
  #withExactRedirectUri(method: client.ClientAuth): client.ClientAuth {
    return (server, metadata, body, headers) => {
      if (body.get('grant_type') === 'authorization_code') body.set('redirect_uri', this.redirectUri)
      return method(server, metadata, body, headers)
    }
  }
}

/** The operator's fault and nobody else's (RFC 6749 §5.2). */
export function refusesClient(exchange: Exchange): boolean {
  return exchange.oauthError === 'invalid_client' || exchange.oauthError === 'unauthorized_client'
}

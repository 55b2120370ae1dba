/** The provider's metadata: fetched from the configured issuer, held to its name, kept while the provider is away. */
import type { ServerMetadata } from 'openid-client'
import { isLoopback } from '../config/network.ts'
import type { ProviderConfig } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { BackChannel } from './back-channel.ts'

/** A server that comes back is used within this time (R17). */
const MAX_RETRY_MS = 4_000
const FIRST_RETRY_MS = 250
const REREAD_MS = 600_000
/** How often it is looked whether the copy is old, or the provider away: then it is read again. */
const LOOK_MS = 30_000
/** Between attempts on behalf of requests, while there is nothing yet. */
const ON_DEMAND_MS = 1_000

const REQUIRED_ENDPOINTS = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const
const OTHER_ENDPOINTS = [
  'userinfo_endpoint',
  'revocation_endpoint',
  'introspection_endpoint',
  'end_session_endpoint',
  'pushed_authorization_request_endpoint',
] as const

/** Metadata that has passed `checkMetadata`. */
export type CheckedMetadata = ServerMetadata & Readonly<Record<(typeof REQUIRED_ENDPOINTS)[number], string>>

/** Of a provider's configuration; of an issuer at which we are no client there is the name only. */
export type MetadataConfig = Pick<ProviderConfig, 'issuer'> &
  Partial<Pick<ProviderConfig, 'metadataUrl' | 'metadata' | 'allowedTenants' | 'clientAuthentication' | 'profile'>>

export interface MetadataOptions {
  readonly config: MetadataConfig
  readonly backChannel: Pick<BackChannel, 'exchange' | 'isFailing'>
  readonly log: Log
  readonly now: () => number
}

/** Reads the metadata until it has it, then again every ten minutes; a failure leaves the last good copy in place. */
export class Metadata {
  readonly #options: MetadataOptions
  #current: CheckedMetadata | undefined
  #loading: Promise<CheckedMetadata> | undefined
  #triedAt = Number.NEGATIVE_INFINITY
  #failures = 0
  #lastReason: string | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: MetadataOptions) {
    this.#options = options
  }

  get current(): CheckedMetadata | undefined {
    return this.#current
  }

  /** Whether the last attempt failed. */
  get isFailing(): boolean {
    return this.#failures > 0
  }

  /** Starts with a copy that an earlier configuration of the same issuer had read. */
  seed(metadata: CheckedMetadata): void {
    this.#current = metadata
  }

  /** Begins to read and goes on until closed; never throws. */
  start(): void {
    const isDue = this.#options.now() - this.#triedAt >= REREAD_MS || !this.#current || this.#failures > 0
    // A provider that somebody could not reach is asked until it is back, so that an outage is known to be over.
    const reading = isDue || this.#options.backChannel.isFailing ? this.reread() : Promise.resolve()
    void reading.then(() => {
      if (this.#isClosed) return
      const retryMs = Math.min(FIRST_RETRY_MS * 2 ** (this.#failures - 1), MAX_RETRY_MS)
      this.#timer = setTimeout(() => this.start(), jittered(this.#current ? LOOK_MS : retryMs))
      this.#timer.unref()
    })
  }

  /**
   * The last good copy; without one, a try now, which concurrent callers share.
   *
   * @throws BffError `provider_unavailable`
   */
  async get(): Promise<CheckedMetadata> {
    if (this.#current) return this.#current
    if (!this.#loading && this.#options.now() - this.#triedAt < ON_DEMAND_MS) {
      throw new BffError('provider_unavailable', `no metadata: ${this.#lastReason ?? 'not read yet'}`)
    }
    return await this.#load()
  }

  /** Reads it again now. A failure is logged and leaves the last good copy in place. */
  async reread(): Promise<void> {
    await this.#load().catch(() => {
      // Said in the log by whoever read it.
    })
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #load(): Promise<CheckedMetadata> {
    this.#loading ??= this.#read().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #read(): Promise<CheckedMetadata> {
    const { config, log, now } = this.#options
    this.#triedAt = now()
    try {
      const document = await this.#fetch()
      // Overrides mend endpoints; whose document it is, it must say itself.
      const { issuer = config.metadata?.['issuer'] } = document
      const metadata = checkMetadata({ ...document, ...config.metadata, issuer }, config)
      if (this.#failures > 0 || !this.#current) log.info({ issuer: config.issuer }, 'the provider’s metadata is good')
      this.#current = metadata
      this.#failures = 0
      this.#lastReason = undefined
      return metadata
    } catch (error) {
      const reason = error instanceof Error ? error.message : 'unknown'
      this.#failures += 1
      // Said once for each reason, not four times a second.
      if (reason !== this.#lastReason) {
        log.error(
          { issuer: config.issuer, reason, keptLastCopy: this.#current !== undefined },
          'the provider’s metadata could not be read',
        )
      }
      this.#lastReason = reason
      throw error instanceof BffError ? error : new BffError('provider_unavailable', reason)
    }
  }

  async #fetch(): Promise<Record<string, unknown>> {
    const { config, backChannel } = this.#options
    if (isComplete(config.metadata)) return {}
    let reason = ''
    for (const url of metadataUrls(config)) {
      const exchange = backChannel.exchange('metadata')
      try {
        await exchange.fetch(url, { method: 'GET', headers: { accept: 'application/json' } })
      } catch {
        // The facts are in the exchange.
      }
      if (exchange.status === 200 && exchange.json) return exchange.json
      reason ||= `${url}: ${exchange.status === 200 ? 'no JSON object' : exchange.describe()}`
      // Only a server that is there and does not know the one address may know the other.
      if (exchange.status === undefined || exchange.status >= 500) break
    }
    throw new BffError('provider_unavailable', reason)
  }
}

/** The addresses to try: the configured one, or OpenID Connect Discovery §4 and then RFC 8414 §3.1. */
export function metadataUrls(config: Pick<MetadataConfig, 'issuer' | 'metadataUrl'>): string[] {
  if (config.metadataUrl !== undefined) return [config.metadataUrl]
  const issuer = new URL(config.issuer)
  const path = issuer.pathname.replace(/\/$/, '')
  return [
    `${issuer.origin}${path}/.well-known/openid-configuration`,
    `${issuer.origin}/.well-known/oauth-authorization-server${path}`,
  ]
}

/**
 * @returns the document as it came, or an error with what is wrong with it: then none of it is used
 * @throws BffError `provider_unavailable`
 */
export function checkMetadata(document: Record<string, unknown>, config: MetadataConfig): CheckedMetadata {
  const refuse = (reason: string): never => {
    throw new BffError('provider_unavailable', `metadata: ${reason}`)
  }
  const { issuer } = document
  // Character by character: `…/` and `…` are two issuers, and a URL parser would take them for one (AS-02).
  if (issuer !== config.issuer && !isTenantTemplate(issuer, config)) {
    refuse(
      `issuer is ${JSON.stringify(issuer)}, configured is ${JSON.stringify(config.issuer)}${slashHint(issuer, config.issuer)}`,
    )
  }
  const issuerUrl = new URL(config.issuer)
  const check = (name: string, value: unknown): void => {
    const url = typeof value === 'string' ? URL.parse(value) : null
    if (!url) return refuse(`${name} is no URL`)
    // In clear only where the issuer is, and then no further than to it.
    const staysThere = isLoopback(url.hostname) || url.hostname === issuerUrl.hostname
    const isAllowed =
      url.protocol === 'https:' || (issuerUrl.protocol === 'http:' && url.protocol === 'http:' && staysThere)
    if (!isAllowed) refuse(`${name} is not https`)
    if (url.username || url.password) refuse(`${name} holds credentials`)
  }
  for (const name of REQUIRED_ENDPOINTS) check(name, document[name])
  for (const name of OTHER_ENDPOINTS) if (document[name] !== undefined) check(name, document[name])
  const aliases = document['mtls_endpoint_aliases']
  if (typeof aliases === 'object' && aliases !== null) {
    for (const [name, value] of Object.entries(aliases)) check(`mtls_endpoint_aliases.${name}`, value)
  }
  const methods = document['token_endpoint_auth_methods_supported']
  const { clientAuthentication: method } = config
  if (method !== undefined && Array.isArray(methods) && !methods.includes(method)) {
    refuse(`the provider does not list ${method} in token_endpoint_auth_methods_supported`)
  }
  if (config.profile === 'fapi2') checkFapi(document, refuse)
  // The issuer and the endpoints have just been checked; the library judges the members that it reads.
  return document as CheckedMetadata
}

function checkFapi(document: Record<string, unknown>, refuse: (reason: string) => never): void {
  if (document['authorization_response_iss_parameter_supported'] !== true) {
    refuse('FAPI 2.0 §5.3.3.2 asks for authorization_response_iss_parameter_supported')
  }
  if (typeof document['pushed_authorization_request_endpoint'] !== 'string') {
    refuse('FAPI 2.0 §5.3.3.2 asks for pushed_authorization_request_endpoint')
  }
}

/** Whether an answer says whose it is: as RFC 9207 parameter, or inside of a signed answer (JARM). */
export function namesItsIssuer(metadata: CheckedMetadata, config: Pick<ProviderConfig, 'responseMode'>): boolean {
  return config.responseMode.endsWith('jwt') || metadata['authorization_response_iss_parameter_supported'] === true
}

/** Entra's multi-tenant endpoints publish `https://…/{tenantid}/v2.0`; it stands for tenants that the operator named. */
function isTenantTemplate(issuer: unknown, config: MetadataConfig): boolean {
  if (typeof issuer !== 'string' || !issuer.includes('{tenantid}') || !config.allowedTenants?.length) return false
  const [before = '', after = ''] = issuer.split('{tenantid}')
  const tenant = config.issuer.slice(before.length, config.issuer.length - after.length)
  return config.issuer === `${before}${tenant}${after}` && /^[A-Za-z0-9.-]+$/.test(tenant)
}

function slashHint(found: unknown, configured: string): string {
  const differsBySlash = typeof found === 'string' && (found === `${configured}/` || `${found}/` === configured)
  return differsBySlash ? ': the slash at the end matters' : ''
}

function isComplete(metadata: Record<string, unknown> | undefined): boolean {
  return metadata !== undefined && ['issuer', ...REQUIRED_ENDPOINTS].every((name) => typeof metadata[name] === 'string')
}

function jittered(delayMs: number): number {
  return delayMs * (0.75 + Math.random() / 4)
}

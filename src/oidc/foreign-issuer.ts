/** An issuer at which the gateway is no client: its metadata and keys are all that is known of it. */
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { type BearerRule, type BearerToken, invalidToken, isSignedJwt, verifyAccessToken } from './access-token.ts'
import { BackChannel } from './back-channel.ts'
import { IssuerKeys } from './issuer-keys.ts'
import { Metadata } from './metadata.ts'

export interface ForeignIssuerOptions {
  readonly issuer: string
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'providerDuration'> | undefined
  readonly tracing?: Tracing | undefined
  readonly now: () => number
}

/** The defaults of `provider.clockTolerance` and `.timeout`: here is no configuration that could say otherwise. */
const CLOCK_TOLERANCE_MS = 30_000
const TIMEOUT_MS = 10_000

/** Verifies the tokens of one issuer; begins to read its metadata when it is made. */
export class ForeignIssuer {
  readonly issuer: string
  readonly #options: ForeignIssuerOptions
  readonly #backChannel: BackChannel
  readonly #metadata: Metadata
  #keys: IssuerKeys | undefined

  constructor(options: ForeignIssuerOptions) {
    const { issuer, log, metrics, tracing, now } = options
    this.issuer = issuer
    this.#options = options
    this.#backChannel = new BackChannel({
      timeoutMs: TIMEOUT_MS,
      publicOrigin: new URL(issuer).origin,
      ...(metrics && { observe: (endpoint, seconds) => metrics.providerDuration.observe({ endpoint }, seconds) }),
      tracing,
    })
    this.#metadata = new Metadata({ config: { issuer }, backChannel: this.#backChannel, log, now })
    this.#metadata.start()
  }

  /** @throws BffError `login_required` with the failed check as detail; `provider_unavailable` without its keys */
  async verifyAccessToken(token: string, rule: BearerRule): Promise<BearerToken> {
    if (!isSignedJwt(token))
      throw invalidToken('it is opaque, and only the gateway’s own provider is asked about those')
    const { now, log } = this.#options
    const { jwks_uri } = await this.#metadata.get()
    if (this.#keys?.uri !== jwks_uri)
      this.#keys = new IssuerKeys(jwks_uri, { backChannel: this.#backChannel, log, now })
    return await verifyAccessToken(
      token,
      { ...rule, clientIds: [], clockToleranceMs: CLOCK_TOLERANCE_MS, now },
      this.#keys,
    )
  }

  close(): void {
    this.#metadata.close()
    this.#backChannel.close()
  }
}

/** Header fields that keep browsers from doing foolish things with our answers (CF-03, CF-07, CS-09). */
import type { Config } from '../config/schema.ts'

type HeaderConfig = Pick<Config, 'publicUrl' | 'headers'>
type Fields = Readonly<Record<string, string>>

const ONE_YEAR_SECONDS = 31_536_000

/** Made once from the configuration; the records are shared by all answers. */
export class SecurityHeaders {
  /** For answers that no browser shows: JSON, redirects, event streams. */
  readonly answer: Fields
  /** For the files of a hosted SPA, its documents and all. */
  readonly spa: Fields
  readonly #document: Fields
  readonly #frameAncestors: string

  constructor(config: HeaderConfig) {
    const { csp, frameAncestors } = config.headers
    const hsts = strictTransport(config)
    const common = {
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'same-origin',
      ...(hsts && { 'strict-transport-security': hsts }),
    }
    // `allow-popups`: a sign-in popup must be able to tell the page that opened it.
    this.#document = { ...common, 'cross-origin-opener-policy': 'same-origin-allow-popups' }
    this.answer = { ...common, 'cross-origin-resource-policy': 'same-origin' }
    this.#frameAncestors = `frame-ancestors ${frameAncestors}`
    // Which scripts and images an application needs only its team knows; that nobody frames it is our default.
    this.spa = { ...this.#document, 'content-security-policy': withFrameAncestors(csp, this.#frameAncestors) }
  }

  /**
   * For one of our own pages: nothing is allowed but what stands in the page itself, named by its hash.
   *
   * @param hashes `'sha256-…'` sources of the page's style and, where it has one, of its script
   */
  page(hashes: { style: string; script?: string }): Fields {
    const policy = [
      "default-src 'none'",
      `style-src ${hashes.style}`,
      ...(hashes.script === undefined ? [] : [`script-src ${hashes.script}`]),
      "img-src 'self'",
      "form-action 'self'",
      "base-uri 'none'",
      this.#frameAncestors,
    ].join('; ')
    return {
      ...this.#document,
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': policy,
    }
  }
}

/** A policy that says nothing about framing would leave it open to everybody. */
function withFrameAncestors(csp: string | undefined, directive: string): string {
  if (csp === undefined) return directive
  return /(^|;)\s*frame-ancestors\b/i.test(csp) ? csp : `${csp.replace(/[;\s]+$/, '')}; ${directive}`
}

/** Only over https: elsewhere the field is ignored, and must be (RFC 6797 §7.2). */
function strictTransport({ publicUrl, headers }: HeaderConfig): string | undefined {
  if (!publicUrl.startsWith('https:') || headers.hsts === false) return undefined
  const seconds = headers.hsts === true ? ONE_YEAR_SECONDS : Math.floor(headers.hsts / 1_000)
  return `max-age=${seconds}`
}

/** Every failure that a client can see: one table, one error class. Nothing else decides a status. */

const failures = {
  invalid_request: { status: 400, title: 'The request is not valid' },
  login_failed: { status: 400, title: 'The sign-in could not be completed' },
  login_required: { status: 401, title: 'Sign-in is required' },
  session_expired: { status: 401, title: 'The session has ended' },
  step_up_required: { status: 401, title: 'A stronger or more recent sign-in is required' },
  csrf_rejected: { status: 403, title: 'Cross-site request refused' },
  forbidden: { status: 403, title: 'Access is not allowed' },
  not_found: { status: 404, title: 'Nothing is here' },
  method_not_allowed: { status: 405, title: 'The method is not allowed here' },
  payload_too_large: { status: 413, title: 'The request body is too large' },
  uri_too_long: { status: 414, title: 'The address is too long' },
  unsupported_media_type: { status: 415, title: 'The body has a type that is not taken here' },
  misdirected_request: { status: 421, title: 'The request is meant for another server' },
  headers_too_large: { status: 431, title: 'The request header fields are too large' },
  rate_limited: { status: 429, title: 'Too many requests' },
  internal: { status: 500, title: 'Something went wrong' },
  upstream_unavailable: { status: 502, title: 'The application behind the gateway did not answer' },
  store_unavailable: { status: 503, title: 'The session store is unavailable' },
  provider_unavailable: { status: 503, title: 'The sign-in service is unavailable' },
  overloaded: { status: 503, title: 'The gateway is overloaded' },
  upstream_timeout: { status: 504, title: 'The application behind the gateway took too long' },
  loop_detected: { status: 508, title: 'The request went round in a circle' },
} as const satisfies Record<string, { status: number; title: string }>

/** The public code of a failure, as in the `code` member and the `Sidegate-Error` header. */
export type FailureCode = keyof typeof failures

/** All codes, for documentation and tests. */
export const failureCodes = Object.keys(failures) as FailureCode[]

export interface BffErrorOptions extends ErrorOptions {
  /** Whole seconds for `Retry-After`; set on 429 and 503. */
  readonly retryAfterSeconds?: number
  /** Further answer headers that belong to this failure, such as `Allow`. */
  readonly headers?: Readonly<Record<string, string>>
  /** Further members of the problem document (RFC 9457 §3.2), public by nature. */
  readonly members?: Readonly<Record<string, unknown>>
}

/**
 * A failure with a public code. Branch on `code`, never on `message`.
 *
 * `title` is public and fixed by the table; `message` and `cause` are for the log. They may name keys,
 * endpoints and checks, never the value of a token, code, cookie or secret.
 */
export class BffError extends Error {
  override readonly name = 'BffError'
  readonly code: FailureCode
  readonly statusCode: number
  readonly title: string
  readonly retryAfterSeconds: number | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly members: Readonly<Record<string, unknown>>

  constructor(code: FailureCode, detail?: string, options?: BffErrorOptions) {
    super(detail ?? failures[code].title, options)
    this.code = code
    this.statusCode = failures[code].status
    this.title = failures[code].title
    this.retryAfterSeconds = options?.retryAfterSeconds ?? (this.statusCode === 503 ? 5 : undefined)
    this.headers = options?.headers ?? {}
    this.members = options?.members ?? {}
  }
}

/** Whether an unknown thrown value is a failure with (one of) these codes. */
export function hasCode(error: unknown, ...codes: FailureCode[]): error is BffError {
  return error instanceof BffError && codes.includes(error.code)
}

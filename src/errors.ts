/** Every failure that a client can see: one table, one error class. Nothing else decides a status. */

const failures = {
  invalid_request: {
    status: 400,
    title: 'The request is not valid',
    remedy: 'look at what builds the address or the header, or at a proxy in front that rewrites them',
  },
  login_failed: {
    status: 400,
    title: 'The sign-in could not be completed',
    remedy: 'if it happens to everybody: sidegate doctor --login; if to one, let them sign in again',
  },
  login_required: {
    status: 401,
    title: 'Sign-in is required',
    remedy:
      'the app sends the page to loginUrl; if the cookie should have come, compare its SameSite with where the request came from',
  },
  session_expired: {
    status: 401,
    title: 'The session has ended',
    remedy: 'sign in again; the line session.ended of this sessionRef has the reason',
  },
  step_up_required: {
    status: 401,
    title: 'A stronger or more recent sign-in is required',
    remedy: 'the app sends the page to loginUrl; if it comes back at once, the server gives no acr or auth_time',
  },
  csrf_rejected: {
    status: 403,
    title: 'Cross-site request refused',
    remedy:
      'call from the own origin, with X-CSRF: 1 where no Sec-Fetch-Site comes; sidegate explain METHOD PATH shows what passes',
  },
  forbidden: {
    status: 403,
    title: 'Access is not allowed',
    remedy: 'compare allow of the route with the claims of the user: sidegate doctor --login shows which come',
  },
  not_found: {
    status: 404,
    title: 'Nothing is here',
    remedy: 'sidegate explain METHOD PATH shows which route would take it; routes match on whole segments',
  },
  method_not_allowed: {
    status: 405,
    title: 'The method is not allowed here',
    remedy: 'add the method to methods of the route, or use one of those in Allow',
  },
  payload_too_large: {
    status: 413,
    title: 'The request body is too large',
    remedy: 'send less, or raise bodyLimit of the route',
  },
  uri_too_long: {
    status: 414,
    title: 'The address is too long',
    remedy: 'send less in the address; listen.maxHeaderSize bounds it',
  },
  unsupported_media_type: {
    status: 415,
    title: 'The body has a type that is not taken here',
    remedy: 'send JSON, a form or nothing to endpoints of the gateway',
  },
  misdirected_request: {
    status: 421,
    title: 'The request is meant for another server',
    remedy: 'address the gateway by publicUrl; a client took it for a forward proxy',
  },
  headers_too_large: {
    status: 431,
    title: 'The request header fields are too large',
    remedy: 'look for cookies that pile up, or raise listen.maxHeaderSize',
  },
  rate_limited: {
    status: 429,
    title: 'Too many requests',
    remedy: 'wait for Retry-After; where a proxy stands in front, write trustedProxies, or all share one address',
  },
  internal: {
    status: 500,
    title: 'Something went wrong',
    remedy: 'this is a mistake of the gateway: report it with this line',
  },
  upstream_unavailable: {
    status: 502,
    title: 'The application behind the gateway did not answer',
    remedy: 'see whether the upstream of the route runs and can be reached from here: sidegate doctor',
  },
  store_unavailable: {
    status: 503,
    title: 'The session store is unavailable',
    remedy: 'see whether Redis runs and takes writes: sidegate doctor',
  },
  provider_unavailable: {
    status: 503,
    title: 'The sign-in service is unavailable',
    remedy: 'see whether the authorization server answers and takes this client: sidegate doctor',
  },
  overloaded: {
    status: 503,
    title: 'The gateway is overloaded',
    remedy: 'add instances, or find out what takes so long; retry after Retry-After',
  },
  upstream_timeout: {
    status: 504,
    title: 'The application behind the gateway took too long',
    remedy: 'see why the upstream takes so long, or raise timeout of the route',
  },
  loop_detected: {
    status: 508,
    title: 'The request went round in a circle',
    remedy: 'write the address of the application as upstream, and not one that leads back here',
  },
} as const satisfies Record<string, { status: number; title: string; remedy: string }>

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
  /** What an operator does about it, for the log. */
  readonly remedy: string
  readonly retryAfterSeconds: number | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly members: Readonly<Record<string, unknown>>

  constructor(code: FailureCode, detail?: string, options?: BffErrorOptions) {
    super(detail ?? failures[code].title, options)
    this.code = code
    this.statusCode = failures[code].status
    this.title = failures[code].title
    this.remedy = failures[code].remedy
    this.retryAfterSeconds = options?.retryAfterSeconds ?? (this.statusCode === 503 ? 5 : undefined)
    this.headers = options?.headers ?? {}
    this.members = options?.members ?? {}
  }
}

/** Whether an unknown thrown value is a failure with (one of) these codes. */
export function hasCode(error: unknown, ...codes: FailureCode[]): error is BffError {
  return error instanceof BffError && codes.includes(error.code)
}

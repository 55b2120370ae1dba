/** What the answer to a failure says: problem+json (RFC 9457), or a page where a person looks. Pure. */
import type { IncomingHttpHeaders } from 'node:http'
import type { BffError } from '../errors.ts'
import { isNavigation } from './csrf.ts'
import type { Pages } from './pages.ts'
import { parseReturnTo } from './return-to.ts'
import type { SecurityHeaders } from './security-headers.ts'

/** What every answer to a failure is made with. */
export interface FailureOptions {
  readonly publicUrl: URL
  readonly basePath: string
  readonly pages: Pages
  readonly security: SecurityHeaders
}

/** What is known of the request that failed. */
export interface FailedRequest {
  readonly requestId: string
  readonly method: string | undefined
  /** The request target as sent; `undefined` where it was never read. */
  readonly target: string | undefined
  readonly headers: IncomingHttpHeaders
}

/** What is written, by whatever way. */
export interface FailureAnswer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

/** A failure as problem+json (RFC 9457), or as a page where a person looks. */
export function describeFailure(error: BffError, request: FailedRequest, options: FailureOptions): FailureAnswer {
  const { statusCode: status, title, code } = error
  const common = {
    ...error.headers,
    'sidegate-error': code,
    'cache-control': 'no-store',
    ...(error.retryAfterSeconds !== undefined && { 'retry-after': String(error.retryAfterSeconds) }),
  }
  if (isNavigation(request.headers)) {
    const page = options.pages.failure({
      code,
      requestId: request.requestId,
      loginUrl: loginUrl(request, options, error.members['loginUrl']),
      retryUrl: retryUrl(request, options),
    })
    return { status, headers: { ...page.headers, ...common }, body: page.html }
  }
  const document = {
    ...(status === 401 && { loginUrl: `${options.basePath}/login` }),
    ...error.members,
    status,
    title,
    code,
    requestId: request.requestId,
  }
  return {
    status,
    headers: { ...options.security.answer, 'content-type': 'application/problem+json', ...common },
    body: JSON.stringify(document),
  }
}

/** What "try again" leads to: the same address, or for a sign-in that broke off a new one. */
function retryUrl(request: FailedRequest, options: FailureOptions): string | undefined {
  const login = `${options.basePath}/login`
  const target = request.method === 'GET' ? request.target : undefined
  if (target === login || target?.startsWith(`${login}?`)) return target
  return ownAddress(request, options) ?? (target?.startsWith(`${options.basePath}/callback`) ? login : undefined)
}

/** The sign-in that ends where this request wanted to go: the one that the failure asks for, or any. */
function loginUrl(request: FailedRequest, options: FailureOptions, wanted: unknown): string {
  const returnTo = ownAddress(request, options)
  const login = typeof wanted === 'string' ? wanted : `${options.basePath}/login`
  if (returnTo === undefined || returnTo === '/') return login
  return `${login}${login.includes('?') ? '&' : '?'}returnTo=${encodeURIComponent(returnTo)}`
}

/** The address that was asked for, where a page may link to it: by GET, ours, and no endpoint. */
function ownAddress(request: FailedRequest, options: FailureOptions): string | undefined {
  if (request.method !== 'GET' || request.target === undefined) return undefined
  const { returnTo, refused } = parseReturnTo(request.target, { ...options, allowedOrigins: [] })
  return refused ? undefined : returnTo
}

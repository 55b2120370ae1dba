/** Which other origins' scripts may read our answers: those of `cors.origins`, named exactly, and nobody by default. */
import type { IncomingHttpHeaders } from 'node:http'

/** How long a browser may remember the answer to a preflight; Chromium takes two hours at most. */
const PREFLIGHT_SECONDS = 600
const READABLE = 'Sidegate-Error, Retry-After, Location, ETag, Content-Disposition, X-Request-Id'
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'
const FIELD_NAMES = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*$/

/** A question of the browser before it sends somebody's request (Fetch §3.2.2); never forwarded. */
export function isPreflight(method: string, headers: IncomingHttpHeaders): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined
}

/**
 * The header fields of the 204 that answers a preflight. For an origin that is not listed they allow nothing, and
 * do not tell whether the path exists.
 *
 * @param allowed the methods of the place that was asked for; `undefined` for all that are proxied
 */
export function preflightHeaders(
  headers: IncomingHttpHeaders,
  origins: readonly string[],
  allowed: Iterable<string> | undefined,
): Record<string, string> {
  const vary = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'
  if (headers.origin === undefined || !origins.includes(headers.origin)) return { vary }
  const asked = headers['access-control-request-headers']
  return {
    vary,
    'access-control-allow-origin': headers.origin,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': allowed ? [...allowed].join(', ') : METHODS,
    // The origin is trusted by configuration; which names it sends is the API's business.
    ...(asked !== undefined &&
      asked.length <= 1_024 &&
      FIELD_NAMES.test(asked) && { 'access-control-allow-headers': asked }),
    'access-control-max-age': String(PREFLIGHT_SECONDS),
  }
}

/**
 * The header fields of any other answer to a request with this Origin. Nothing where no origin is configured; with
 * some configured the answer varies by Origin, whoever asks.
 */
export function corsHeaders(origin: string | undefined, origins: readonly string[]): Record<string, string> {
  if (origins.length === 0) return {}
  if (origin === undefined || !origins.includes(origin)) return { vary: 'Origin' }
  return {
    vary: 'Origin',
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': READABLE,
  }
}

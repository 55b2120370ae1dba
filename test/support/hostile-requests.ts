/** Requests as an attacker would invent them: paths and fields from pieces that matter, in any order. */
import fc from 'fast-check'

export interface HostileRequest {
  readonly method: string
  readonly target: string
  readonly fields: readonly (readonly [name: string, value: string])[]
}

const piece = fc.oneof(
  fc.constantFrom(
    '/',
    '//',
    '.',
    '..',
    '...',
    '%2e',
    '%2E%2e',
    '%2f',
    '%5c',
    '\\',
    ';',
    ';x',
    '%00',
    '%',
    '%zz',
    '%c0%ae',
    '%252e',
    '?',
    '#',
    '@',
    ':',
  ),
  fc.constantFrom(
    'api',
    'public',
    'ws',
    'bff',
    'login',
    'admin',
    'v1',
    '%61pi',
    'API',
    'x',
    'http://evil.example',
    '127.0.0.1',
  ),
  fc.stringMatching(/^[\x21-\x7e]{1,6}$/),
)
const targets = fc.tuple(fc.constantFrom('/api/', '/api', '/api/public/', '/', ''), fc.array(piece, { maxLength: 8 }))
const name = fc.oneof(
  fc.constantFrom(
    'Authorization',
    'authorization',
    'HTTP_AUTHORIZATION',
    'Connection',
    'Cookie',
    'X-Forwarded-User',
    'x_user',
    'Forwarded',
    'TE',
    'Upgrade',
    'Via',
    'X-Original-URL',
    'DPoP',
    'X-CSRF',
    'Sec-Fetch-Site',
    'Origin',
    'Accept',
  ),
  fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/),
)
const value = fc.oneof(
  fc.constantFrom(
    'evil',
    'authorization, host',
    'same-origin',
    'https://app.example',
    'null',
    'websocket',
    'trailers',
    '1',
    '1.1 sidegate',
  ),
  fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,20}$/),
)
/** Framing is the corpus's subject; here it only hides what is looked for. */
const isFraming = (field: string) => /^(?:host|content-length|transfer-encoding|expect)$/i.test(field)

export const hostileRequests: fc.Arbitrary<HostileRequest> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'HEAD', 'DELETE'),
  target: targets.map(([start, pieces]) => start + pieces.join('')).map((path) => (path === '' ? '/' : path)),
  fields: fc.array(fc.tuple(name, value), { maxLength: 6 }).map((fields) => fields.filter(([one]) => !isFraming(one))),
})

/** Its bytes, with these lines first. */
export function hostileBytes({ method, target, fields }: HostileRequest, first: readonly string[]): string {
  const lines = fields.map(([one, text]) => `${one}: ${text}`)
  return [`${method} ${target} HTTP/1.1`, ...first, ...lines, '', ''].join('\r\n')
}

/** What real clients send: our own cases, which must come through byte for byte. */

/** One request; `/api` is the route, and the session comes with it. */
export interface Benign {
  readonly what: string
  readonly method?: string
  readonly target?: string
  /** Lines that must arrive as they are, in this order. */
  readonly lines?: readonly string[]
  readonly body?: string
  readonly isChunked?: boolean
}

// RFC 3986 §3.3: unreserved, sub-delims, `:`, `@`; `;` is tried with care below.
const PATH_CHARACTERS = Array.from("ABYZabyz0189-._~!$&'()*+,=:@")
const QUERY_CHARACTERS = [...PATH_CHARACTERS, ...Array.from(';/?[]{}|^`"<>\\')]
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY', 'PROPFIND', 'PROPPATCH', 'MKCOL', 'COPY']
const MORE_METHODS = [
  'MOVE',
  'LOCK',
  'UNLOCK',
  'REPORT',
  'SEARCH',
  'MERGE',
  'PURGE',
  'NOTIFY',
  'SUBSCRIBE',
  'UNSUBSCRIBE',
  'LINK',
  'UNLINK',
  'ACL',
  'BIND',
  'MKCALENDAR',
  'CHECKOUT',
  'M-SEARCH',
  'REBIND',
  'SOURCE',
  'UNBIND',
  'MKACTIVITY',
]

const paths: Benign[] = [
  ...PATH_CHARACTERS.map((character) => ({
    what: `path with ${character}`,
    target: `/api/a${character}b/${character}x`,
  })),
  ...[
    '%20',
    '%21',
    '%23',
    '%25',
    '%2B',
    '%2C',
    '%3A',
    '%3D',
    '%3F',
    '%40',
    '%5B',
    '%7E',
    '%7C',
    '%C3%A9',
    '%E2%82%AC',
    '%F0%9F%98%80',
    '%c3%a9',
    '%3B',
  ].map((escape) => ({ what: `path with ${escape}`, target: `/api/a${escape}b` })),
  ...[
    '/api',
    '/api/',
    '/api//',
    '/api//a//b',
    '/api/...',
    '/api/..a',
    '/api/a..',
    '/api/.a',
    '/api/a.',
    '/api/a;v=1',
    '/api/a;b=c;d/e',
    '/api/a%2Fb',
    '/api/a%2fb',
  ].map((target) => ({ what: `path ${target}`, target })),
  { what: 'path of 8 kB', target: `/api/${'a'.repeat(8_000)}` },
  { what: 'path of 300 segments', target: `/api${'/a'.repeat(300)}` },
]

const queries: Benign[] = [
  ...QUERY_CHARACTERS.map((character) => ({
    what: `query with ${character}`,
    target: `/api/x?a=${character}&${character}b=${character}`,
  })),
  ...[
    '?',
    '?&',
    '?a',
    '?a=',
    '?=a',
    '?a=b&a=c',
    '?a[]=1&a[]=2',
    '?a%5B%5D=1',
    '?q=a+b%20c',
    '?u=https://evil.example/../x',
    '?u=//evil.example',
    '?f=../../etc/passwd',
    '?x=%00',
    '?x=%0d%0a',
    '?x=%e9',
    '?x=%zz',
    '?x=%',
    '?%',
    '?a=1?b=2',
    '?__proto__=1',
    `?long=${'a'.repeat(7_000)}`,
  ].map((query) => ({ what: `query ${query.slice(0, 20)}`, target: `/api/x${query}` })),
]

const fields: Benign[] = [
  'Accept: */*',
  'Accept: application/json, text/plain;q=0.9, */*;q=0.1',
  'Accept-Encoding: gzip, deflate, br, zstd',
  'Accept-Language: de-CH,de;q=0.9,en;q=0.8',
  'Authorization-Hint: none',
  'Cache-Control: no-cache, no-store, max-age=0',
  'Pragma: no-cache',
  'Cookie2: $Version="1"',
  'DNT: 1',
  'Early-Data: 1',
  'ETag: "x"',
  'If-Match: "a", W/"b"',
  'If-None-Match: W/"a"',
  'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT',
  'If-Range: "x"',
  'Range: bytes=0-499, -500',
  'Priority: u=1, i',
  'Purpose: prefetch',
  'Referer: https://app.example/a?b=c',
  'Save-Data: on',
  'Sec-CH-UA: "Chromium";v="156", "Not?A_Brand";v="99"',
  'Sec-CH-UA-Mobile: ?0',
  'Sec-GPC: 1',
  'Sec-Purpose: prefetch',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36',
  'X-Requested-With: XMLHttpRequest',
  'X-XSRF-TOKEN: abc',
  'X-Api-Key: 123',
  'X-Correlation-ID: 7',
  'X-B3-TraceId: 80f198ee56343ba864fe8b2a57d3eff7',
  'baggage: a=b;c=d',
  'sentry-trace: 771a43a4192642f0b136d5159a501700-1',
  'Idempotency-Key: "8e03978e"',
  'Prefer: return=minimal',
  'Depth: infinity',
  'Destination: /api/y',
  'Overwrite: F',
  'Last-Event-ID: 42',
  'Want-Digest: sha-256',
  'Repr-Digest: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:',
  'Signature: sig1=:aGVsbG8=:',
  'X-Empty:',
  'X-Latin: caf\u00e9 \u00ff',
  'X-Tab: a\tb',
  'X-Symbols: !#$%&\'*+.^_`|~()<>@,;:\\"/[]?={}',
  'X_Under_Score: 1',
  'X.Dot: 1',
  'x-lower: 1',
  'X-UPPER: 1',
  'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
].map((line) => ({ what: `field ${line.slice(0, 40)}`, lines: [line] }))

const clients: Benign[] = [
  { what: 'curl', lines: ['User-Agent: curl/8.11.0', 'Accept: */*'] },
  {
    what: 'curl with a form',
    method: 'POST',
    lines: ['Content-Type: application/x-www-form-urlencoded'],
    body: 'a=1&b=%20',
  },
  {
    what: 'axios',
    method: 'POST',
    lines: ['Accept: application/json, text/plain, */*', 'Content-Type: application/json;charset=utf-8'],
    body: '{"a":1}',
  },
  {
    what: 'JSON in another charset',
    method: 'PUT',
    lines: ['Content-Type: application/json; charset=iso-8859-1'],
    body: '{"a":"\u00e9"}',
  },
  { what: 'plain Latin-1', method: 'POST', lines: ['Content-Type: text/plain; charset=iso-8859-1'], body: 'caf\u00e9' },
  { what: 'no type', method: 'POST', body: '\u0000\u0001\u00ff' },
  { what: 'an odd type', method: 'POST', lines: ['Content-Type: foo'], body: 'ab' },
  { what: 'an empty type', method: 'POST', lines: ['Content-Type:'], body: 'ab' },
  { what: 'malformed JSON', method: 'POST', lines: ['Content-Type: application/json'], body: '{' },
  { what: 'an empty JSON body', method: 'POST', lines: ['Content-Type: application/json', 'Content-Length: 0'] },
  { what: 'a POST without any body', method: 'POST', lines: ['Content-Length: 0'] },
  { what: 'a DELETE with a body', method: 'DELETE', lines: ['Content-Type: application/json'], body: '{"ids":[1]}' },
  { what: 'a GET with a body', method: 'GET', lines: ['Content-Type: application/json'], body: '{"query":{}}' },
  {
    what: 'multipart',
    method: 'POST',
    lines: ['Content-Type: multipart/form-data; boundary=----WebKitFormBoundary7MA4'],
    body: '------WebKitFormBoundary7MA4\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n------WebKitFormBoundary7MA4--\r\n',
  },
  {
    what: 'gRPC-Web',
    method: 'POST',
    target: '/api/shop.Orders/List',
    lines: ['Content-Type: application/grpc-web+proto', 'X-Grpc-Web: 1', 'grpc-timeout: 5S'],
    body: '\u0000\u0000\u0000\u0000\u0002\u0008\u0001',
  },
  {
    what: 'gRPC-Web as text',
    method: 'POST',
    lines: ['Content-Type: application/grpc-web-text', 'Accept: application/grpc-web-text'],
    body: 'AAAAAAI=',
  },
  {
    what: 'tus: create',
    method: 'POST',
    target: '/api/files',
    lines: ['Tus-Resumable: 1.0.0', 'Upload-Length: 100', 'Upload-Metadata: filename d29ybGQ=', 'Content-Length: 0'],
  },
  {
    what: 'tus: append',
    method: 'PATCH',
    target: '/api/files/24e533e02ec3bc40c387f1a0e460e216',
    lines: ['Tus-Resumable: 1.0.0', 'Upload-Offset: 70', 'Content-Type: application/offset+octet-stream'],
    body: 'x'.repeat(30),
  },
  { what: 'EventSource', lines: ['Accept: text/event-stream', 'Cache-Control: no-cache', 'Last-Event-ID: 7'] },
  {
    what: 'GraphQL',
    method: 'POST',
    target: '/api/graphql',
    lines: ['Content-Type: application/json', 'Apollo-Require-Preflight: true'],
    body: '{"query":"{a}"}',
  },
  {
    what: 'SOAP',
    method: 'POST',
    lines: ['Content-Type: text/xml;charset="utf-8"', 'SOAPAction: "urn:a#b"'],
    body: '<a/>',
  },
  { what: 'Java HttpClient', lines: ['User-Agent: Java-http-client/21.0.5'] },
  { what: 'OkHttp', lines: ['User-Agent: okhttp/4.12.0', 'Accept-Encoding: gzip'] },
  {
    what: 'Go, chunked',
    method: 'PUT',
    lines: ['User-Agent: Go-http-client/1.1', 'Accept-Encoding: gzip'],
    body: 'streamed',
    isChunked: true,
  },
  {
    what: 'Python requests',
    lines: ['User-Agent: python-requests/2.32.3', 'Accept-Encoding: gzip, deflate', 'Accept: */*'],
  },
  {
    what: 'a compressed body',
    method: 'POST',
    lines: ['Content-Encoding: gzip', 'Content-Type: application/json'],
    body: '\u001f\u008b\u0008\u0000',
  },
  {
    what: 'WebDAV',
    method: 'PROPFIND',
    lines: ['Depth: 1', 'Content-Type: application/xml; charset="utf-8"'],
    body: '<propfind xmlns="DAV:"/>',
  },
  { what: 'CalDAV', method: 'REPORT', lines: ['Depth: 1', 'Content-Type: application/xml'], body: '<c/>' },
  { what: 'many fields', lines: Array.from({ length: 100 }, (_, index) => `X-Field-${index}: ${index}`) },
  { what: 'the same field twice', lines: ['X-Twice: a', 'x-twice: b'] },
  { what: 'a field of 7 kB', lines: [`X-Long: ${'a'.repeat(7_000)}`] },
  { what: 'a megabyte', method: 'POST', body: 'x'.repeat(1_000_000) },
  { what: 'a megabyte in chunks', method: 'POST', body: 'y'.repeat(1_000_000), isChunked: true },
  {
    what: 'Beacon',
    method: 'POST',
    lines: [
      'Content-Type: text/plain;charset=UTF-8',
      'Sec-Fetch-Mode: no-cors',
      'Sec-Fetch-Site: same-origin',
      'Origin: https://app.example',
    ],
    body: 'b',
  },
  {
    what: 'fetch of a browser',
    lines: ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty'],
  },
  {
    what: 'an image of a page',
    lines: [
      'Sec-Fetch-Site: same-origin',
      'Sec-Fetch-Mode: no-cors',
      'Sec-Fetch-Dest: image',
      'Accept: image/avif,image/webp,*/*;q=0.8',
    ],
  },
]

const methods: Benign[] = [...METHODS, ...MORE_METHODS].flatMap((method) => [
  { what: method, method, ...(method === 'QUERY' && { lines: ['Content-Type: application/json'] }) },
  ...(method === 'GET' ? [] : [{ what: `${method} with a body`, method, body: 'body' }]),
])

/** What stands in `Cookie` before ours. */
export const benignCookies = [
  'a=1',
  'a=1; b=2',
  'a="1"',
  'a=1; a=2',
  'a=',
  '=a',
  'a',
  'a=b=c',
  'a=\u00e9',
  '_ga=GA1.1.1; _gid=x',
  'XSRF-TOKEN=a%3D%3D',
  '__Host-other=1',
  '__Secure-x=1',
  'sid=sidegat',
  'a=1;b=2;  c=3',
]

/** Everything but the cookies, by what is tried. */
export const benignGroups: Readonly<Record<string, readonly Benign[]>> = { paths, queries, fields, clients, methods }

/** Its bytes, one character each, with these lines before its own. */
export function benignBytes(
  { method = 'GET', target = '/api/x', lines = [], body, isChunked = false }: Benign,
  first: readonly string[],
): string {
  const framing =
    body === undefined ? [] : isChunked ? ['Transfer-Encoding: chunked'] : [`Content-Length: ${body.length}`]
  const head = [`${method} ${target} HTTP/1.1`, ...first, ...lines, ...framing, '', ''].join('\r\n')
  return head + (body === undefined ? '' : isChunked ? chunked(body) : body)
}

function chunked(body: string): string {
  const half = Math.ceil(body.length / 2)
  return `${half.toString(16)}\r\n${body.slice(0, half)}\r\n${(body.length - half).toString(16)}\r\n${body.slice(half)}\r\n0\r\n\r\n`
}

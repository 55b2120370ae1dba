/** Bytes for a port that speaks HTTP: random ones, and requests of ours with something wrong. The same seed, the same bytes. */
import { benignBytes, benignCookies, benignGroups } from './benign-requests.ts'

/** Numbers that look random and come again with the same seed (mulberry32). */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** Whole, from 0 to below the limit. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let bits = this.#state
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return Math.floor((((bits ^ (bits >>> 14)) >>> 0) / 4_294_967_296) * limit)
  }

  of<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error('nothing to choose from')
    return item
  }
}

const ORIGIN = ['Host: app.example', 'X-CSRF: 1']
const SIGNED_IN = [...ORIGIN, 'Cookie: {COOKIE}']

/** Requests to our own endpoints; kept apart, since they reach other code than the proxy's. */
const endpoints: readonly string[] = [
  'GET /bff/session HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nCookie: {COOKIE}\r\n\r\n',
  'GET /bff/user?anonymous=200 HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /bff/session/refresh HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nCookie: {COOKIE}\r\nContent-Length: 0\r\n\r\n',
  'GET /bff/login?returnTo=%2Forders%3Fa%3Db&prompt=login HTTP/1.1\r\nHost: a\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Site: same-origin\r\n\r\n',
  'GET /bff/callback?code=abc&state=def&iss=x HTTP/1.1\r\nHost: a\r\nCookie: __Secure-sidegate-tx-abcdefgh=eyJhIjoxfQ\r\n\r\n',
  'POST /bff/callback HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 16\r\n\r\ncode=abc&state=d',
  'POST /bff/logout?local=true HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nContent-Length: 0\r\n\r\n',
  'GET /bff/logout?t=abcdef HTTP/1.1\r\nHost: a\r\nCookie: {COOKIE}\r\n\r\n',
  'GET /bff/logout/continue?ticket=abc HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /bff/backchannel-logout HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 35\r\n\r\nlogout_token=eyJhbGciOiJub25lIn0.e.',
  'GET /bff/frontchannel-logout?iss=https%3A%2F%2Fid.example&sid=1 HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /bff/sessions HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nCookie: {COOKIE}\r\nAccept: text/html\r\n\r\n',
  'DELETE /bff/sessions/abcdefghijklmnop HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nCookie: {COOKIE}\r\n\r\n',
  'GET /bff/client.js HTTP/1.1\r\nHost: a\r\nIf-None-Match: "x"\r\n\r\n',
  'GET /bff/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /ws/chat HTTP/1.1\r\nHost: a\r\nX-CSRF: 1\r\nCookie: {COOKIE}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u0081\u0085\u0001\u0002\u0003\u0004\u0069\u0067\u006f\u0068\u006e',
  // Ended the process once: two answers for one socket.
  'GET /api/x HTTP/1.1\r\nHost: a\r\n\r\nGET /ws/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  'OPTIONS /api/x HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n',
  'POST /api/upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd',
]

/** Every seed; `{COOKIE}` stands for the cookies of a session. */
export const fuzzSeeds: readonly string[] = [
  ...Object.values(benignGroups)
    .flat()
    // The long ones only cost time.
    .filter(({ body = '' }) => body.length < 10_000)
    .flatMap((benign) => [benignBytes(benign, SIGNED_IN), benignBytes(benign, ORIGIN)]),
  ...benignCookies.map((cookie) => `GET /api/x HTTP/1.1\r\nHost: a\r\nCookie: ${cookie}; {COOKIE}\r\n\r\n`),
  ...endpoints,
]

/** What parsers trip over; put in at any place. */
const FRAGMENTS: readonly string[] = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  '\u0000',
  '\u00ff',
  '\u0080',
  '\t',
  '\u000b',
  ' ',
  ':',
  ';',
  ',',
  '"',
  '\\',
  '%',
  '%00',
  '%2e%2e/',
  '../',
  '%c0%ae',
  '//',
  '?',
  '#',
  '=',
  '&',
  '0',
  '-1',
  '9'.repeat(30),
  'A'.repeat(300),
  '\u00e2\u0080\u00a8',
  '\u001b[2J',
  'HTTP/1.0',
  'HTTP/2.0',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  '\u0016\u0003\u0001\u0002\u0000\u0001',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: gzip, chunked\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: 18446744073709551616\r\n',
  'Connection: close\r\n',
  'Connection: upgrade, host\r\n',
  'Upgrade: h2c\r\n',
  'Upgrade: websocket\r\n',
  'Expect: 100-continue\r\n',
  'Expect: x\r\n',
  'Host: b\r\n',
  'Host:\r\n',
  'Trailer: Host\r\n',
  'TE: trailers\r\n',
  ' folded: x\r\n',
  'Cookie: a=b\r\n',
  'Authorization: Bearer stolen\r\n',
  'Via: 1.1 sidegate\r\n',
  'traceparent: 00-0-0-00\r\n',
  'X-Forwarded-For: 1.2.3.4, x\r\n',
  'Origin: null\r\n',
  'Sec-Fetch-Site: cross-site\r\n',
  'Range: bytes=0-,0-,0-\r\n',
  'Content-Type: application/json\r\n',
  'Content-Type: application/x-www-form-urlencoded\r\n',
  '0\r\n\r\n',
  'ffffffffffffffff\r\n',
  '5;a=b\r\nhello\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
]

const MUTATIONS: readonly ((bytes: string, dice: Dice) => string)[] = [
  (bytes, dice) => splice(bytes, dice.below(bytes.length + 1), 1, String.fromCharCode(dice.below(256))),
  (bytes, dice) => splice(bytes, dice.below(bytes.length + 1), 0, String.fromCharCode(dice.below(256))),
  (bytes, dice) => splice(bytes, dice.below(bytes.length + 1), 0, dice.of(FRAGMENTS)),
  (bytes, dice) => splice(bytes, dice.below(bytes.length + 1), 1 + dice.below(8), dice.of(FRAGMENTS)),
  // A whole line more, where lines begin.
  (bytes, dice) => splice(bytes, bytes.indexOf('\r\n', dice.below(bytes.length + 1)) + 2, 0, dice.of(FRAGMENTS)),
  (bytes, dice) => splice(bytes, dice.below(bytes.length + 1), 1 + dice.below(40), ''),
  (bytes, dice) => bytes.slice(0, dice.below(bytes.length + 1)),
  (bytes, dice) => {
    const from = dice.below(bytes.length + 1)
    return splice(bytes, from, 0, bytes.slice(from, from + dice.below(60)).repeat(1 + dice.below(4)))
  },
  (bytes, dice) => {
    const other = dice.of(fuzzSeeds)
    return bytes.slice(0, dice.below(bytes.length + 1)) + other.slice(dice.below(other.length + 1))
  },
  (bytes, dice) => bytes + dice.of(fuzzSeeds),
  (bytes) => bytes.replaceAll('\r\n', '\n'),
  (bytes, dice) => bytes.replace(/(?<=: *)\d+/, String(dice.below(100_000))),
  (bytes, dice) =>
    bytes.replace(/(?<=\r\n)[\w-]+:/, (name) => (dice.below(2) === 0 ? name.toLowerCase() : name.replaceAll('-', '_'))),
]

/** One input, a character for each byte. */
export function fuzzInput(dice: Dice): string {
  if (dice.below(10) === 0) return randomBytes(dice)
  let bytes = dice.of(fuzzSeeds)
  // Some stay as they are: what is good must go on being served. Most have one fault, since the first is what answers.
  const faults = dice.below(10) === 0 ? 0 : 1 + (dice.below(3) === 0 ? dice.below(4) : 0)
  for (let left = faults; left > 0; left -= 1) bytes = dice.of(MUTATIONS)(bytes, dice)
  return bytes.slice(0, 40_000)
}

function randomBytes(dice: Dice): string {
  const isText = dice.below(2) === 0
  const length = 1 + dice.below(600)
  return Array.from({ length }, () => String.fromCharCode(isText ? 32 + dice.below(95) : dice.below(256))).join('')
}

function splice(bytes: string, at: number, drop: number, add: string): string {
  return bytes.slice(0, at) + add + bytes.slice(at + drop)
}

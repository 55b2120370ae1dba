/** What RFC 9112 tells a gateway to refuse and Node's parser lets through; judged before anything else. */
import { isIPv6 } from 'node:net'
import { BffError } from '../errors.ts'
import { hasMalformedLine } from './request-line.ts'

/** The parts of an IncomingMessage that are looked at. */
export interface RawRequest {
  readonly httpVersion: string
  /** Names and values in turn, as sent. */
  readonly rawHeaders: readonly string[]
  readonly socket?: object
}

/** Names are counted, not bytes: a few thousand empty fields fit into any byte limit and cost time everywhere. */
const MOST_FIELDS = 500

/** Where one message ends and the next begins may be seen differently after this: no more of this connection. */
const CLOSES = { headers: { connection: 'close' } }

/** A registered name or an IPv4 address, or something in brackets; then a port. Stricter than RFC 3986 §3.2.2. */
const AUTHORITY = /^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9._])?|\[([0-9A-Fa-f:.]{2,45})\])(?::(\d{1,5}))?$/

/**
 * A well-formed request line, where lines are watched; exactly one well-formed Host (RFC 9112 §3.2; Node keeps the
 * first of several), version 1.1 or 1.0 (Node takes HTTP/0.9 and HTTP/2.0 lines), and a Transfer-Encoding only as
 * `chunked` alone, once, in HTTP/1.1 and without a Content-Length (§6.1). No expectation but the one that there is
 * (RFC 9110 §10.1.1): a proxy may not hand on one that it does not know. The rest of the framing is llhttp's work.
 *
 * @throws BffError `invalid_request`, `headers_too_large`
 */
export function checkFraming(raw: RawRequest): void {
  if (raw.httpVersion !== '1.1' && raw.httpVersion !== '1.0') throw invalid('the HTTP version is not 1.1 or 1.0')
  if (hasMalformedLine(raw)) throw invalid('the request line is malformed')
  const fields = raw.rawHeaders
  if (fields.length > 2 * MOST_FIELDS) {
    throw new BffError('headers_too_large', `the request has more than ${MOST_FIELDS} header fields`, CLOSES)
  }

  let host: string | undefined
  let hosts = 0
  let lengths = 0
  let codings = 0
  let coding = ''
  for (let at = 0; at + 1 < fields.length; at += 2) {
    // In bounds by the loop's condition; the name's length is looked at first because this runs for every request.
    const name = fields[at] as string
    if (name.length === 4 && name.toLowerCase() === 'host') {
      hosts += 1
      host = fields[at + 1]
    } else if (name.length === 6 && name.toLowerCase() === 'expect') {
      if (fields[at + 1]?.toLowerCase() !== '100-continue') throw invalid('it expects what no server knows')
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') {
      lengths += 1
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      codings += 1
      coding = fields[at + 1] as string
    }
  }
  if (hosts !== 1 || host === undefined) throw invalid('the request has not exactly one Host field')
  if (!isAuthority(host)) throw invalid('the Host field is malformed')
  if (lengths > 1) throw invalid('the request has several Content-Length fields')
  if (codings === 0) return
  if (raw.httpVersion === '1.0') throw invalid('Transfer-Encoding in HTTP/1.0')
  if (lengths > 0) throw invalid('the request has both Transfer-Encoding and Content-Length')
  if (codings > 1 || coding !== 'chunked') throw invalid('Transfer-Encoding is not exactly chunked')
}

function isAuthority(host: string): boolean {
  const match = AUTHORITY.exec(host)
  if (!match) return false
  const [, address, port] = match
  return (address === undefined || isIPv6(address)) && (port === undefined || Number(port) <= 65_535)
}

function invalid(detail: string): BffError {
  return new BffError('invalid_request', detail, CLOSES)
}

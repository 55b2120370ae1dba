/**
 * Looks at request lines as they were sent. Node's parser reads over doubled spaces (RFC 9112 §3 allows one between
 * the parts) and takes RTSP and ICE for HTTP, and what another server in the chain makes of such a line need not be
 * what we make of it.
 *
 * Node shows the line to nobody, so the bytes are looked at on their way into the parser: the first line of each
 * message that begins a packet. What is pipelined behind another request in one packet is not seen.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const PROPER = /^[A-Z-]+ \S+ HTTP\/\d\.\d\r?$/
/**
 * What is meant as a request line, and what Node's parser also takes for one. The rest of a head whose begin was
 * pipelined is not taken for one.
 */
const MEANT = /^[A-Z-]+ .*(?:HTTP|RTSP|ICE)\/\d\.\d\s*$/
/** The parser gives up long before. */
const LONGEST_LINE = 65_536

/** Connections on which a malformed line was seen; they get no further than to an answer of 400. */
const malformed = new WeakSet<object>()
/** The line has come and has been looked at; the rest of the head is on its way. */
const HEAD = Symbol('head')

/**
 * Where each connection is: in a request line, of which so much has come; in the rest of a head; or in the body of a
 * request. An idle one is at the begin of a line, and that is all that is held for it.
 */
const places = new WeakMap<object, string | typeof HEAD | IncomingMessage>()

/** Whether the request came by a connection with a malformed request line. */
export function hasMalformedLine(raw: { readonly socket?: object }): boolean {
  return raw.socket !== undefined && malformed.has(raw.socket)
}

/** Watches all connections of a server from now on. */
export function watchRequestLines(server: Server): void {
  // Over TLS the bytes are in clear from this event on; `connection` would show the encrypted ones.
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    // Before the parser's own listener: the judge must know when the request arrives there.
    socket.prependListener('data', readLine)
  })
  server.on('request', lineHasEnded)
  server.on('upgrade', (_raw: IncomingMessage, socket: Socket) => {
    socket.off('data', readLine)
  })
}

/** Tells the watch that a request has come, where it came by another event than `request`. */
export function lineHasEnded(raw: IncomingMessage, response?: ServerResponse): void {
  const { 'content-length': length, 'transfer-encoding': coding } = raw.headers
  if (length === undefined && coding === undefined) {
    places.set(raw.socket, '')
    return
  }
  places.set(raw.socket, raw)
  response?.once('close', () => {
    if (raw.complete && places.get(raw.socket) === raw) places.set(raw.socket, '')
  })
}

/** One function for all connections, of which there may be many: a listener of `data`, so `this` is the connection. */
function readLine(this: object, chunk: Buffer): void {
  const place = places.get(this) ?? ''
  // The rest of a head, or of the body of the request that is there.
  if (place === HEAD || (typeof place === 'object' && !place.complete)) return
  const before = typeof place === 'string' ? place : ''
  let start = 0
  if (before === '') {
    // Empty lines in front of a request line are allowed (RFC 9112 §2.2).
    while (chunk[start] === LINE_FEED || chunk[start] === CARRIAGE_RETURN) start += 1
  }
  const end = chunk.indexOf(LINE_FEED, start)
  const text = before + chunk.toString('latin1', start, end === -1 ? chunk.length : end)
  const isWhole = end !== -1 || text.length >= LONGEST_LINE
  places.set(this, isWhole ? HEAD : text)
  if (isWhole && !PROPER.test(text) && MEANT.test(text)) malformed.add(this)
}

/**
 * Looks at request lines as they were sent. Node's parser reads over doubled spaces (RFC 9112 §3 allows one between
 * the parts) and takes RTSP and ICE for HTTP, and what another server in the chain makes of such a line need not be
 * what we make of it.
 *
 * Node shows the line to nobody, so the bytes are looked at on their way into the parser: the first line of each
 * message that begins a packet. What is pipelined behind another request in one packet is not seen.
 */
import type { IncomingMessage, Server } from 'node:http'
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
const lines = new WeakMap<object, RequestLine>()

/** Whether the request came by a connection with a malformed request line. */
export function hasMalformedLine(raw: { readonly socket?: object }): boolean {
  return raw.socket !== undefined && malformed.has(raw.socket)
}

/** Watches all connections of a server from now on. */
export function watchRequestLines(server: Server): void {
  // Over TLS the bytes are in clear from this event on; `connection` would show the encrypted ones.
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    const line = new RequestLine(socket)
    lines.set(socket, line)
    // Before the parser's own listener: the judge must know when the request arrives there.
    socket.prependListener('data', line.read)
  })
  server.on('request', lineHasEnded)
  server.on('upgrade', (_raw: IncomingMessage, socket: Socket) => {
    const line = lines.get(socket)
    if (line) socket.off('data', line.read)
  })
}

/** Tells the watch that a request has come, where it came by another event than `request`. */
export function lineHasEnded(raw: IncomingMessage): void {
  lines.get(raw.socket)?.belongsTo(raw)
}

/** Where one connection is in its current request line. */
class RequestLine {
  readonly #socket: object
  /** What has come of the line. */
  #text = ''
  /** The line has come and has been looked at; the rest of the head is on its way. */
  #hasEnded = false
  /** The one whose body may be on its way; one without is over with its head, and an idle connection holds none. */
  #request: IncomingMessage | undefined

  constructor(socket: object) {
    this.#socket = socket
  }

  belongsTo(request: IncomingMessage): void {
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers
    this.#request = length === undefined && coding === undefined ? undefined : request
    this.#text = ''
    this.#hasEnded = false
  }

  readonly read = (chunk: Buffer): void => {
    // The rest of a head, or of the body of the request that is there.
    if (this.#hasEnded || this.#request?.complete === false) return
    this.#request = undefined
    let start = 0
    // Empty lines in front of a request line are allowed (RFC 9112 §2.2).
    while (this.#text === '' && (chunk[start] === LINE_FEED || chunk[start] === CARRIAGE_RETURN)) start += 1
    const end = chunk.indexOf(LINE_FEED, start)
    this.#text += chunk.toString('latin1', start, end === -1 ? chunk.length : end)
    if (end === -1 && this.#text.length < LONGEST_LINE) return
    this.#hasEnded = true
    if (!PROPER.test(this.#text) && MEANT.test(this.#text)) malformed.add(this.#socket)
  }
}

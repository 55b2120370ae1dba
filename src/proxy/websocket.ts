/**
 * WebSockets through the gateway.
 *
 * The WebSocket part of @fastify/http-proxy is not used: it accepts the client before it has reached the upstream,
 * checks no origin, sends the session cookie upstream and no token, keeps no back-pressure, hangs for ever on an
 * upgrade that no route wants, and puts internal error texts into close reasons, which over 123 bytes end the
 * process.
 *
 * Here a handshake is a request like any other until the upstream has said 101: judged in the same place, sent by the
 * same `Delivery`, refused by the same error handler, or by the upstream's own answer. Then the sockets are joined.
 */
import { createHash } from 'node:crypto'
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { BffError } from '../errors.ts'
import type { Call } from '../http/call.ts'
import type { Judged } from '../http/judge.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { RequestOwner } from './open-streams.ts'
import type { ProxiedRoute } from './proxied-route.ts'
import { hasBody } from './request-body.ts'
import { WebSocketTunnel } from './websocket-tunnel.ts'

/** The session is over: in the range for applications (RFC 6455 §7.4.2), after the 401 that a request would get. */
const SESSION_ENDED = 4401
const GOING_AWAY = 1001
/** 16 bytes in base64 (§4.1). */
const KEY = /^[A-Za-z0-9+/]{22}==$/
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const KEEP_ALIVE_MS = 30_000

/** The sockets of handshakes that are being judged or dialled, with what came behind the head. */
const handshakes = new WeakMap<IncomingMessage, { readonly socket: Socket; readonly head: Buffer }>()

/** Whether a request is a WebSocket handshake, for the judge; true only of what came over `UpgradeHandler`. */
export function isHandshake(raw: IncomingMessage): boolean {
  return handshakes.has(raw)
}

/**
 * For `shouldUpgradeCallback` of the server: everything but a WebSocket is served as the request that it is, its
 * Upgrade ignored (RFC 9110 §7.8). JDK's client and `curl --http2` send `Upgrade: h2c` with every first request.
 */
export function takesUpgrade(raw: IncomingMessage): boolean {
  return /(?:^|,)[ \t]*websocket[ \t]*(?:,|$)/i.test(raw.headers.upgrade ?? '')
}

/** Hands upgrades to the application as requests. Without it Node closes a socket that asks for one. */
export function acceptUpgrades(app: FastifyInstance): void {
  app.server.on('upgrade', (raw: IncomingMessage, stream: Duplex, head: Buffer) => {
    const socket = stream as Socket // of a server for TCP, TLS or a unix socket
    // The parser, which listened until now, has gone.
    socket.on('error', () => socket.destroy())
    whenFree(socket, () => {
      if (takesUpgrade(raw)) handshakes.set(raw, { socket, head })
      const response = new ServerResponse(raw)
      response.shouldKeepAlive = false
      response.assignSocket(socket)
      response.on('finish', () => socket.destroySoon())
      app.server.emit('request', raw, response)
    })
  })
}

/**
 * A handshake that was sent behind a request waits for that one's answer: a socket has one answer at a time, and Node
 * throws where nobody catches when it is given two. Where the answer ends the connection nothing follows it.
 */
function whenFree(socket: Socket, next: () => void): void {
  // Node keeps the answer that is under way on the socket, and the next one once that is written.
  const { _httpMessage: underWay } = socket as Socket & { _httpMessage?: ServerResponse | null }
  if (underWay) underWay.once('finish', () => whenFree(socket, next))
  else if (socket.writable) next()
}

/**
 * Refuses what is no proper handshake (RFC 6455 §4.2.1) or comes to a route without WebSockets.
 *
 * @throws BffError `invalid_request`
 */
export function checkHandshake(raw: IncomingMessage, proxied: ProxiedRoute): void {
  const { headers } = raw
  if (!proxied.config.websocket) throw refused('the route takes no WebSockets')
  if (raw.method !== 'GET' || raw.httpVersion !== '1.1' || hasBody(raw)) throw refused('it is no GET without a body')
  if (headers['sec-websocket-version'] !== '13') throw refused('its version is not 13')
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) throw refused('its key is not one of 16 bytes')
  // What Connection names stays here (RFC 9110 §7.6.1); the upstream would get half a handshake.
  if (/\bsec-websocket-/i.test(headers.connection ?? '')) throw refused('Connection names a part of it')
}

/**
 * Refuses an upgrade to HTTP/2 without the settings that RFC 7540 §3.2.1 demands: one with them is an ordinary
 * request, one without is somebody who hopes for a tunnel.
 */
export function checkOtherUpgrade(raw: IncomingMessage): void {
  const { upgrade, connection = '' } = raw.headers
  if (upgrade === undefined || !/\bh2c\b/i.test(upgrade) || !/\bupgrade\b/i.test(connection)) return
  if (raw.headers['http2-settings'] === undefined)
    throw new BffError('invalid_request', 'Upgrade: h2c without HTTP2-Settings')
}

function refused(why: string): BffError {
  return new BffError('invalid_request', `not a WebSocket handshake: ${why}`, {
    headers: { 'sec-websocket-version': '13' },
  })
}

export interface WebSocketOpening {
  readonly proxied: ProxiedRoute
  readonly judged: Judged
  readonly owner: RequestOwner | null
  /** The fields of the upstream's 101, and its socket. */
  readonly answer: readonly Buffer[]
  readonly upstream: Duplex
  readonly metrics?: Pick<Metrics, 'countRequest'> | undefined
}

/** Passes the upstream's 101 on and joins the sockets. @throws BffError `upstream_unavailable` */
export function joinWebSocket(call: Call, opening: WebSocketOpening): void {
  const { proxied, owner, judged, upstream } = opening
  const handshake = handshakes.get(call.raw)
  const fields = proxied.responseHeaders.build(opening.answer, false)
  const key = call.raw.headers['sec-websocket-key'] ?? ''
  if (!handshake || valueOf(fields, 'sec-websocket-accept') !== acceptOf(key)) {
    upstream.destroy()
    throw new BffError('upstream_unavailable', 'the upstream accepted another handshake than this one')
  }
  const { socket: client, head } = handshake
  const startedAt = performance.now()
  call.takeOver()
  call.response.detachSocket(client)
  client.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS).setTimeout(0)
  client.write(headOf(fields), 'latin1')
  if (head.length > 0) client.unshift(head)

  const log = {
    method: 'GET',
    path: judged.path.path.slice(0, 256),
    route: proxied.route.policy.name,
    status: 101,
    sessionRef: judged.session?.ref.slice(0, 16),
  }
  opening.metrics?.countRequest(log.route, 'GET', 101, 0)
  // Opened after the tunnel is there, for a session may have ended meanwhile: then it is closed at once.
  const tunnel = new WebSocketTunnel({
    client,
    upstream,
    idleMs: proxied.config.timeout.idle,
    onClosed: () => {
      leave()
      // No answer was ever finished, so no hook has written this line.
      call.log.info({ ...log, durationMs: Math.round(performance.now() - startedAt) }, 'websocket')
    },
  })
  const leave = proxied.streams.open('websocket', owner, (reason) => {
    if (reason === 'shutdown') tunnel.close(GOING_AWAY, 'the gateway stops')
    else if (reason === 'token_expired') tunnel.close(SESSION_ENDED, 'the token has expired')
    else tunnel.close(SESSION_ENDED, 'the session has ended')
  })
}

function headOf(fields: readonly string[]): string {
  let head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  for (let at = 0; at + 1 < fields.length; at += 2) {
    if (fields[at]?.toLowerCase() !== 'content-length') head += `${fields[at]}: ${fields[at + 1]}\r\n`
  }
  return `${head}\r\n`
}

function acceptOf(key: string): string {
  // RFC 6455 §4.2.2 names SHA-1; it protects nothing here but against servers that speak something else.
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64')
}

function valueOf(fields: readonly string[], wanted: string): string | undefined {
  const at = fields.findIndex((field, index) => index % 2 === 0 && field.toLowerCase() === wanted)
  return at === -1 ? undefined : fields[at + 1]
}

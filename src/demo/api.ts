/** The sample API of `sidegate demo`: checks the access token as an API should and tells what reached it. */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import type { JWTPayload } from 'jose'
import { answerAttack } from './attacker.ts'
import { answerBackstage } from './backstage.ts'
import type { BackstageOptions } from './backstage.ts'
import { fingerprintOf, type HeldTokens } from './tokens.ts'
import { ACR } from './users.ts'

const TICK_MS = 1_000

export interface ApiOptions {
  readonly host?: string
  /** 0 takes a free one. */
  readonly port?: number
  /** Whose access tokens are good here. */
  readonly issuer: string
  /** What they must name as `aud`. */
  readonly audience: string
  /** Where the gateway's `/metrics` is, for the attacker's page to show that the gateway counted its attempt. */
  readonly metricsUrl?: string
  /** What the demo tells about itself. */
  readonly backstage?: BackstageOptions
  /** Lets the authorization server give its next access token so short a life; resolves the seconds. */
  readonly shortenNextToken?: () => number
  /** What the authorization server gave out together with this access token. */
  readonly heldWith?: (accessToken: string) => HeldTokens
}

export interface Api extends AsyncDisposable {
  readonly port: number
  close(): Promise<void>
}

/**
 * Serves `/api/*` for bearers: `events` (Server-Sent Events), `socket` (a WebSocket that echoes), `secure` (wants a
 * second factor, RFC 9470), `short-token` (asks for one), `tokens` (fingerprints of those that the gateway holds), and
 * everything else as an echo; `/backstage` for everybody.
 *
 * @throws with code ERR_MODULE_NOT_FOUND when ws, a development dependency, is not installed, and EADDRINUSE
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { WebSocketServer } = await import('ws')
  const host = options.host ?? '127.0.0.1'
  const jwks = createRemoteJWKSet(new URL(`${options.issuer}/jwks`), { headers: { 'user-agent': 'demo-api' } })
  let forgeries = 0

  /** The claims of the bearer's token, or `undefined` when there is none that is good here (RFC 9068 §4). */
  const authenticate = async (request: IncomingMessage): Promise<JWTPayload | undefined> => {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (!token) return undefined
    const { issuer, audience } = options
    const verified = await jwtVerify(token, jwks, { issuer, audience, typ: 'at+jwt' }).catch(() => undefined)
    return verified?.payload
  }

  const server = createServer((request, response) => {
    const handled = async (): Promise<void> => {
      const path = pathOf(request)
      if (path.startsWith('/attack'))
        return answerAttack(request, response, { metricsUrl: options.metricsUrl, forgeries })

      const attackerUrl = `http://localhost:${port}/attack`
      if (options.backstage && (await answerBackstage(request, response, { ...options.backstage, attackerUrl }))) return

      // Counted before the token is looked at: the demo says that a forged call did not even arrive.
      if (path === '/api/forged') forgeries += 1
      const claims = await authenticate(request)
      if (!claims) return refuse(response, 'error="invalid_token"')
      if (path === '/api/events') return streamTicks(response)
      if (path === '/api/secure' && claims['acr'] !== ACR.secondFactor) {
        return refuse(response, `error="insufficient_user_authentication", acr_values="${ACR.secondFactor}"`)
      }
      if (path === '/api/short-token' && request.method === 'POST' && options.shortenNextToken) {
        return sendJson(response, { seconds: options.shortenNextToken() })
      }
      if (path === '/api/tokens' && options.heldWith) return sendJson(response, options.heldWith(bearerOf(request)))
      sendJson(response, echo(request, claims))
    }
    handled().catch(() => response.destroy())
  })

  const sockets = new WebSocketServer({ noServer: true, maxPayload: 65_536 })
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    const upgraded = async (): Promise<void> => {
      const claims = await authenticate(request)
      if (!claims || pathOf(request) !== '/api/socket') {
        socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
        return
      }
      sockets.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('error', () => webSocket.terminate())
        webSocket.on('message', (data, isBinary) => webSocket.send(data, { binary: isBinary }))
        webSocket.send(JSON.stringify({ hello: claims.sub }))
      })
    }
    upgraded().catch(() => socket.destroy())
  })

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, host, resolve)
  })
  // A TCP server that listens on a port has an AddressInfo.
  const { port } = server.address() as AddressInfo

  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const webSocket of sockets.clients) webSocket.terminate()
    server.closeAllConnections()
    await closed
  }
  return { port, close, [Symbol.asyncDispose]: close }
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/'
}

/** What arrived, without the token itself. */
function echo(request: IncomingMessage, claims: JWTPayload): object {
  const { authorization, cookie, ...headers } = request.headers
  return {
    method: request.method,
    path: request.url,
    authorization: `${(authorization ?? '').split(' ', 1)[0]} …`,
    fingerprint: fingerprintOf(bearerOf(request)),
    cookies: cookie === undefined ? 'none' : cookie.split(';').map((pair) => pair.split('=', 1)[0]?.trim()),
    via: headers.via ?? 'none',
    token: claims,
  }
}

function bearerOf({ headers }: IncomingMessage): string {
  return (headers.authorization ?? '').split(' ')[1] ?? ''
}

function refuse(response: ServerResponse, challenge: string): void {
  response.writeHead(401, { 'www-authenticate': `Bearer ${challenge}`, 'content-type': 'application/json' })
  response.end(JSON.stringify({ error: /error="(\w+)"/.exec(challenge)?.[1] }))
}

function sendJson(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(body))
}

/** One numbered event a second for as long as somebody listens. */
function streamTicks(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  let count = 0
  const tick = (): void => {
    count += 1
    response.write(`event: tick\nid: ${count}\ndata: {"count":${count}}\n\n`)
  }
  const timer = setInterval(tick, TICK_MS)
  response.on('close', () => clearInterval(timer))
  tick()
}

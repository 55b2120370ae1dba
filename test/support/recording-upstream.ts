/** An API that writes down what reaches it and answers as it is told. */
import { createServer } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { WebSocketServer } from 'ws'

/** One request or WebSocket upgrade as it arrived, bytes of header fields unchanged. */
export interface RecordedRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: string
}

export type Responder = (request: RecordedRequest, response: ServerResponse) => void

export class RecordingUpstream implements AsyncDisposable {
  readonly requests: RecordedRequest[] = []
  /** Answers from now on; by default a JSON document with method and URL. */
  respond: Responder = (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ method: request.method, url: request.url }))
  }
  /** Answers handshakes: with the lines of a refusal, or, with nothing, by opening the socket. */
  refuseUpgrade: (request: RecordedRequest) => readonly string[] | undefined = () => undefined
  readonly #server = createServer((request, response) => void this.#take(request, response))
  readonly #sockets = new WebSocketServer({ noServer: true })

  constructor() {
    this.#server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const entry = recorded(request, '')
      this.requests.push(entry)
      socket.on('error', () => socket.destroy())
      const refusal = this.refuseUpgrade(entry)
      if (refusal) {
        socket.end([...refusal, 'Content-Length: 0', '', ''].join('\r\n'))
        return
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('error', () => webSocket.terminate())
        webSocket.on('message', (data, isBinary) => webSocket.send(data, { binary: isBinary }))
      })
    })
  }

  static async start(): Promise<RecordingUpstream> {
    const upstream = new RecordingUpstream()
    await new Promise<void>((resolve) => upstream.#server.listen(0, '127.0.0.1', resolve))
    return upstream
  }

  get url(): string {
    // A TCP server that listens on a port has an AddressInfo.
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The last request; fails where there was none. */
  get last(): RecordedRequest {
    const request = this.requests.at(-1)
    if (!request) throw new Error('nothing has reached the upstream')
    return request
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const webSocket of this.#sockets.clients) webSocket.terminate()
    this.#server.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = ''
    try {
      for await (const chunk of request.setEncoding('utf8')) body += String(chunk)
    } catch {
      return // the sender went away in the middle of the body: there is nobody to answer
    }
    const entry = recorded(request, body)
    this.requests.push(entry)
    this.respond(entry, response)
  }
}

function recorded(request: IncomingMessage, body: string): RecordedRequest {
  const { method = '', url = '', headers, rawHeaders } = request
  return { method, url, headers, rawHeaders, body }
}

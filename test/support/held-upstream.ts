/** An API that takes requests and answers when it is told to; it also takes WebSockets, which it echoes. */
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

export class HeldUpstream {
  readonly url: string
  readonly #server: Server
  readonly #held: ServerResponse[] = []
  readonly #waiters: { count: number; resolve: () => void }[] = []
  #arrived = 0
  #isReleased = false

  constructor(server: Server) {
    this.#server = server
    // A TCP server that listens on a port has an AddressInfo.
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    server.on('request', (_request, response: ServerResponse) => this.#take(response))
    const sockets = new WebSocketServer({ server })
    sockets.on('connection', (socket) =>
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
    )
  }

  static async start(): Promise<HeldUpstream> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new HeldUpstream(server)
  }

  /** Resolves once so many requests have come. */
  async arrived(count: number): Promise<void> {
    if (this.#arrived >= count) return
    await new Promise<void>((resolve) => this.#waiters.push({ count, resolve }))
  }

  /** Answers what is held, and from now on at once. */
  release(): void {
    this.#isReleased = true
    for (const response of this.#held.splice(0)) response.end('done')
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  #take(response: ServerResponse): void {
    this.#arrived += 1
    if (this.#isReleased) response.end('done')
    else this.#held.push(response)
    for (const { count, resolve } of this.#waiters) if (this.#arrived >= count) resolve()
  }
}

/** An upstream on a raw socket: writes down every byte that reaches it, answers with whatever bytes it is told. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { parseMessages } from './raw-http.ts'
import type { RawMessage } from './raw-http.ts'

/** Called once for each request whose head has come, in order; for whole ones only, where `answersWhole` says so. */
export type RawResponder = (socket: Socket, request: RawMessage) => void

const OK: RawResponder = (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')

export class RawUpstream implements AsyncDisposable {
  /** Answers from now on. */
  respond: RawResponder = OK
  answersWhole = false
  /** What came over each connection, in the order in which they were made. */
  readonly received: Buffer[] = []
  readonly sockets = new Set<Socket>()
  connections = 0
  closed = 0
  readonly #server: Server
  readonly #order: [connection: number, index: number][] = []
  readonly #waiting = new Set<() => void>()

  private constructor(server: Server, event: string) {
    this.#server = server
    server.on(event, (socket: Socket) => this.#take(socket))
  }

  /** Listens on a free port of loopback, or on a unix socket; a TLS server's connections come by another event. */
  static async start(
    respond: RawResponder = OK,
    server: Server = createServer(),
    path?: string,
    event: 'connection' | 'secureConnection' = 'connection',
  ): Promise<RawUpstream> {
    const upstream = new RawUpstream(server, event)
    upstream.respond = respond
    if (path === undefined) server.listen(0, '127.0.0.1')
    else server.listen(path)
    await once(server, 'listening')
    return upstream
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port // listens on TCP, see start
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** All requests in the order in which their heads came, those cut short included. */
  get requests(): RawMessage[] {
    const byConnection = this.received.map((bytes) => parseMessages(bytes, { isAnswer: false }))
    return this.#order.flatMap(([connection, index]) => byConnection[connection]?.[index] ?? [])
  }

  /** Waits until what was received is as wanted; looked at whenever something comes or a connection goes. */
  async until(condition: (upstream: this) => boolean): Promise<void> {
    while (!condition(this)) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      await promise
      this.#waiting.delete(resolve)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #take(socket: Socket): void {
    const index = this.received.push(Buffer.alloc(0)) - 1
    let seen = 0
    let answered = 0
    this.connections += 1
    this.sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.sockets.delete(socket)
      this.closed += 1
      this.#changed()
    })
    socket.on('data', (chunk: Buffer) => {
      const bytes = Buffer.concat([this.received[index] ?? Buffer.alloc(0), chunk])
      this.received[index] = bytes
      const requests = parseMessages(bytes, { isAnswer: false })
      for (; seen < requests.length; seen += 1) this.#order.push([index, seen])
      for (const request of requests.slice(answered)) {
        if (this.answersWhole && !request.isComplete) break
        answered += 1
        this.respond(socket, request)
      }
      this.#changed()
    })
  }

  #changed(): void {
    for (const resolve of this.#waiting) resolve()
  }
}

/** A client that sends exactly the bytes it is given. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { parseMessages } from './raw-http.ts'
import type { RawMessage } from './raw-http.ts'

export class RawClient implements Disposable {
  readonly socket: Socket
  isClosed = false
  #received: Buffer = Buffer.alloc(0)
  #changed = Promise.withResolvers<void>()

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {}) // a reset is a close for a test
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#notify()
    })
    socket.on('close', () => {
      this.isClosed = true
      this.#notify()
    })
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.setNoDelay(true)
    return new RawClient(socket)
  }

  get received(): Buffer {
    return this.#received
  }

  send(bytes: string | Buffer): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
    return this
  }

  /** The answers so far. */
  answers(options: { isHead?: boolean } = {}): RawMessage[] {
    return parseMessages(this.#received, { isAnswer: true, isClosed: this.isClosed, ...options })
  }

  /** Waits for so many complete answers, or for the connection to close. */
  async read(count = 1, options: { isHead?: boolean } = {}): Promise<RawMessage[]> {
    await this.until(() => this.answers(options).filter((answer) => answer.isComplete).length >= count || this.isClosed)
    return this.answers(options)
  }

  async closed(): Promise<void> {
    await this.until(() => this.isClosed)
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #notify(): void {
    const { resolve } = this.#changed
    this.#changed = Promise.withResolvers<void>()
    resolve()
  }
}

/** Sends one request and reads its answer; adds what every request needs. */
export async function exchange(port: number, request: string, options: { isHead?: boolean } = {}): Promise<RawMessage> {
  using client = await RawClient.connect(port)
  const [answer] = await client.send(request).read(1, options)
  if (!answer) throw new Error('the connection closed without an answer')
  return answer
}

/** A GET with these further lines. */
export function get(target: string, ...lines: string[]): string {
  return [`GET ${target} HTTP/1.1`, 'Host: app.example', ...lines, '', ''].join('\r\n')
}

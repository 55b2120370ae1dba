/** An address where connections are neither made nor refused: it listens, nobody accepts, and its queue is full. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

/** The thread listens and then stands still for ever; the kernel completes as many connections as its queue holds. */
const LISTEN = `
  const { parentPort } = require('node:worker_threads')
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  })
`
/** On loopback a connection is made at once or, with the queue full, not before its first packet is sent again. */
const MADE_WITHIN_MS = 300

export class BlackHole implements AsyncDisposable {
  readonly port: number
  readonly #thread: Worker
  readonly #queue: Socket[] = []

  private constructor(port: number, thread: Worker) {
    this.port = port
    this.#thread = thread
  }

  static async start(): Promise<BlackHole> {
    const thread = new Worker(LISTEN, { eval: true })
    const [port] = (await once(thread, 'message')) as [number] // what the thread sends
    const hole = new BlackHole(port, thread)
    while (await hole.#fill()) continue
    return hole
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#queue) socket.destroy()
    await this.#thread.terminate()
  }

  /** Puts one more connection into the queue; false when it has no room. */
  async #fill(): Promise<boolean> {
    const socket = connect(this.port, '127.0.0.1')
    socket.on('error', () => socket.destroy())
    this.#queue.push(socket)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    socket.once('connect', () => resolve(true))
    const timer = setTimeout(() => resolve(false), MADE_WITHIN_MS)
    const isMade = await promise
    clearTimeout(timer)
    return isMade
  }
}

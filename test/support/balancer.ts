/** A load balancer as people have before their instances: it asks for readiness, and keeps connections alive. */
import { once } from 'node:events'
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** One instance: where it listens, and where it says whether it is ready. */
export interface Backend {
  readonly port: number
  readonly managementPort: number
}

interface Member extends Backend {
  readonly agent: Agent
  isReady: boolean
}

const LOOK_MS = 50

export class Balancer implements AsyncDisposable {
  /** Requests that got no answer from the instance they were sent to. */
  readonly failures: string[] = []
  readonly #members: readonly Member[]
  readonly #server: Server
  #turn = 0
  #isOpen = true

  private constructor(backends: readonly Backend[]) {
    this.#members = backends.map((one) => ({ ...one, agent: new Agent({ keepAlive: true }), isReady: false }))
    this.#server = createServer((incoming, response) => this.#pass(incoming, response))
    for (const member of this.#members) void this.#watch(member)
  }

  static async start(port: number, backends: readonly Backend[]): Promise<Balancer> {
    const balancer = new Balancer(backends)
    balancer.#server.listen(port, '127.0.0.1')
    await once(balancer.#server, 'listening')
    return balancer
  }

  /** Resolves once so many instances are in service. */
  async untilReady(count: number): Promise<void> {
    while (this.#members.filter(({ isReady }) => isReady).length < count) await delay(LOOK_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOpen = false
    for (const { agent } of this.#members) agent.destroy()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #watch(member: Member): Promise<void> {
    while (this.#isOpen) {
      member.isReady = await fetch(`http://127.0.0.1:${member.managementPort}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      )
      await delay(LOOK_MS)
    }
  }

  #pass(incoming: IncomingMessage, response: ServerResponse): void {
    const ready = this.#members.filter(({ isReady }) => isReady)
    const member = ready[(this.#turn += 1) % ready.length]
    if (!member) return void response.writeHead(503, { 'sidegate-error': 'balancer' }).end()
    const { method, url: path, headers } = incoming
    const outgoing = request({ host: '127.0.0.1', port: member.port, method, path, headers, agent: member.agent })
    outgoing.on('response', (answer) => {
      // The connection is ours, not the client's.
      const { connection: _hop, 'keep-alive': _too, ...kept } = answer.headers
      answer.pipe(response.writeHead(answer.statusCode ?? 502, kept))
      answer.on('error', () => response.destroy())
    })
    outgoing.on('error', (error) => {
      this.failures.push(`${method} ${path} at ${member.port}: ${error.message}`)
      response.destroy()
    })
    incoming.pipe(outgoing)
  }
}

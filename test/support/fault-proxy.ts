/** A TCP proxy on loopback with switches: what networks do to connections. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export type Fault =
  | { readonly kind: 'none' }
  /** Each chunk arrives so much later, in both directions. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** Connections stay open and nothing arrives any more: a half-open connection, a firewall that forgot. */
  | { readonly kind: 'blackhole' }

export interface FaultProxy {
  readonly port: number
  /** Holds for open connections and new ones, unless a filter picks those opened so far. */
  set(fault: Fault): void
  /** Swallows only what goes over connections that are open now and for which `isMeant` holds, for ever. */
  blackhole(isMeant: (connection: ProxiedConnection) => boolean): number
  /** Delays what comes back over connections that are open now and for which `isMeant` holds. */
  slow(isMeant: (connection: ProxiedConnection) => boolean, ms: number): number
  /** Sends new connections to another server, as a name or a virtual address does after a fail-over. */
  retarget(port: number): void
  /** Resets every open connection, or those for which `isMeant` holds. */
  cut(isMeant?: (connection: ProxiedConnection) => boolean): void
  /** Refuses new connections (they are reset at once) until `false`. */
  refuse(isRefusing: boolean): void
  readonly connections: readonly ProxiedConnection[]
  [Symbol.asyncDispose](): Promise<void>
}

export interface ProxiedConnection {
  /** What the client has sent so far, at most the first 4 kB: tells a subscriber from a data connection. */
  readonly sent: string
}

interface Connection extends ProxiedConnection {
  sent: string
  isSwallowed: boolean
  answersAfterMs: number
  readonly client: Socket
  readonly server: Socket
}

export async function startFaultProxy(targetPort: number, port = 0): Promise<FaultProxy> {
  const open = new Set<Connection>()
  let fault: Fault = { kind: 'none' }
  let isRefusing = false
  let target = targetPort

  const pass = (connection: Connection, to: Socket) => (chunk: Buffer) => {
    if (to === connection.server && connection.sent.length < 4_096) connection.sent += chunk.toString('latin1')
    if (connection.isSwallowed || fault.kind === 'blackhole') return
    const own = to === connection.client ? connection.answersAfterMs : 0
    const delayMs = fault.kind === 'delay' ? fault.ms : own
    if (delayMs > 0) setTimeout(() => to.writable && to.write(chunk), delayMs)
    else to.write(chunk)
  }
  const listener = createServer((client) => {
    if (isRefusing) {
      client.resetAndDestroy()
      return
    }
    const server = connect(target, '127.0.0.1')
    const connection: Connection = { sent: '', isSwallowed: false, answersAfterMs: 0, client, server }
    open.add(connection)
    client.on('data', pass(connection, server))
    server.on('data', pass(connection, client))
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on('error', () => one.destroy())
      one.on('close', () => {
        open.delete(connection)
        // What is swallowed hears nothing of the other side's end, either.
        if (!connection.isSwallowed) other.destroy()
      })
    }
  })
  listener.listen(port, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port')

  const cut = (isMeant: (connection: ProxiedConnection) => boolean = () => true) => {
    for (const connection of [...open].filter(isMeant)) {
      const { client, server } = connection
      client.resetAndDestroy()
      server.destroy()
    }
  }
  return {
    port: address.port,
    set: (next) => void (fault = next),
    blackhole: (isMeant) => {
      const meant = [...open].filter(isMeant)
      for (const connection of meant) connection.isSwallowed = true
      return meant.length
    },
    slow: (isMeant, ms) => {
      const meant = [...open].filter(isMeant)
      for (const connection of meant) connection.answersAfterMs = ms
      return meant.length
    },
    retarget: (next) => void (target = next),
    cut,
    refuse: (next) => void (isRefusing = next),
    get connections() {
      return [...open]
    },
    [Symbol.asyncDispose]: async () => {
      cut()
      listener.close()
      await once(listener, 'close')
    },
  }
}

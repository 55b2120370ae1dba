/** An API that speaks GraphQL over WebSocket, by the library's own server, and as much of SignalR's JSON protocol as its client asks for. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql'
import { useServer } from 'graphql-ws/use/ws'
import { WebSocketServer } from 'ws'

export interface LiveUpstream extends AsyncDisposable {
  readonly url: string
  /** `Authorization` of every handshake, by path. */
  readonly handshakes: { readonly path: string; readonly authorization: string | undefined }[]
}

/** Ends a message of SignalR. */
const RECORD = '\u001E'

/** Starts it on loopback: `/api/graphql` and `/api/hub`. */
export async function startLiveUpstream(): Promise<LiveUpstream> {
  const handshakes: { path: string; authorization: string | undefined }[] = []
  const graphql = new WebSocketServer({ noServer: true })
  const hub = new WebSocketServer({ noServer: true })
  const stopGraphql = useServer({ schema: schema() }, graphql)
  hub.on('connection', (socket) => {
    socket.on('message', (data) => {
      // Text frames arrive as buffers.
      for (const text of (data as Buffer).toString().split(RECORD).filter(Boolean)) {
        const answer = answerOfHub(JSON.parse(text) as Record<string, unknown>) // the client's own messages
        if (answer) socket.send(`${JSON.stringify(answer)}${RECORD}`)
      }
    })
  })
  const server = createServer((_, response) => response.writeHead(404).end())
  server.on('upgrade', (request, socket, head) => {
    const path = request.url ?? ''
    handshakes.push({ path, authorization: request.headers.authorization })
    const target = path === '/api/graphql' ? graphql : hub
    target.handleUpgrade(request, socket, head, (opened) => target.emit('connection', opened, request))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // a TCP server that listens
  return {
    url: `http://127.0.0.1:${port}`,
    handshakes,
    async [Symbol.asyncDispose]() {
      await stopGraphql.dispose()
      for (const socket of hub.clients) socket.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function schema(): GraphQLSchema {
  const greeting = { type: GraphQLString, resolve: (source: unknown) => source }
  return new GraphQLSchema({
    query: new GraphQLObjectType({ name: 'Query', fields: { greeting } }),
    subscription: new GraphQLObjectType({
      name: 'Subscription',
      fields: {
        greeting: {
          ...greeting,
          async *subscribe() {
            yield 'hello'
            // Open until the client, or the gateway, closes it.
            await new Promise(() => {})
          },
        },
      },
    }),
  })
}

function answerOfHub(message: Record<string, unknown>): object | undefined {
  if ('protocol' in message) return {}
  if (message['type'] === 1)
    return { type: 3, invocationId: message['invocationId'], result: `${String(message['target'])} answered` }
  return message['type'] === 6 ? { type: 6 } : undefined
}

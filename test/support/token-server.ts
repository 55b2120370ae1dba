/** A token endpoint that rotates refresh tokens, counts every use of each, and can be slow or lose its answers. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

export interface TokenServer {
  readonly url: string
  /** Every refresh token it was sent, in order. */
  readonly asked: string[]
  /** Before it answers; the grant is processed first. */
  delayMs: number
  lifetimeMs: number
  /** Whether a spent token is taken again, as servers with a reuse interval do. */
  hasGrace: boolean
  /** Resolves when it has been asked `count` times in all. */
  untilAsked(count: number): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** A refresh token is good once; a second use is answered by `invalid_grant`, as a strict server does. */
export async function startTokenServer(): Promise<TokenServer> {
  const spent = new Set<string>()
  const waiting = new Set<() => void>()
  let issued = 0
  const server = createServer((request, response) => {
    void (async () => {
      const token = new URL(request.url ?? '/', 'http://token.server').searchParams.get('refresh_token') ?? ''
      state.asked.push(token)
      for (const wake of waiting) wake()
      const isGood = state.hasGrace || !spent.has(token)
      spent.add(token)
      issued += 1
      const number = issued
      await delay(state.delayMs)
      if (!isGood) return response.writeHead(400).end('{"error":"invalid_grant"}')
      const tokens = {
        accessToken: `access-${number}-of-${token}`,
        tokenType: 'bearer',
        accessTokenExpiresAt: Date.now() + state.lifetimeMs,
        refreshToken: `${token.split('.')[0]}.${number}`,
      }
      return response.writeHead(200).end(JSON.stringify(tokens))
    })()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port')
  const state: TokenServer = {
    url: `http://127.0.0.1:${address.port}`,
    asked: [],
    delayMs: 0,
    lifetimeMs: 600_000,
    hasGrace: false,
    untilAsked: async (count) => {
      while (state.asked.length < count) await new Promise<void>((resolve) => waiting.add(resolve))
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return state
}

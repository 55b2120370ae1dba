/** A whole gateway as the attack corpus wants it: its routes, its upstreams on raw sockets, one user signed in. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { Config } from '../../src/config/schema.ts'
import { Service } from '../../src/service.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { Browser } from './browser.ts'
import { attackCorpus } from './corpus.ts'
import { CLIENT_ID, CLIENT_SECRET, startProvider } from './provider.ts'
import type { TestProvider } from './provider.ts'
import { exchange, get, RawClient } from './raw-client.ts'
import { startRedis, type RedisServer } from './redis.ts'
import { valuesOf } from './raw-http.ts'
import type { RawMessage } from './raw-http.ts'
import { RawUpstream } from './upstream.ts'
import type { RawResponder } from './upstream.ts'
import { LogRecorder, until } from './world.ts'

/** One line of the corpus. Texts hold placeholders; one character is one byte. */
export interface AttackCase {
  readonly name: string
  readonly category: string
  readonly raw: string
  readonly upstream_response?: string
  readonly close_upstream?: boolean
  readonly timing?: { readonly close_after_ms?: number; readonly answer_within_ms?: number }
  readonly client?: ClientExpectation
  readonly as_hits?: number
  readonly expect: {
    readonly status: readonly (number | 'close')[]
    readonly upstream?: UpstreamExpectation
    readonly client?: ClientExpectation
  }
}

interface UpstreamExpectation {
  readonly requests?: number | readonly number[]
  readonly path?: string
  readonly path_not?: string
  readonly method?: string
  readonly complete?: boolean
  readonly body?: string
  readonly body_hex?: string
  readonly no_sid?: boolean
  readonly header_absent?: readonly string[]
  readonly header_present?: readonly string[]
  readonly header_equals?: Readonly<Record<string, string>>
  readonly header_count?: Readonly<Record<string, number>>
  readonly header_not_contains?: Readonly<Record<string, string>>
}

interface ClientExpectation {
  readonly location_contains?: string
  readonly location_excludes?: string
  readonly set_cookie_excludes?: readonly string[]
  readonly header_absent?: readonly string[]
  readonly body_excludes?: string | readonly string[]
  readonly connection_closed?: boolean
  readonly complete?: boolean
  readonly cache_control?: string
  readonly session_alive?: boolean
}

/** Every case; the first line of the file describes the fixture. */
export function readAttackCases(): AttackCase[] {
  const [, ...lines] = readFileSync(attackCorpus, 'utf8').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as AttackCase) // the first line says so
}

export interface Played {
  readonly answers: readonly RawMessage[]
  readonly client: RawClient
  /** What reached any upstream, those cut short included. */
  readonly requests: readonly RawMessage[]
}

const PUBLIC_URL = 'https://app.example'
const BODY_LIMIT = 1_048_576
const COOKIE = '__Host-Http-sidegate'
/** So long a case may take that expects the connection to be closed without an answer. */
const PATIENCE_MS = 16_000
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export class CorpusWorld implements AsyncDisposable {
  readonly upstream: RawUpstream
  readonly sockets: RawUpstream
  readonly provider: TestProvider
  readonly log = new LogRecorder()
  readonly #redis: RedisServer | undefined
  readonly #services: Service[] = []
  readonly #ports: number[] = []
  readonly #managementUrls: string[] = []
  readonly #values = new Map<string, string>()
  #turn = 0

  private constructor(upstream: RawUpstream, sockets: RawUpstream, provider: TestProvider, redis?: RedisServer) {
    this.upstream = upstream
    this.sockets = sockets
    this.provider = provider
    this.#redis = redis
    upstream.answersWhole = true
    sockets.respond = accept
  }

  #newService(): Promise<Service> {
    const { upstream, sockets, provider } = this
    return Service.create({
      config: Config.parse({
        publicUrl: PUBLIC_URL,
        listen: { host: '127.0.0.1', port: 0 },
        management: { host: '127.0.0.1', port: 0 },
        provider: {
          issuer: provider.issuer,
          clientId: CLIENT_ID,
          clientSecret: CLIENT_SECRET,
          scopes: ['openid'],
          pushedAuthorization: 'never',
        },
        shutdown: { delay: '0s', grace: '1s' },
        log: { level: 'trace' },
        rateLimits: { login: 'off' },
        ...(this.#redis && {
          session: { keys: ['A'.repeat(43)] },
          store: { redis: { url: this.#redis.url } },
        }),
        routes: [
          { path: '/api/public', upstream: upstream.url, rewrite: '/v1/public', session: 'none' },
          { path: '/api', upstream: upstream.url, rewrite: '/v1', bodyLimit: `${BODY_LIMIT}b` },
          { path: '/ws', upstream: sockets.url, rewrite: '/w' },
        ],
      }),
      log: createLogger({ level: 'trace' }, this.log),
      clientModule: 'export {}',
    })
  }

  /** One gateway, or several on one Redis. */
  static async start({ instances = 1 }: { instances?: number } = {}): Promise<CorpusWorld> {
    const redis = instances > 1 ? await startRedis() : undefined
    const provider = await startProvider({ redirectUris: [`${PUBLIC_URL}/bff/callback`] })
    const world = new CorpusWorld(await RawUpstream.start(), await RawUpstream.start(), provider, redis)
    let address = ''
    for (let count = 0; count < instances; count += 1) {
      const service = await world.#newService()
      world.#services.push(service)
      const { public: url, management } = await service.listen()
      address = url
      world.#ports.push(Number(new URL(url).port))
      world.#managementUrls.push(management)
      await until(async () => {
        const ready = await fetch(`${management}/readyz`)
        return ready.ok && !(await ready.text()).includes('degraded')
      })
    }
    await world.#signIn(address)
    return world
  }

  /** Where the instance listens whose turn it is. */
  get port(): number {
    return this.#ports[this.#turn % this.#ports.length] ?? 0
  }

  /** The next instance is to be asked. */
  nextTurn(): void {
    this.#turn += 1
  }

  /** What `/healthz` answers at each instance. */
  async health(): Promise<number[]> {
    return Promise.all(this.#managementUrls.map(async (url) => (await fetch(`${url}/healthz`)).status))
  }

  /** What no upstream and no log line may ever hold. */
  get secrets(): string[] {
    return ['{SID}', '{TX}'].map((name) => this.fill(name))
  }

  /** Puts values in the place of placeholders. */
  fill(text: string): string {
    return text.replace(/\{[A-Z_0-9]+\}/g, (name) => this.#values.get(name) ?? name)
  }

  /** From now on `{AT}` is the token that it was sent on with: an upstream's 401 may have brought a new one. */
  async wellFormedRequest(): Promise<RawMessage> {
    this.upstream.respond = (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    const seen = this.upstream.requests.length
    const answer = await exchange(this.port, get('/api/ok', `Cookie: ${COOKIE}=${this.fill('{SID}')}`, 'X-CSRF: 1'))
    const [sent] = this.upstream.requests.slice(seen)
    if (sent) this.#values.set('{AT}', valuesOf(sent, 'authorization')[0]?.replace('Bearer ', '') ?? '')
    return answer
  }

  /** The bytes of a case as they are sent. */
  requestOf(attack: AttackCase): string {
    return this.fill(withCsrfProof(attack))
  }

  /** The upstream's side of the one connection over which so many bytes are asked for; see `respondToBig`. */
  readonly #big = Promise.withResolvers<Socket>()

  get bigAnswer(): Promise<Socket> {
    return this.#big.promise
  }

  get bigAnswerClosed(): Promise<void> {
    return this.#big.promise.then(async (socket) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      if (socket.destroyed) resolve()
      else socket.on('close', resolve)
      await promise
    })
  }

  /** From now on `/v1/big` is answered at such length, as fast as it is taken; nothing else is answered. */
  respondToBig(length: number): void {
    this.upstream.respond = (socket, request) => {
      if (!request.startLine.includes('/big')) return
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`)
      const chunk = Buffer.alloc(1_048_576)
      const fill = (): void => {
        while (!socket.destroyed && socket.write(chunk)) continue
      }
      socket.on('drain', fill)
      fill()
      this.#big.resolve(socket)
    }
  }

  /** Sends one case and waits until nothing more will come of it. */
  async play(attack: AttackCase): Promise<Played> {
    const seen = [this.upstream.requests.length, this.sockets.requests.length]
    this.upstream.respond = this.#responder(attack)
    this.sockets.respond = attack.upstream_response === undefined ? accept : this.#responder(attack)
    const client = await RawClient.connect(this.port)
    client.send(this.requestOf(attack))
    const wanted = isPipelined(attack) ? attack.expect.status.length : 1
    const isHead = attack.raw.startsWith('HEAD')
    if (attack.timing?.close_after_ms === undefined) {
      await Promise.race([client.read(wanted, { isHead }), delay(PATIENCE_MS, undefined, { ref: false })])
      // What must close is given the time to.
      const closes = attack.client?.connection_closed ?? attack.expect.status.includes('close')
      if (closes) await Promise.race([client.closed(), delay(1_000)])
    } else {
      await delay(attack.timing.close_after_ms)
    }
    client.socket.destroy()
    await client.closed()
    const requests = [this.upstream.requests.slice(seen[0]), this.sockets.requests.slice(seen[1])].flat()
    return { answers: client.answers({ isHead }), client, requests }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#services.map((service) => service.stop()))
    await this.#redis?.stop()
    await Promise.all([
      this.upstream[Symbol.asyncDispose](),
      this.sockets[Symbol.asyncDispose](),
      this.provider.close(),
    ])
  }

  #responder({ upstream_response: bytes, close_upstream: closes, name }: AttackCase): RawResponder {
    return (socket, request) => {
      // What is left of a request that was cut off is no request.
      if (!request.startLine.includes(' HTTP/1.1')) return
      const answer = bytes ?? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
      const isHead = request.startLine.startsWith('HEAD')
      socket.write(
        name === 'resp-encoding-bomb'
          ? bomb()
          : Buffer.from(this.fill(isHead ? answer.replace(/ok$/, '') : answer), 'latin1'),
      )
      if (closes === true) socket.end()
    }
  }

  async #signIn(address: string): Promise<void> {
    using browser = new Browser()
    browser.connectTo = (origin) => (origin === PUBLIC_URL ? address : origin)
    const tab = browser.newTab()
    const page = await tab.navigate(`${PUBLIC_URL}/bff/login`, { from: 'none' })
    if (page.url.startsWith(`${this.provider.issuer}/interaction/`)) await tab.submit('alice')
    const sid = valueOfCookie(
      browser.hops.flatMap((hop) => hop.headers['set-cookie'] ?? []),
      COOKIE,
    )
    if (sid === '') throw new Error(`nobody was signed in: ${this.log.text.slice(-2_000)}`)
    const pending = await exchange(
      this.port,
      get(
        '/bff/login',
        'Sec-Fetch-Mode: navigate',
        'Sec-Fetch-Site: same-origin',
        'Sec-Fetch-Dest: document',
        'Accept: text/html',
      ),
    )
    const values: Record<string, string> = {
      SID: sid,
      SID_FLIPPED: sid.slice(0, -1) + (sid.endsWith('A') ? 'E' : 'A'),
      SID_CUT: sid.slice(0, -4),
      // The handle under which the store knows the session: no secret, and no cookie either.
      SID_KEY_ONLY: createHash('sha256').update(sid).digest('base64url'),
      TX: valueOfCookie(valuesOf(pending, 'set-cookie'), '__Secure-sidegate-tx-'),
      STATE: new URL(valuesOf(pending, 'location')[0] ?? '').searchParams.get('state') ?? '',
      CSRF: 'X-CSRF: 1\r\n',
      UPSTREAM_AUTHORITY: new URL(this.upstream.url).host,
      LIMIT_PLUS_1: String(BODY_LIMIT + 1),
      ZEROS: '0'.repeat(BODY_LIMIT + 1),
    }
    for (const [name, value] of Object.entries(values)) this.#values.set(`{${name}}`, value)
    await this.wellFormedRequest()
  }
}

export function isPipelined({ name }: AttackCase): boolean {
  return name.startsWith('pipelined')
}

/** As the corpus's first line has it: a case with a session that brings no proof of its own gets one. */
function withCsrfProof(attack: AttackCase): string {
  if (attack.category === 'csrf') return attack.raw
  const [, blank = '', rest = ''] = /^((?:\r\n)*)([^]*)$/.exec(attack.raw) ?? []
  const blocks = rest.split('\r\n\r\n')
  const proven = blocks
    .map((block, at) => {
      const isHead = at === 0 || isPipelined(attack)
      if (!isHead || !block.includes('{SID') || /\{CSRF\}|sec-fetch-site|\norigin:|x-csrf/i.test(block)) return block
      const lastLine = block.lastIndexOf('\r\n') + 2
      return `${block.slice(0, lastLine)}{CSRF}${block.slice(lastLine)}`
    })
    .join('\r\n\r\n')
  return blank + proven
}

const accept: RawResponder = (socket, request) => {
  const key = valuesOf(request, 'sec-websocket-key')[0] ?? ''
  const answer = createHash('sha1')
    .update(key + GUID)
    .digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${answer}\r\n\r\n`,
  )
}

let packed: Buffer | undefined

/** 200 MiB of nothing, as 200 kB. */
function bomb(): Buffer {
  packed ??= gzipSync(Buffer.alloc(200 * 1_048_576))
  const head = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${packed.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), packed])
}

function valueOfCookie(fields: readonly string[], prefix: string): string {
  const field = fields.findLast((one) => one.startsWith(prefix)) ?? ''
  return /=([^;]*)/.exec(field)?.[1] ?? ''
}

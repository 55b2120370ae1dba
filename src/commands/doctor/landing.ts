/** How `doctor --login` hears of the browser that comes back: on the address of the gateway itself, or by pasting. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { isLoopback } from '../../config/network.ts'
import type { Config } from '../../config/schema.ts'

const FORM_LIMIT = 65_536

/** One who waits for the authorization response. */
export interface Landing {
  /** What the operator has to do, in one sentence. */
  readonly instruction: string
  /** The operator brings an address: an answer in a form's body would be lost. */
  readonly isPasted: boolean
  /** The parameters of the response that carries this state; anything else that comes by is turned away. */
  answer(state: string): Promise<URLSearchParams>
  close(): void
}

export interface LandingOptions {
  readonly redirectUri: string
  readonly config: Config
  /** Where a pasted address comes from. */
  readonly input: Readable
  /** For what the operator should hear meanwhile. */
  readonly say: (line: string) => void
}

/** Listens where a loopback redirect URI leads; elsewhere, or where that address is taken, the operator pastes. */
export async function openLanding(options: LandingOptions): Promise<Landing> {
  const url = new URL(options.redirectUri)
  if (!isLoopback(url.hostname)) return new PastedLanding(options)
  try {
    return await ListeningLanding.open(options, await portFor(url, options.config))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error
    // The gateway runs. It will say that it knows nothing of this login, and the address is there all the same.
    return new PastedLanding(options)
  }
}

/** With a development server in front it is the gateway's own port that requests arrive at. */
async function portFor(url: URL, { listen }: Config): Promise<number> {
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  if (port === listen.port || listen.socket !== undefined) return port
  const socket = connect({ host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port })
  try {
    await once(socket, 'connect')
    return listen.port
  } catch {
    return port // nothing stands in front
  } finally {
    socket.destroy()
  }
}

class ListeningLanding implements Landing {
  readonly isPasted = false
  readonly instruction = 'Open this address in a browser and sign in:'
  readonly #options: LandingOptions
  readonly #server: Server
  readonly #response = Promise.withResolvers<URLSearchParams>()
  #state: string | undefined

  private constructor(options: LandingOptions) {
    this.#options = options
    const { tls } = options.config.listen
    const answer: RequestListener = (request, response) => void this.#serve(request, response)
    this.#server =
      new URL(options.redirectUri).protocol === 'https:' && tls?.cert !== undefined && tls.key !== undefined
        ? createTlsServer({ cert: tls.cert, key: tls.key }, answer)
        : createServer(answer)
  }

  static async open(options: LandingOptions, port: number): Promise<ListeningLanding> {
    const landing = new ListeningLanding(options)
    const host = new URL(options.redirectUri).hostname.replace(/^\[(.*)\]$/, '$1')
    // A name may be either family's for a browser; only this machine is to come in.
    const address = host === 'localhost' || host.endsWith('.localhost') ? 'localhost' : host
    landing.#server.listen(port, address)
    await once(landing.#server, 'listening')
    return landing
  }

  answer(state: string): Promise<URLSearchParams> {
    this.#state = state
    return this.#response.promise
  }

  close(): void {
    this.#server.close()
    this.#server.closeIdleConnections()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const wanted = new URL(this.#options.redirectUri)
    const url = URL.parse(request.url ?? '/', wanted.origin)
    if (url?.pathname !== wanted.pathname) return show(response, 404, 'There is nothing here but the end of a sign-in.')
    const parameters = request.method === 'POST' ? new URLSearchParams(await bodyOf(request)) : url.searchParams
    // Signed answers (JARM) have it inside, where the grant will look.
    const isOurs = parameters.get('state') === this.#state || parameters.has('response')
    if (this.#state === undefined || !isOurs) return show(response, 400, 'This is the end of another sign-in.')
    show(
      response,
      200,
      'This sign-in has come to its end. What came of it is in the terminal; this window can be closed.',
    )
    this.#response.resolve(parameters)
  }
}

class PastedLanding implements Landing {
  readonly isPasted = true
  readonly instruction: string
  readonly #options: LandingOptions
  readonly #reader: ReturnType<typeof createInterface>

  constructor(options: LandingOptions) {
    this.#options = options
    this.#reader = createInterface({ input: options.input })
    this.instruction = `Open this address in a browser and sign in. You end at ${options.redirectUri}?… with a page that says that it did not work, or none: copy the address from there, whole, and paste it here within a minute or so:`
  }

  async answer(state: string): Promise<URLSearchParams> {
    for await (const line of this.#reader) {
      const url = URL.parse(line.trim())
      const isHere = url && `${url.origin}${url.pathname}` === this.#options.redirectUri
      const isOurs = url?.searchParams.get('state') === state || url?.searchParams.has('response') === true
      if (isHere && isOurs) return url.searchParams
      // The line may hold a code, so it is not repeated.
      if (line.trim() !== '')
        this.#options.say(
          `That is not it: the address begins with ${this.#options.redirectUri}? and is of this sign-in.`,
        )
    }
    throw new Error('the input ended before an address was pasted')
  }

  close(): void {
    this.#reader.close()
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) {
    body += String(chunk)
    if (body.length > FORM_LIMIT) break
  }
  return body
}

function show(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    connection: 'close',
  })
  response.end(`<!doctype html><html lang="en"><title>sidegate doctor</title><p>${text}</p></html>\n`)
}

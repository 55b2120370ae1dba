/** The real authorization server under another address, which tells of it what a test wants to be told. */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { TestProvider } from '../provider.ts'
import { listening, portOf } from './ward.ts'

type Document = Record<string, unknown>

export interface Told {
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body?: string
}

export class RetoldProvider {
  /** Where the real one is. */
  target: TestProvider
  /** Last word on the discovery document. */
  retell: (document: Document) => Document = (document) => document
  /** Last word on the issuer, of the address that this one has. */
  issuerOf: (own: string) => string = (own) => own
  /** What is answered in place of the real one. */
  answer: (path: string, request: IncomingMessage) => Told | undefined = () => undefined
  clockOffsetMs = 0
  origin = ''
  readonly #prefix: string

  private constructor(target: TestProvider, prefix: string) {
    this.target = target
    this.#prefix = prefix
  }

  /** @param prefix path of the issuer, in front of every path of the real one */
  static async start(target: TestProvider, { prefix = '', port = 0 } = {}): Promise<RetoldProvider> {
    const retold = new RetoldProvider(target, prefix)
    const server = await listening(
      createServer((request, response) => {
        retold.#serve(request, response).catch(() => response.destroy())
      }),
      port,
    )
    retold.origin = `http://127.0.0.1:${portOf(server)}`
    return retold
  }

  get issuer(): string {
    return this.issuerOf(`${this.origin}${this.#prefix}`)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '/'
    const date = new Date(Date.now() + this.clockOffsetMs).toUTCString()
    const told = this.answer(url, request)
    if (told) return void response.writeHead(told.status, { ...told.headers, date }).end(told.body)
    if (!url.startsWith(`${this.#prefix}/`)) return void response.writeHead(404, { date }).end()
    const { authorization, 'content-type': contentType } = request.headers
    const answer = await fetch(`${this.target.issuer}${url.slice(this.#prefix.length)}`, {
      method: request.method ?? 'GET',
      redirect: 'manual',
      headers: { ...(authorization && { authorization }), ...(contentType && { 'content-type': contentType }) },
      ...(request.method === 'POST' && { body: await buffer(request) }),
    })
    const text = (await answer.text()).replaceAll(this.target.issuer, `${this.origin}${this.#prefix}`)
    const location = answer.headers.get('location')
    response.writeHead(answer.status, {
      'content-type': answer.headers.get('content-type') ?? 'text/plain',
      date,
      ...(location !== null && { location }),
    })
    response.end(url.includes('/.well-known/openid-configuration') ? this.#retold(text) : text)
  }

  #retold(text: string): string {
    // The discovery document of oidc-provider is a JSON object.
    return JSON.stringify(this.retell({ ...(JSON.parse(text) as Document), issuer: this.issuer }))
  }
}

/** The index of an app whose files lie on a content delivery network (`spa.indexUrl`). */
import { BffError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'

const FRESH_MS = 300_000
const TIMEOUT_MS = 5_000
/** An index is some script and style elements; more is a mistake in the address. */
const LARGEST = 1_048_576

export interface RemoteIndexOptions {
  readonly log: Log
  readonly now: () => number
}

/** Read at most once in five minutes, by one request for all; an older copy serves while the network is away. */
export class RemoteIndex {
  readonly #url: string
  readonly #options: RemoteIndexOptions
  #copy: { readonly html: Buffer; readonly readAt: number } | undefined
  #reading: Promise<Buffer> | undefined

  constructor(url: string, options: RemoteIndexOptions) {
    this.#url = url
    this.#options = options
  }

  /** @throws BffError `upstream_unavailable` when there is no copy and none can be had */
  async read(): Promise<Buffer> {
    if (this.#copy && this.#options.now() - this.#copy.readAt < FRESH_MS) return this.#copy.html
    this.#reading ??= this.#fetch().finally(() => {
      this.#reading = undefined
    })
    try {
      return await this.#reading
    } catch (error) {
      if (!this.#copy)
        throw new BffError('upstream_unavailable', 'the index of the app could not be read', { cause: error })
      this.#options.log.warn(
        { err: error, url: this.#url },
        'the index of the app could not be read again; the last one serves',
      )
      // Not with every request from now on.
      this.#copy = { html: this.#copy.html, readAt: this.#options.now() - FRESH_MS + TIMEOUT_MS }
      return this.#copy.html
    }
  }

  async #fetch(): Promise<Buffer> {
    // Another address than the configured one would be somebody else's script in our origin.
    const response = await fetch(this.#url, {
      redirect: 'error',
      headers: { accept: 'text/html' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    if (!response.ok || !response.headers.get('content-type')?.startsWith('text/html')) {
      await response.body?.cancel()
      throw new Error(`status ${response.status}, type ${response.headers.get('content-type')}`)
    }
    const chunks: Uint8Array[] = []
    let length = 0
    for await (const chunk of response.body ?? []) {
      length += chunk.length
      if (length > LARGEST) throw new Error('over 1 MiB')
      chunks.push(chunk)
    }
    const html = Buffer.concat(chunks)
    this.#copy = { html, readAt: this.#options.now() }
    return html
  }
}

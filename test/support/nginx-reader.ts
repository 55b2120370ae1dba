/** nginx as another reader of the bytes that an upstream gets: it says which location it takes them for, and what it read. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findProgram } from '../../scripts/test-tools.mjs'
import { freePort } from './free-port.ts'
import { RawClient } from './raw-client.ts'
import { statusOf, type RawMessage } from './raw-http.ts'
import { RawUpstream } from './upstream.ts'

/** What nginx made of some bytes. */
export interface Reading {
  readonly status: number
  /** The requests that it sent on: path and fields are its own reading, decoded and normalised. */
  readonly requests: readonly RawMessage[]
}

/** The field in which nginx says what it took a request for. */
export const LOCATION = 'x-nginx-location'
/** The field in which it says the path that it decoded and normalised. */
export const PATH = 'x-nginx-path'

export class NginxReader implements AsyncDisposable {
  readonly #port: number
  readonly #recorder: RawUpstream
  readonly #release: () => Promise<void>

  private constructor(port: number, recorder: RawUpstream, release: () => Promise<void>) {
    this.#port = port
    this.#recorder = recorder
    this.#release = release
  }

  /** @param locations path prefixes on segment boundaries, by name; every other path is `other` */
  static async start(locations: Readonly<Record<string, string>>): Promise<NginxReader> {
    const program = findProgram(['nginx'])
    if (program === undefined) throw new Error('no nginx found: npm test installs it, or apt-get install nginx-light')
    const directory = await mkdtemp(join(tmpdir(), 'sidegate-nginx-'))
    const recorder = await RawUpstream.start()
    recorder.answersWhole = true
    const port = await freePort()
    await writeFile(join(directory, 'nginx.conf'), configuration(directory, port, recorder.url, locations))
    const child = spawn(program, ['-p', directory, '-e', 'stderr', '-c', 'nginx.conf'], { stdio: 'ignore' })
    const exited = once(child, 'exit')
    const reader = new NginxReader(port, recorder, async () => {
      child.kill('SIGKILL')
      await exited
      await recorder[Symbol.asyncDispose]()
      await rm(directory, { recursive: true, force: true })
    })
    await reader.#untilItListens()
    return reader
  }

  /** Sends these bytes on a connection of their own, and waits for one answer or its end. */
  async read(bytes: Buffer, isHead: boolean): Promise<Reading> {
    const seen = this.#recorder.requests.length
    using client = await RawClient.connect(this.#port)
    const [answer] = await client.send(bytes).read(1, { isHead })
    return { status: answer ? statusOf(answer) : 0, requests: this.#recorder.requests.slice(seen) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release()
  }

  async #untilItListens(): Promise<void> {
    for (let tries = 0; tries < 400; tries += 1) {
      try {
        using client = await RawClient.connect(this.#port)
        client.socket.end()
        return
      } catch {
        await delay(25) // not yet
      }
    }
    throw new Error('nginx does not listen')
  }
}

function configuration(
  directory: string,
  port: number,
  recorder: string,
  locations: Readonly<Record<string, string>>,
): string {
  const handOn = (name: string) =>
    [
      `proxy_set_header ${LOCATION} ${name};`,
      // As it decoded and normalised the path; a URL of its own making would be encoded again.
      `proxy_set_header ${PATH} $uri;`,
      'proxy_set_header Host $http_host;',
      'proxy_set_header Connection "";',
      `proxy_pass ${recorder};`,
    ].join(' ')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return [
    'daemon off; master_process off; pid nginx.pid; error_log stderr;',
    'events { worker_connections 512; }',
    'http {',
    'access_log off; proxy_http_version 1.1; client_max_body_size 0; large_client_header_buffers 8 64k;',
    // Everything that can be read as a field is read, so that it can be compared.
    'ignore_invalid_headers off; underscores_in_headers on;',
    ...temporary.map((kind) => `${kind}_temp_path ${join(directory, kind)};`),
    `server { listen 127.0.0.1:${port};`,
    // A prefix of nginx ends anywhere; ours end with a segment.
    ...Object.entries(locations).map(
      ([name, prefix]) => `location = ${prefix} { ${handOn(name)} } location ${prefix}/ { ${handOn(name)} }`,
    ),
    `location / { ${handOn('other')} }`,
    '} }',
  ].join('\n')
}

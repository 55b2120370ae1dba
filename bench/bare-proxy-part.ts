import { freePort } from '../test/support/free-port.ts'
import { MEASURED_CORE, Part } from './part.ts'

/** The bare @fastify/http-proxy as a part of its own, up and answering. */
export interface BareProxy extends AsyncDisposable {
  readonly part: Part
  readonly url: string
  readonly startedInMs: number
}

export async function startBareProxy(upstreamPort: number): Promise<BareProxy> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const program = new URL('bare-proxy.ts', import.meta.url).pathname
  const part = new Part({
    name: 'bare @fastify/http-proxy',
    command: [process.execPath, program, String(port), `http://127.0.0.1:${upstreamPort}`],
    core: MEASURED_CORE,
    env: { NODE_ENV: 'production' },
  })
  const startedInMs = await part.answering(`${url}/api/items`)
  return { part, url, startedInMs, [Symbol.asyncDispose]: () => part[Symbol.asyncDispose]() }
}

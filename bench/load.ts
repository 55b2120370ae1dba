/** One slice of load: wrk where there is one, else autocannon. Both keep connections alive and send as fast as answers come. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { OTHER_CORE, pinned, programPath } from './part.ts'

export interface Load {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Requests take turns with these `Cookie` fields (autocannon: all have the first). */
  readonly cookies: readonly string[]
  readonly connections: number
  readonly seconds: number
}

export interface Slice {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly p50Microseconds: number
  readonly p99Microseconds: number
}

/** The load generator's name, for the report. */
export const generator = programPath('wrk') ? 'wrk' : 'autocannon'

/** @throws when an answer was not 2xx or a connection failed: then nothing was measured */
export function run(load: Load): Promise<Slice> {
  return generator === 'wrk' ? runWrk(load) : runAutocannon(load)
}

async function runWrk({ url, headers, cookies, connections, seconds }: Load): Promise<Slice> {
  const args = ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency']
  for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}: ${value}`)
  const script = new URL('cookies.lua', import.meta.url).pathname
  const [program = '', ...rest] = pinned(OTHER_CORE, [...args, '-s', script, url])
  const directory = await mkdtemp(join(tmpdir(), 'sidegate-bench-load-'))
  try {
    const file = join(directory, 'cookies')
    await writeFile(file, `${cookies.join('\n')}\n`)
    const env = { ...process.env, SIDEGATE_BENCH_COOKIES: file }
    const { stdout } = await promisify(execFile)(program, rest, { env })
    return readWrk(stdout)
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** Reads wrk's report. */
export function readWrk(text: string): Slice {
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`the load met failures:\n${text}`)
  const requests = Number(/(\d+) requests in/.exec(text)?.[1])
  const requestsPerSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1])
  const latency = (share: string) => {
    const found = new RegExp(`^\\s+${share}%\\s+([\\d.]+)(us|ms|s)$`, 'm').exec(text)
    return Number(found?.[1]) * { us: 1, ms: 1_000, s: 1_000_000 }[found?.[2] ?? 'us']!
  }
  return { requests, requestsPerSecond, p50Microseconds: latency('50'), p99Microseconds: latency('99') }
}

async function runAutocannon({ url, headers, cookies, connections, seconds }: Load): Promise<Slice> {
  const program = new URL('../node_modules/autocannon/autocannon.js', import.meta.url).pathname
  const args = ['--json', '--no-progress', '-c', String(connections), '-d', String(seconds)]
  for (const [name, value] of Object.entries({ ...headers, Cookie: cookies[0] ?? '' }))
    args.push('-H', `${name}=${value}`)
  const [command = '', ...rest] = pinned(OTHER_CORE, [process.execPath, program, ...args, url])
  const { stdout } = await promisify(execFile)(command, rest)
  // autocannon's own report: https://github.com/mcollina/autocannon#autocannonopts-cb
  const report = JSON.parse(stdout) as AutocannonReport
  if (report.errors + report.non2xx > 0)
    throw new Error(`the load met ${report.errors} errors, ${report.non2xx} bad answers`)
  return {
    requests: report.requests.total,
    requestsPerSecond: report.requests.total / report.duration,
    p50Microseconds: report.latency.p50 * 1_000,
    p99Microseconds: report.latency.p99 * 1_000,
  }
}

interface AutocannonReport {
  readonly errors: number
  readonly non2xx: number
  readonly duration: number
  readonly requests: { readonly total: number }
  readonly latency: { readonly p50: number; readonly p99: number }
}

/**
 * `node scripts/with-node.mjs bench/long-streams.ts [--minutes 60] [--gap 30] [--streams 20]`: event streams and
 * WebSockets of signed-in users whose upstream says something every so many seconds. Exit code 1 when one breaks off.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { WebSocket, WebSocketServer } from 'ws'
import { startGateway } from './gateway.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    gap: { type: 'string', default: '30' },
    streams: { type: 'string', default: '20' },
  },
})
const [minutes, gapMs, count] = [Number(values.minutes), Number(values.gap) * 1_000, Number(values.streams)]

const findings: string[] = []
/** Milliseconds from a word's departure to its arrival: both are this machine's clock. */
const delaysMs: number[] = []
let isOver = false

/** Says the time, by both ways, as long as anybody listens. */
function startUpstream(): Server {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const say = (): void => void response.write(`data: ${Date.now()}\n\n`)
    const timer = setInterval(say, gapMs)
    say()
    response.on('close', () => clearInterval(timer))
  })
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) => {
    const say = (): void => socket.send(String(Date.now()))
    const timer = setInterval(say, gapMs)
    say()
    socket.on('close', () => clearInterval(timer))
  })
  return server.listen(0, '127.0.0.1')
}

async function listen(url: string, cookie: string, abort: AbortSignal): Promise<void> {
  const response = await fetch(`${url}/api/events`, { headers: { cookie, 'x-csrf': '1' }, signal: abort })
  if (response.status !== 200 || !response.body) return void findings.push(`an event stream is a ${response.status}`)
  try {
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      for (const [, said] of chunk.matchAll(/data: (\d+)/g)) delaysMs.push(Date.now() - Number(said))
    }
    findings.push('an event stream ended')
  } catch (error) {
    if (!isOver) findings.push(`an event stream broke off: ${String(error)}`)
  }
}

function converse(url: string, cookie: string): WebSocket {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/api/socket`, { headers: { cookie, 'x-csrf': '1' } })
  socket.on('message', (said: Buffer) => delaysMs.push(Date.now() - Number(said.toString())))
  socket.on('error', (error) => findings.push(`a WebSocket failed: ${error.message}`))
  socket.on('close', (code) => {
    if (!isOver) findings.push(`a WebSocket was closed with ${code}`)
  })
  return socket
}

const directory = await mkdtemp(join(tmpdir(), 'sidegate-streams-'))
const upstream = startUpstream()
await once(upstream, 'listening')
const gateway = await startGateway({
  name: 'streams',
  directory,
  upstreamPort: (upstream.address() as AddressInfo).port, // listens on TCP
  session: { idleTimeout: '4h' },
})
try {
  const [cookie = ''] = gateway.cookies
  const abort = new AbortController()
  const streams = Array.from({ length: count }, () => listen(gateway.url, cookie, abort.signal))
  const sockets = Array.from({ length: count }, () => converse(gateway.url, cookie))
  await delay(minutes * 60_000)
  isOver = true
  abort.abort()
  for (const socket of sockets) socket.terminate()
  await Promise.all(streams)

  const sorted = delaysMs.toSorted((a, b) => a - b)
  console.log(`said       ${delaysMs.length} words over ${2 * count} streams in ${minutes} minutes`)
  console.log(`later by   ${sorted[Math.floor(sorted.length / 2)]} ms, at most ${sorted.at(-1)} ms`)
  for (const finding of findings) console.log(`FINDING    ${finding}`)
  if (delaysMs.length < 2 * count * Math.floor((minutes * 60_000) / gapMs)) findings.push('words are missing')
  console.log(findings.length === 0 ? 'nothing found' : `${findings.length} findings`)
  process.exitCode = findings.length === 0 ? 0 : 1
} finally {
  await gateway[Symbol.asyncDispose]()
  upstream.closeAllConnections()
  upstream.close()
  await rm(directory, { recursive: true, force: true })
}

import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { get, type RequestOptions } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import WebSocket from 'ws'
import { KeyRing } from '../../src/session/key-ring.ts'
import { Browser } from '../support/browser.ts'
import { createAuthority } from '../support/certificate-authority.ts'
import { freePort } from '../support/free-port.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { HeldUpstream } from '../support/held-upstream.ts'
import { CLIENT_ID, startProvider, type TestProvider } from '../support/provider.ts'
import { startTlsRelay } from '../support/tls-relay.ts'

const SESSION = '__Host-Http-sidegate'
const SECRETS = ['the-first-secret-of-more-than-32-characters', 'the-second-secret-of-more-than-32-characters'] as const
const IN_FORCE = 'the changed configuration is in force'

interface Place {
  readonly port: number
  readonly ca: string
  readonly cookie: string
}

/** What is under way in a gateway, to see what becomes of it. */
class Load {
  readonly answers: Promise<string>[]
  readonly sockets: WebSocket[]
  readonly closes: Promise<unknown[]>[]
  readonly streams: IncomingMessage[]
  readonly told: string[]

  private constructor(answers: Promise<string>[], sockets: WebSocket[], streams: IncomingMessage[]) {
    this.answers = answers
    this.sockets = sockets
    this.closes = sockets.map((socket) => once(socket, 'close'))
    this.streams = streams
    this.told = streams.map(() => '')
    for (const [n, stream] of streams.entries()) stream.on('data', (chunk) => (this.told[n] += String(chunk)))
  }

  /** 100 requests that the upstream holds, 10 WebSockets and 5 event streams. */
  static async start(place: Place, upstream: HeldUpstream): Promise<Load> {
    const answers: Promise<string>[] = []
    // Handshakes in small groups: a busy machine would be overloaded by all at once, and rightly refuse some.
    for (let begun = 10; begun <= 100; begun += 10) {
      for (let n = begun - 10; n < begun; n += 1) answers.push(answerTo(place, `/api/${n}`))
      await upstream.arrived(begun)
    }
    const sockets: WebSocket[] = []
    while (sockets.length < 10) sockets.push(await openSocket(place))
    const streams: IncomingMessage[] = []
    while (streams.length < 5) streams.push(await admitted(place, '/bff/session/events'))
    return new Load(answers, sockets, streams)
  }

  /** What each WebSocket hears when it says something. */
  echoes(): Promise<string[]> {
    return Promise.all(
      this.sockets.map(async (socket, n) => {
        const heard = once(socket, 'message')
        socket.send(`hello ${n}`)
        return String((await heard)[0])
      }),
    )
  }
}

const echoed = Array.from({ length: 10 }, (_, n) => `hello ${n}`)
const answered = Array(100).fill('200 done')

async function ask({ port, ca, cookie }: Place, path: string): Promise<IncomingMessage> {
  const headers = { cookie, 'sec-fetch-site': 'same-origin' }
  const options: RequestOptions = { host: '127.0.0.1', servername: 'localhost', port, ca, path, headers, agent: false }
  const [answer] = (await once(get(options), 'response')) as [IncomingMessage] // what a client emits
  return answer
}

/** Asks again while the gateway says that it has too much to do: nothing has begun then. */
async function admitted(place: Place, path: string): Promise<IncomingMessage> {
  for (;;) {
    const answer = await ask(place, path)
    if (answer.headers['sidegate-error'] !== 'overloaded') return answer
    answer.resume()
    await delay(100)
  }
}

async function answerTo(place: Place, path: string): Promise<string> {
  const answer = await admitted(place, path)
  return `${answer.statusCode} ${await textOf(answer)}`
}

async function openSocket({ port, ca, cookie }: Place): Promise<WebSocket> {
  for (;;) {
    const origin = `https://localhost:${port}`
    const socket = new WebSocket(`wss://localhost:${port}/api/socket`, { ca, headers: { cookie, origin } })
    const refusal = await once(socket, 'open').then(
      () => undefined,
      (error: Error) => error,
    )
    if (!refusal) return socket
    if (!refusal.message.endsWith('503')) throw refusal
    await delay(100)
  }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of answer) text += String(chunk)
  return text
}

async function serialOf({ port, ca }: Place): Promise<string> {
  const socket = connect({ host: '127.0.0.1', servername: 'localhost', port, ca })
  await once(socket, 'secureConnect')
  const { serialNumber } = socket.getPeerCertificate()
  socket.destroy()
  return serialNumber
}

function yaml(port: number, issuer: string, upstream: string, prefix: string): string {
  return `publicUrl: https://localhost:${port}
listen: { host: 127.0.0.1, port: ${port}, tls: { certFile: cert.pem, keyFile: key.pem } }
management: { host: 127.0.0.1, port: 0 }
provider:
  issuer: ${issuer}
  clientId: ${CLIENT_ID}
  clientSecretFile: client
  scopes: [openid, profile]
session: { keysFile: keys }
rateLimits: { login: off }
shutdown: { delay: 300ms, grace: 10s }
routes:
  - { path: ${prefix}, upstream: "${upstream}" }
`
}

async function providerOf(port: number, secret: string): Promise<TestProvider> {
  const provider = await startProvider({
    redirectUris: [`https://localhost:${port}/bff/callback`],
    client: { client_secret: secret },
  })
  onTestFinished(() => provider.close())
  return provider
}

async function upstreamOf(): Promise<HeldUpstream> {
  const upstream = await HeldUpstream.start()
  onTestFinished(() => upstream.close())
  return upstream
}

/** Signs in as a browser does; resolves the session cookie as a client sends it. */
async function signIn(origin: string, relay: string, issuer: string): Promise<string> {
  using browser = new Browser()
  browser.connectTo = (asked) => (asked === origin ? relay : asked)
  const tab = browser.newTab()
  let page = await tab.navigate(`${origin}/bff/login`, { from: 'none' })
  // A busy machine may have more to do than it can, also for the look at the authorization server.
  while (page.status === 503) {
    await delay(200)
    page = await tab.navigate(`${origin}/bff/login`, { from: 'none' })
  }
  if (!page.url.startsWith(issuer)) throw new Error(`the login led to ${page.url}: ${page.text}`)
  await tab.submit('alice')
  return `${SESSION}=${browser.jar.get(SESSION)?.value ?? ''}`
}

test('a change of route, certificate, secret, keys and issuer under load loses nothing, nor does the end (R21, R22, R28)', async () => {
  const port = await freePort()
  const origin = `https://localhost:${port}`
  const authority = await createAuthority()
  onTestFinished(() => authority[Symbol.asyncDispose]())
  const [certificate, nextCertificate] = [await authority.issue('localhost'), await authority.issue('localhost')]
  const [provider, nextProvider] = [await providerOf(port, SECRETS[0]), await providerOf(port, SECRETS[1])]
  const [upstream, nextUpstream] = [await upstreamOf(), await upstreamOf()]
  const key = KeyRing.generateKey()
  const gateway = await GatewayProcess.start({
    'sidegate.yaml': yaml(port, provider.issuer, upstream.url, '/api'),
    'cert.pem': certificate.cert,
    'key.pem': certificate.key,
    client: `${SECRETS[0]}\n`,
    keys: `${key}\n`,
  })
  const relay = await startTlsRelay(port, authority.ca)
  onTestFinished(() => relay.close())
  const cookie = await signIn(origin, relay.url, provider.issuer)
  const place = { port, ca: authority.ca, cookie }
  const serial = await serialOf(place)
  const load = await Load.start(place, upstream)

  await gateway.write({
    'cert.pem': nextCertificate.cert,
    'key.pem': nextCertificate.key,
    client: `${SECRETS[1]}\n`,
    keys: `${KeyRing.generateKey()}\n${key}\n`,
    'sidegate.yaml': yaml(port, nextProvider.issuer, nextUpstream.url, '/api'),
  })
  gateway.signal('SIGHUP')
  // A slow machine is seen between two files: then it is more than one change.
  await gateway.until(({ msg, settings }) => msg === IN_FORCE && JSON.stringify(settings).includes('routes'))

  expect(gateway.lines.filter(({ msg }) => msg === IN_FORCE).flatMap(({ settings }) => settings)).toEqual(
    expect.arrayContaining(['listen.tls.cert', 'listen.tls.key', 'provider.issuer', 'provider.clientSecret', 'routes']),
  )
  expect(await serialOf(place)).not.toBe(serial)
  // The session of before is good, and what has begun goes on where it began.
  expect(await load.echoes()).toEqual(echoed)
  upstream.release()
  expect(await Promise.all(load.answers)).toEqual(answered)
  expect(load.told).toEqual(Array(5).fill(expect.stringContaining('event: session')))
  // The secret and the issuer are the new ones: a whole sign-in ends well.
  const nextCookie = await signIn(origin, relay.url, nextProvider.issuer)
  expect(nextProvider.tokenRequests.map(({ status }) => status)).toEqual([200])

  // What cannot be used changes nothing.
  const seen = gateway.lines.length
  await gateway.write({ 'sidegate.yaml': 'publicUrl: [not, a, text]\n' })
  gateway.signal('SIGHUP')
  const refused = await gateway.until(({ msg }) => String(msg).startsWith('the changed configuration cannot'), seen)
  expect(JSON.stringify(refused)).toContain('publicUrl')

  const nextLoad = await Load.start({ ...place, cookie: nextCookie }, nextUpstream)
  const ends = [...load.streams, ...nextLoad.streams].map((stream) => once(stream, 'end'))
  gateway.signal('SIGTERM')
  await gateway.until(({ msg }) => msg === 'draining: still serving')
  expect(await load.echoes()).toEqual(echoed)
  expect(await nextLoad.echoes()).toEqual(echoed)
  nextUpstream.release()

  expect(await Promise.all(nextLoad.answers)).toEqual(answered)
  const codes = (await Promise.all([...load.closes, ...nextLoad.closes])).map(([code]) => code)
  expect(codes).toEqual(Array(20).fill(1001))
  await Promise.all(ends)
  expect(await gateway.exited()).toBe(0)
}, 60_000)

test('a changed file is taken over without a signal, once it can be used', async () => {
  const port = await freePort()
  const authority = await createAuthority()
  onTestFinished(() => authority[Symbol.asyncDispose]())
  const { cert, key } = await authority.issue('localhost')
  const upstream = await upstreamOf()
  upstream.release()
  const issuer = 'http://127.0.0.1:1'
  const open = (prefix: string) => yaml(port, issuer, upstream.url, prefix).replace('" }', '", session: none }')
  const gateway = await GatewayProcess.start({
    'sidegate.yaml': open('/one'),
    'cert.pem': cert,
    'key.pem': key,
    client: SECRETS[0],
    keys: KeyRing.generateKey(),
  })
  const place = { port, ca: authority.ca, cookie: '' }

  await gateway.write({ 'sidegate.yaml': open('one') })
  await gateway.until(({ msg }) => String(msg).startsWith('the changed configuration cannot'))
  const statusOf = async (path: string) => (await admitted(place, path)).statusCode
  const refused = [await statusOf('/one'), await statusOf('/two')]
  await gateway.write({ 'sidegate.yaml': open('/two') })
  await gateway.until(({ msg }) => msg === IN_FORCE)

  expect(refused).toEqual([200, 404])
  const { management } = gateway.lines.find(({ msg }) => msg === 'listening') ?? {}
  const metrics = await (await fetch(`${String(management)}/metrics`)).text()
  expect(metrics).toMatch(/sidegate_config_reloads_total\{outcome="refused"\} [1-9]/)
  expect(metrics).toMatch(/sidegate_config_reloads_total\{outcome="taken"\} [1-9]/)
  const ends = Number(/sidegate_certificate_expiry_timestamp_seconds\{setting="listen.tls"\} (\S+)/.exec(metrics)?.[1])
  expect(ends * 1_000).toBe(Date.parse(new X509Certificate(cert).validTo))
  expect([await statusOf('/one'), await statusOf('/two')]).toEqual([404, 200])
}, 60_000)

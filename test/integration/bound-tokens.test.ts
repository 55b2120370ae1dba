/** Tokens that are bound to a key or a certificate, on their way to an API that checks that (PX-18). */
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify, type JWK } from 'jose'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { AUTHORITY, CLIENT, SERVER } from '../support/certificates.ts'
import { ProxyApp } from '../support/proxy-app.ts'
import { exchange, get } from '../support/raw-client.ts'
import { statusOf } from '../support/raw-http.ts'
import type { RecordedRequest, RecordingUpstream } from '../support/recording-upstream.ts'
import { RawUpstream } from '../support/upstream.ts'
import { startWorld } from '../support/world.ts'

interface Proof {
  readonly jti: string
  readonly nonce: string | undefined
  /** Of the key that signed it. */
  readonly thumbprint: string
  readonly accessToken: string
}

/** An API that holds its callers to RFC 9449 §7, and wants the nonce that it has named last. */
class BoundApi {
  readonly proofs: Proof[] = []
  /** Wanted of the next proof; `undefined` wants none. */
  nonce: string | undefined
  /** In the answers that it is content with. */
  nextNonce: string | undefined
  refuses = (_accessToken: string): boolean => false
  readonly #upstream: RecordingUpstream

  constructor(upstream: RecordingUpstream) {
    this.#upstream = upstream
    upstream.respond = (request, response) =>
      void this.judge(request).then(([status, headers]) => {
        if (this.nextNonce !== undefined) this.nonce = this.nextNonce
        response.writeHead(status, headers).end(status === 200 ? `taken: ${request.body}` : 'the API’s own words')
      })
  }

  async judge(request: RecordedRequest): Promise<[status: number, headers: Record<string, string>]> {
    const proof = await this.#proofOf(request)
    this.proofs.push(proof)
    if (this.nonce !== undefined && proof.nonce !== this.nonce)
      return [401, { 'www-authenticate': 'dpop error="use_dpop_nonce", algs="ES256"', 'dpop-nonce': this.nonce }]
    if (this.refuses(proof.accessToken)) return [401, { 'www-authenticate': 'DPoP error="invalid_token"' }]
    return [200, this.nextNonce === undefined ? {} : { 'dpop-nonce': this.nextNonce }]
  }

  /** §4.3: the checks of a proof. */
  async #proofOf({ method, url, headers }: RecordedRequest): Promise<Proof> {
    const [scheme, accessToken = ''] = (headers.authorization ?? '').split(' ')
    expect(scheme).toBe('DPoP')
    const { payload, protectedHeader } = await jwtVerify(String(headers['dpop']), EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ['ES256'],
      maxTokenAge: 60,
    })
    const { origin, pathname } = new URL(url, this.#upstream.url)
    expect(payload).toMatchObject({
      htm: method,
      htu: origin + pathname,
      ath: createHash('sha256').update(accessToken).digest('base64url'),
    })
    expect(this.proofs.map(({ jti }) => jti)).not.toContain(payload.jti)
    const jwk = protectedHeader.jwk as JWK // EmbeddedJWK has just used it
    expect(jwk.d).toBeUndefined()
    const nonce = payload['nonce']
    return {
      jti: String(payload.jti),
      nonce: typeof nonce === 'string' ? nonce : undefined,
      thumbprint: await calculateJwkThumbprint(jwk),
      accessToken,
    }
  }
}

async function boundWorld() {
  const world = await startWorld({
    provider: { configuration: { features: { dPoP: { enabled: true } } } },
    config: { provider: { dpop: true } },
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  const api = new BoundApi(world.upstream)
  return { world, api, nonces: () => api.proofs.map(({ nonce }) => nonce), ...(await world.signedIn()) }
}

describe('a token that is bound to a key (PX-18, RFC 9449)', () => {
  test('goes with a proof of its own for each call, by one key for the session', async () => {
    const { api, tab } = await boundWorld()

    const answers = await Promise.all([tab.fetch('/api/a?b=c'), tab.fetch('/api/a?b=c', { method: 'DELETE' })])

    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    expect(new Set(api.proofs.map(({ thumbprint }) => thumbprint)).size).toBe(1)
    expect(new Set(api.proofs.map(({ jti }) => jti)).size).toBe(2)
  })

  test('a nonce that the API wants is learned, the call made once more, and the nonce used from then on', async () => {
    const { api, nonces, tab } = await boundWorld()
    api.nonce = 'n1'

    expect((await tab.fetch('/api/a', { method: 'POST' })).status).toBe(200)
    expect((await tab.fetch('/api/b')).status).toBe(200)
    expect(nonces()).toEqual([undefined, 'n1', 'n1'])
  })

  test('a nonce in any answer counts for the next call', async () => {
    const { api, nonces, tab } = await boundWorld()
    api.nextNonce = 'n1'
    await tab.fetch('/api/a')
    api.nextNonce = 'n2'
    await tab.fetch('/api/b')
    await tab.fetch('/api/c')

    expect(nonces()).toEqual([undefined, 'n1', 'n2'])
  })

  test('a nonce that changes with every proof costs one more attempt and no third', async () => {
    const { world, api, nonces, tab } = await boundWorld()
    let count = 0
    world.upstream.respond = (request, response) => {
      count += 1
      api.nonce = `n${count}`
      void api.judge(request).then(([status, headers]) => response.writeHead(status, headers).end('own words'))
    }

    const answer = await tab.fetch('/api/a')

    expect([answer.status, answer.text]).toEqual([401, 'own words'])
    expect(nonces()).toEqual([undefined, 'n1'])
  })

  test('a body is sent once; the nonce that its refusal brought serves the next one', async () => {
    const { api, nonces, tab } = await boundWorld()
    api.nonce = 'n1'
    const put = () => tab.fetch('/api/a', { method: 'PUT', body: 'twelve' })

    const answers = [await put(), await put()]

    expect(answers.map(({ status, text }) => [status, text])).toEqual([
      [401, 'the API’s own words'],
      [200, 'taken: twelve'],
    ])
    expect(nonces()).toEqual([undefined, 'n1'])
  })

  test('nonce and token may both be refused in one call: each is exchanged once, the key stays (RF-08)', async () => {
    const { world, api, nonces, tab } = await boundWorld()
    api.nonce = 'n1'
    const old = new Set<string>()
    api.refuses = (accessToken) => {
      if (old.size === 0) old.add(accessToken)
      return old.has(accessToken)
    }

    const answer = await tab.fetch('/api/a')

    expect(answer.status).toBe(200)
    expect(nonces()).toEqual([undefined, 'n1', 'n1'])
    expect(new Set(api.proofs.map(({ accessToken }) => accessToken)).size).toBe(2)
    expect(new Set(api.proofs.map(({ thumbprint }) => thumbprint)).size).toBe(1)
    expect(world.provider.count('refresh_token')).toBe(1)
  })

  test('a Bearer challenge with that error wants nothing of us', async () => {
    const { world, tab } = await boundWorld()
    world.upstream.respond = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer error="use_dpop_nonce"', 'dpop-nonce': 'n' }).end()
    }

    expect((await tab.fetch('/api/a')).status).toBe(401)
    expect(world.upstream.requests).toHaveLength(1)
  })

  test('a handshake has a proof, too, and is made once more for a nonce', async () => {
    const { world, api, nonces, browser } = await boundWorld()
    world.upstream.refuseUpgrade = () =>
      world.upstream.requests.length === 1
        ? ['HTTP/1.1 401 No', 'WWW-Authenticate: DPoP error="use_dpop_nonce"', 'DPoP-Nonce: n1']
        : undefined
    const cookie = browser.jar.header(new URL(world.url), 'strict') ?? ''
    const headers = { origin: world.url, cookie }
    const socket = new WebSocket(`${world.url.replace('http:', 'ws:')}/api/live`, { headers })
    onTestFinished(() => socket.terminate())

    await once(socket, 'open')
    for (const request of world.upstream.requests) await api.judge(request)

    expect(nonces()).toEqual([undefined, 'n1'])
  })
})

describe('a token that is bound to a certificate (PX-18, RFC 8705 §3)', () => {
  /** What an API compares with `cnf: { "x5t#S256" }` of the token. */
  const thumbprintOf = (certificate: string | Buffer): string =>
    createHash('sha256').update(new X509Certificate(certificate).raw).digest('base64url')

  test('the certificate of the route is shown on every connection, and the token goes over none without', async () => {
    const shown: string[] = []
    const server = createTlsServer({ ...SERVER, ca: AUTHORITY, requestCert: true, rejectUnauthorized: false })
    server.on('secureConnection', (socket: TLSSocket) => {
      const { raw } = socket.getPeerCertificate() as { raw?: Buffer } // an empty object where none was shown
      shown.push(raw ? thumbprintOf(raw) : 'none')
    })
    const upstream = await RawUpstream.start(undefined, server, undefined, 'secureConnection')
    onTestFinished(() => upstream[Symbol.asyncDispose]())
    const address = `https://localhost:${upstream.port}`
    const proxy = await ProxyApp.start({
      routes: [
        { path: '/bound', upstream: address, tls: { ca: AUTHORITY, ...CLIENT } },
        { path: '/other', upstream: address, tls: { ca: AUTHORITY } },
      ],
    })
    onTestFinished(() => proxy[Symbol.asyncDispose]())

    for (const path of ['/bound/a', '/other/a', '/bound/b', '/other/b'])
      expect(statusOf(await exchange(proxy.port, get(path)))).toBe(200)

    expect(shown).toEqual([thumbprintOf(CLIENT.cert), 'none'])
    const paths = upstream.received.map((bytes) =>
      [...bytes.toString('latin1').matchAll(/^GET (\S+)/gm)].map(([, path]) => path),
    )
    expect(paths).toEqual([
      ['/bound/a', '/bound/b'],
      ['/other/a', '/other/b'],
    ])
  })
})

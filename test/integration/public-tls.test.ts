import { once } from 'node:events'
import { Agent, request } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { connect, type TLSSocket } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { type Authority, type Certificate, createAuthority } from '../support/certificate-authority.ts'
import { freePort } from '../support/free-port.ts'
import { startWorld, type World } from '../support/world.ts'

interface TlsWorld {
  readonly world: World
  readonly authority: Authority
  readonly port: number
}

async function start(): Promise<TlsWorld> {
  const authority = await createAuthority()
  onTestFinished(() => authority[Symbol.asyncDispose]())
  const { cert, key } = await authority.issue('localhost')
  const port = await freePort()
  const world = await startWorld({
    config: ({ upstream }) => ({
      publicUrl: `https://localhost:${port}`,
      listen: { port, tls: { cert, key } },
      routes: [{ path: '/api', upstream, session: 'none' }],
    }),
  })
  onTestFinished(() => world[Symbol.asyncDispose]())
  return { world, authority, port }
}

/** The serial number of the certificate that a new connection is shown. */
async function shown({ authority, port }: TlsWorld): Promise<string> {
  const socket = connect({ host: '127.0.0.1', servername: 'localhost', port, ca: authority.ca })
  await once(socket, 'secureConnect')
  const { serialNumber } = socket.getPeerCertificate()
  socket.destroy()
  return serialNumber
}

async function ask({ authority, port }: TlsWorld, path: string, agent: Agent | false = false) {
  const sent = request({ host: '127.0.0.1', servername: 'localhost', port, path, agent, ca: authority.ca }).end()
  const [answer] = (await once(sent, 'response')) as [IncomingMessage] // what a client emits
  await answer.resume().toArray()
  return { answer, socket: sent.socket as TLSSocket } // a client over TLS has one
}

function withCertificate({ world }: TlsWorld, { cert, key }: Pick<Certificate, 'cert' | 'key'>) {
  return { ...world.config, listen: { ...world.config.listen, tls: { cert, key } } }
}

test('the public listener speaks TLS and says so to browsers and upstreams', async () => {
  const tls = await start()

  const { answer } = await ask(tls, '/bff/session')
  await ask(tls, '/api/x')

  expect(tls.world.gateway.address).toBe(tls.world.url.replace('localhost', '127.0.0.1'))
  expect([answer.statusCode, answer.headers['strict-transport-security']]).toEqual([200, 'max-age=31536000'])
  expect(tls.world.upstream.last.headers['x-forwarded-proto']).toBe('https')
})

test('a new certificate greets new connections, and those that there are go on with the old one', async () => {
  const tls = await start()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  const before = await ask(tls, '/api/1', agent)
  const serial = await shown(tls)

  await tls.world.gateway.service.update(withCertificate(tls, await tls.authority.issue('localhost')))
  const after = await ask(tls, '/api/2', agent)

  expect(await shown(tls)).not.toBe(serial)
  expect(after.answer.statusCode).toBe(200)
  expect(after.socket.localPort).toBe(before.socket.localPort)
})

test.each(['a key of another certificate', 'no certificate at all'])(
  '%s changes nothing, and is told',
  async (what) => {
    const tls = await start()
    const { cert } = await tls.authority.issue('localhost')
    const { key } = await tls.authority.issue('localhost')
    const serial = await shown(tls)

    const bad = what.startsWith('a key') ? { cert, key } : { cert: 'nothing of the kind', key }
    await tls.world.gateway.service.update({ ...withCertificate(tls, bad), routes: [] })

    expect(await shown(tls)).toBe(serial)
    expect((await ask(tls, '/api/x')).answer.statusCode).toBe(200)
    expect(tls.world.log.lines().map(({ msg }) => msg)).toContain(
      'the changed configuration cannot be used; the old one stays in force',
    )
    expect(tls.world.log.text).not.toContain('PRIVATE KEY')
    // Nothing of it was taken over: the old configuration is no change.
    await tls.world.gateway.service.update(tls.world.config)
    expect(tls.world.log.text).not.toContain('is in force')
  },
)

test('a client that speaks no TLS gets no answer, and harms nobody', async () => {
  const tls = await start()

  const outcome = await fetch(`http://127.0.0.1:${tls.port}/api/x`).catch((error: unknown) => error)

  expect(outcome).toBeInstanceOf(TypeError)
  expect((await ask(tls, '/api/x')).answer.statusCode).toBe(200)
})

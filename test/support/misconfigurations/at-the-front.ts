/** What is out of order between browsers and the gateway, and in the configuration by itself. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, get } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import type { Server as TcpServer, Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { stringify } from 'yaml'
import { loadClientModule } from '../../../src/commands/client-module.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { Service } from '../../../src/service.ts'
import { createLogger } from '../../../src/telemetry/logger.ts'
import { createAuthority } from '../certificate-authority.ts'
import { startRedis } from '../redis.ts'
import { listening, merged } from './ward.ts'
import type { Misconfiguration, Tree, Ward } from './ward.ts'

const FRONT = { about: 'publicUrl', status: 'failure' } as const
const CONFIGURATION = { about: 'configuration', status: 'failure' } as const
const ANSWERS = /^the gateway answers at http:\S+, and its cookies arrive as it sets them$/

/** A gateway with this configuration on a free port; resolves that port. */
async function gateway(config: Tree): Promise<number> {
  const own = merged(config, { listen: { host: '127.0.0.1', port: 0 }, management: { host: '127.0.0.1', port: 0 } })
  const loaded = parseConfig(stringify(merged(own, { log: { level: 'silent' } })), 'sidegate.yaml', { env: {} })
  const service = await Service.create({
    config: merged(loaded.config, { shutdown: { delay: 0, grace: 0 } }) as typeof loaded.config,
    log: createLogger(loaded.config.log),
    clientModule: await loadClientModule(),
  })
  onTestFinished(() => service.stop())
  return Number(new URL((await service.listen()).public).port)
}

/** What stands in front at `publicUrl`: connections go to each of the ports in turn. */
async function inFront(ward: Ward, ports: () => readonly number[]): Promise<TcpServer> {
  const sockets = new Set<Socket>()
  let turn = 0
  const server = createTcpServer((client) => {
    turn += 1
    const behind = ports()
    const inner = connect(behind[turn % behind.length] ?? 0, '127.0.0.1')
    for (const socket of [client, inner]) sockets.add(socket.on('error', () => socket.destroy()))
    client.pipe(inner).pipe(client)
  }).listen(Number(new URL(ward.publicUrl).port), 'localhost')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return server
}

export const atTheFront: readonly Misconfiguration[] = [
  {
    ...FRONT,
    title: 'two replicas with sessions in memory',
    finding: /^several instances answer at publicUrl, and each has sessions of its own in memory/,
    remedy: /^write store\.redis and session\.keysFile, the same for all instances/,
    fine: ANSWERS,
    state: async (ward) => {
      const config = ward.configuration()
      let ports = [await gateway(config), await gateway(config)]
      await inFront(ward, () => ports)
      return {
        config,
        follow: async () => {
          const redis = await startRedis()
          onTestFinished(() => redis.stop())
          const mended = merged(config, { session: { keys: ['A'.repeat(43)] }, store: { redis: { url: redis.url } } })
          ports = [await gateway(mended), await gateway(mended)]
          return mended
        },
      }
    },
  },
  {
    ...FRONT,
    title: 'two replicas with different session keys',
    finding: /has other session keys than this configuration/,
    remedy: /^give all instances the same session\.keysFile/,
    fine: ANSWERS,
    state: async (ward) => {
      const redis = await startRedis()
      onTestFinished(() => redis.stop())
      const config = merged(ward.configuration(), {
        session: { keys: ['A'.repeat(43)] },
        store: { redis: { url: redis.url } },
      })
      const one = await gateway(config)
      let ports = [one, await gateway(merged(config, { session: { keys: [`${'B'.repeat(42)}A`] } }))]
      await inFront(ward, () => ports)
      return {
        config,
        follow: async () => {
          ports = [one, await gateway(config)]
          return config
        },
      }
    },
  },
  {
    ...FRONT,
    title: 'a proxy in front that does not pass the endpoints on',
    finding: /\/bff\/session answers 404, and not as this gateway does/,
    remedy: /^let the proxy in front pass \/bff\/ and the routes to the gateway/,
    fine: ANSWERS,
    state: async (ward) => {
      const config = ward.configuration()
      const other = await listening(createServer((_request, response) => response.writeHead(404).end()))
      // A TCP server that listens on a port has an AddressInfo.
      let port = (other.address() as { port: number }).port
      await inFront(ward, () => [port])
      return {
        config,
        follow: async () => {
          port = await gateway(config)
          return config
        },
      }
    },
  },
  {
    ...FRONT,
    title: 'a proxy in front that rewrites cookies',
    finding: /^the cookies of the gateway do not arrive as it sets them$/,
    remedy: /^take what rewrites cookies out of the proxy in front/,
    fine: ANSWERS,
    state: async (ward) => {
      const config = ward.configuration()
      const behind = await gateway(config)
      let path = '/'
      const proxy = createServer((request, response) => {
        const passed = { port: behind, path: request.url, headers: request.headers }
        get(passed, (answer) => {
          const cookies = answer.headers['set-cookie']?.map((line) => line.replace(/Path=[^;]+/, `Path=${path}`))
          response.writeHead(answer.statusCode ?? 500, { ...answer.headers, ...(cookies && { 'set-cookie': cookies }) })
          answer.pipe(response)
        })
      }).listen(Number(new URL(ward.publicUrl).port), 'localhost')
      await once(proxy, 'listening')
      onTestFinished(() => {
        proxy.close()
        proxy.closeAllConnections()
      })
      return {
        config,
        follow: () => {
          path = '/bff/callback'
          return config
        },
      }
    },
  },
  {
    ...FRONT,
    title: 'a gateway that runs with another publicUrl',
    finding: /sends browsers back to http:\/\/localhost:1\/bff\/callback: it runs with another publicUrl/,
    remedy: /^start it with this configuration$/,
    fine: ANSWERS,
    state: async (ward) => {
      const config = ward.configuration()
      // Pushed, the address would be out of sight.
      const plain = { provider: { pushedAuthorization: 'never' } }
      let port = await gateway(merged(merged(config, plain), { publicUrl: 'http://localhost:1' }))
      await inFront(ward, () => [port])
      return {
        config,
        follow: async () => {
          port = await gateway(config)
          return config
        },
      }
    },
  },
  {
    ...FRONT,
    title: 'https at an address where nobody ends TLS',
    finding: /the server there does not speak TLS, so no browser can open it$/,
    remedy: /^let a proxy in front end TLS there, or write (listen): \{ (tls): \{ (certFile), (keyFile) \} \}$/,
    state: async (ward) => {
      const authority = await createAuthority()
      onTestFinished(() => authority[Symbol.asyncDispose]())
      const publicUrl = ward.publicUrl.replace('http:', 'https:')
      const config = ward.configuration({ publicUrl, trustedProxies: ['127.0.0.1'] })
      const plain = createServer((_request, response) => response.end()).listen(
        Number(new URL(publicUrl).port),
        'localhost',
      )
      await once(plain, 'listening')
      onTestFinished(() => void plain.close())
      return {
        config,
        follow: async ([, listen = '', tls = '', certFile = '', keyFile = '']) => {
          const issued = await authority.issue('localhost')
          const pair = { [certFile]: issued.certFile, [keyFile]: issued.keyFile }
          plain.closeAllConnections()
          await new Promise((resolve) => plain.close(resolve))
          return merged(config, { [listen]: { [tls]: pair }, publicUrl: ward.publicUrl.replace('http:', 'https:') })
        },
      }
    },
  },
  {
    ...CONFIGURATION,
    title: 'a listener with TLS at a publicUrl without',
    finding: /^the gateway speaks TLS \(listen\.tls\), but publicUrl begins with http:/,
    remedy: /^write publicUrl: (https:\S+)$/,
    state: async (ward) => {
      const authority = await createAuthority()
      onTestFinished(() => authority[Symbol.asyncDispose]())
      const { certFile, keyFile } = await authority.issue('localhost')
      const config = ward.configuration({ listen: { tls: { certFile, keyFile } } })
      return { config, follow: ([, publicUrl]) => merged(config, { publicUrl }) }
    },
  },
  {
    ...CONFIGURATION,
    title: 'a certificate of the listener for another name',
    finding: /^the certificate of the listener is for app\.example\.com, and publicUrl names localhost$/,
    remedy: /^get a certificate for (\S+), or/,
    state: async (ward) => {
      const authority = await createAuthority()
      onTestFinished(() => authority[Symbol.asyncDispose]())
      const withCertificate = async (name: string) => {
        const { certFile, keyFile } = await authority.issue(name)
        return ward.configuration({
          publicUrl: ward.publicUrl.replace('http:', 'https:'),
          listen: { tls: { certFile, keyFile } },
        })
      }
      return {
        config: await withCertificate('app.example.com'),
        follow: ([, name = '']) => withCertificate(name),
      }
    },
  },
  {
    ...CONFIGURATION,
    title: 'a gateway that listens on another port than browsers go to',
    status: 'warning',
    finding: /^publicUrl names port \d+, but the gateway listens on 8099$/,
    remedy: /^write (listen): \{ (port): (\d+) \}/,
    state: (ward) => ({
      config: ward.configuration({ listen: { port: 8099 } }),
      follow: ([, listen = '', port = '', number]) => ward.configuration({ [listen]: { [port]: Number(number) } }),
    }),
  },
  {
    ...CONFIGURATION,
    title: 'https that a proxy in front ends, which is not trusted',
    status: 'warning',
    finding: /a proxy in front ends TLS, but none is trusted/,
    remedy: /^write (trustedProxies) with the address or network of the proxy$/,
    state: (ward) => {
      const config = ward.configuration({ publicUrl: ward.publicUrl.replace('http:', 'https:') })
      return { config, follow: ([, key = '']) => merged(config, { [key]: ['10.0.0.0/8'] }) }
    },
  },
  {
    ...CONFIGURATION,
    title: 'a session cookie without Secure',
    status: 'warning',
    finding: /^the session cookie sidegate is without Secure and its prefix$/,
    remedy: /^write session: \{ cookie: \{ insecure: (false) \} \}/,
    fine: /^session cookie __Host-Http-sidegate; SameSite=strict$/,
    state: (ward) => ({
      config: ward.configuration({ session: { cookie: { insecure: true } } }),
      follow: () => ward.configuration({ session: { cookie: { insecure: false } } }),
    }),
  },
  {
    ...CONFIGURATION,
    title: 'a file with a secret that everybody can read',
    status: 'warning',
    finding: /^provider\.clientSecretFile: the file can be read by everybody on this machine; chmod o-r$/,
    remedy: /^\S+sidegate\.yaml:\d+$/,
    state: (ward) => {
      const directory = mkdtempSync(join(tmpdir(), 'sidegate-ward-'))
      onTestFinished(() => rmSync(directory, { recursive: true }))
      const file = join(directory, 'secret')
      writeFileSync(file, 'shop-secret-with-at-least-32-characters\n')
      chmodSync(file, 0o644)
      const config = ward.configuration({ provider: { clientSecret: undefined, clientSecretFile: file } })
      return {
        config,
        follow: () => {
          execFileSync('chmod', ['o-r', file])
          return config
        },
      }
    },
  },
]

/** What is out of order behind the routes. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import { createAuthority } from '../certificate-authority.ts'
import type { Authority } from '../certificate-authority.ts'
import { freePort } from '../free-port.ts'
import { listening, portOf, written } from './ward.ts'
import type { Misconfiguration, Tree, Ward } from './ward.ts'

const ROUTE = { about: 'route /api', status: 'failure' } as const

function withRoute(ward: Ward, route: Tree): Tree {
  return ward.configuration({ routes: [{ path: '/api', ...route }] })
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-ward-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return directory
}

async function secured(name: string): Promise<{ authority: Authority; url: string }> {
  const authority = await createAuthority()
  onTestFinished(() => authority[Symbol.asyncDispose]())
  const { cert, key } = await authority.issue(name)
  const server = await listening(createTlsServer({ cert, key }, (_request, response) => response.end()))
  return { authority, url: `https://127.0.0.1:${portOf(server)}` }
}

export const atTheUpstream: readonly Misconfiguration[] = [
  {
    ...ROUTE,
    title: 'an upstream that is not running',
    finding: /refuses connections/,
    remedy: /^start the server/,
    fine: /can be reached/,
    state: async (ward) => {
      const port = await freePort()
      const config = withRoute(ward, { upstream: `http://127.0.0.1:${port}` })
      return {
        config,
        follow: async () => {
          await listening(
            createServer((_request, response) => response.end()),
            port,
          )
          return config
        },
      }
    },
  },
  {
    ...ROUTE,
    title: 'https to an upstream that speaks http',
    finding: /TLS does not come about/,
    remedy: /then the address begins with (http:\/\/)/,
    fine: /can be reached/,
    state: (ward) => ({
      config: withRoute(ward, { upstream: ward.apiUrl.replace('http:', 'https:') }),
      follow: ([, scheme = '']) => withRoute(ward, { upstream: ward.apiUrl.replace('http://', scheme) }),
    }),
  },
  {
    ...ROUTE,
    title: 'http to an upstream that speaks TLS',
    finding: /speaks TLS, and the route speaks to it in clear$/,
    remedy: /^write (upstream: https:\S+)$/,
    state: async (ward) => {
      const { authority, url } = await secured('127.0.0.1')
      return {
        config: withRoute(ward, { upstream: url.replace('https:', 'http:') }),
        follow: ([, yaml]) => withRoute(ward, { ...written(yaml), tls: { caFile: authority.caFile } }),
      }
    },
  },
  {
    ...ROUTE,
    title: 'an upstream that sends everybody from http to https',
    finding: /answers http with a redirect to https/,
    remedy: /^write (upstream: https:[^,]+), or/,
    state: async (ward) => {
      const { authority, url } = await secured('127.0.0.1')
      const redirecting = await listening(
        createServer((request, response) => {
          response.writeHead(308, { location: `${url}${request.url}` }).end()
        }),
      )
      return {
        config: withRoute(ward, { upstream: `http://127.0.0.1:${portOf(redirecting)}` }),
        follow: ([, yaml]) => withRoute(ward, { ...written(yaml), tls: { caFile: authority.caFile } }),
      }
    },
  },
  {
    ...ROUTE,
    title: 'a certificate of an authority that is not trusted',
    finding: /the certificate is not signed by an authority that is trusted here/,
    remedy: /^put the certificate of its authority into (tls)\.(caFile) of the route/,
    state: async (ward) => {
      const { authority, url } = await secured('127.0.0.1')
      return {
        config: withRoute(ward, { upstream: url }),
        follow: ([, section = '', key = '']) =>
          withRoute(ward, { upstream: url, [section]: { [key]: authority.caFile } }),
      }
    },
  },
  {
    ...ROUTE,
    title: 'a certificate for another name',
    finding: /the certificate is for another name/,
    remedy: /or write the one that is in it into (tls)\.(serverName) of the route$/,
    state: async (ward) => {
      const { authority, url } = await secured('orders.internal')
      const tls = { caFile: authority.caFile }
      return {
        config: withRoute(ward, { upstream: url, tls }),
        follow: ([, section = '', key = '']) =>
          withRoute(ward, { upstream: url, [section]: { ...tls, [key]: 'orders.internal' } }),
      }
    },
  },
  {
    ...ROUTE,
    title: 'a unix socket that is not there',
    finding: /cannot be opened \(ENOENT\)$/,
    remedy: /^start the server that makes it/,
    fine: /can be reached/,
    state: (ward) => {
      const path = join(temporaryDirectory(), 'app.sock')
      const config = withRoute(ward, { upstream: `unix:${path}` })
      return {
        config,
        follow: async () => {
          const server = createServer((_request, response) => response.end()).listen(path)
          await once(server, 'listening')
          onTestFinished(() => void server.close())
          return config
        },
      }
    },
  },
  {
    title: 'the gateway as its own upstream',
    about: 'configuration',
    status: 'failure',
    finding: /requests go round in a circle/,
    remedy: /^write the address of the application behind the gateway$/,
    state: (ward) => ({
      config: withRoute(ward, { upstream: ward.publicUrl }),
      follow: () => withRoute(ward, { upstream: ward.apiUrl }),
    }),
  },
  {
    title: 'an app that has not been built',
    about: 'configuration',
    status: 'failure',
    finding: /there is no index\.html in /,
    remedy: /^build the app/,
    fine: /^route \/ has its index\.html$/,
    state: (ward) => {
      const directory = temporaryDirectory()
      const config = ward.configuration({ routes: [{ path: '/', spa: { directory }, session: 'none' }] })
      return {
        config,
        follow: () => {
          writeFileSync(join(directory, 'index.html'), '<p>app</p>')
          return config
        },
      }
    },
  },
]

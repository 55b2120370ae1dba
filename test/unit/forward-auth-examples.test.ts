/** The examples of deploy/forward-auth agree with each other; nginx's and Caddy's are run elsewhere. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { loadMounted } from '../support/mounted-config.ts'

const read = (file: string) => readFileSync(new URL(`../../deploy/forward-auth/${file}`, import.meta.url), 'utf8')

interface Traefik {
  readonly http: {
    readonly routers: Record<string, { rule: string; middlewares?: string[]; service: string }>
    readonly middlewares: {
      readonly sidegate: {
        readonly forwardAuth: { address: string; trustForwardHeader: boolean; authResponseHeaders: string[] }
      }
      readonly 'without-cookies': { readonly headers: { readonly customRequestHeaders: Record<string, string> } }
    }
    readonly services: Record<string, { loadBalancer: { servers: { url: string }[] } }>
  }
}

interface Gateway {
  readonly listen: { readonly port: number }
  readonly forwardAuth: { readonly port: number }
  readonly routes: readonly { upstream: string; identityHeaders?: Record<string, string> }[]
}

// Our own file, whose correctness is the first test.
const { listen, forwardAuth, routes } = parse(read('sidegate.yaml')) as Gateway
const identity = [...new Set(routes.flatMap((route) => Object.keys(route.identityHeaders ?? {})))]

test('the configuration of Sidegate is without a mistake', () => {
  const { config, warnings } = loadMounted(read('sidegate.yaml'))

  expect(warnings).toEqual([])
  expect(config.trustedProxies).toEqual(['127.0.0.1'])
})

test('each example knows where Sidegate and the application listen', () => {
  const places = [
    `127.0.0.1:${listen.port}`,
    `127.0.0.1:${forwardAuth.port}`,
    routes[0]?.upstream.slice('http://'.length),
  ]

  for (const file of ['nginx.conf', 'Caddyfile', 'traefik.yaml']) {
    for (const place of places) expect(read(file)).toContain(place)
  }
})

test('each example takes over every header that Sidegate says of a user', () => {
  expect(identity).not.toEqual([])
  for (const name of ['Authorization', ...identity]) {
    const variable = name.toLowerCase().replaceAll('-', '_')
    expect(read('nginx.conf')).toContain(`$upstream_http_${variable}`)
    expect(read('nginx.conf')).toContain(`proxy_set_header ${name} `)
    expect(read('Caddyfile')).toContain(`request_header -${name}`)
    expect(read('Caddyfile')).toContain(`{http.reverse_proxy.header.${name}}`)
  }
})

test('Traefik asks for each request, believes no client and lets no session cookie through', () => {
  // Our own file; what is read of it is asserted here.
  const { routers, middlewares, services } = (parse(read('traefik.yaml')) as Traefik).http

  expect(middlewares.sidegate.forwardAuth).toEqual({
    address: `http://127.0.0.1:${forwardAuth.port}/`,
    trustForwardHeader: false,
    authResponseHeaders: ['Authorization', ...identity],
  })
  expect(middlewares['without-cookies'].headers.customRequestHeaders).toEqual({ Cookie: '' })
  expect(routers['app']?.middlewares).toEqual(['sidegate', 'without-cookies'])
  expect(routers['sidegate']?.rule).toContain(`PathPrefix(\`/bff/\`)`)
  expect(routers['sidegate']?.middlewares).toBeUndefined()
  expect(Object.keys(services)).toEqual([routers['sidegate']?.service, routers['app']?.service])
})

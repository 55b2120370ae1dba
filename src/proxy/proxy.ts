/**
 * The routes that lead to upstreams, on @fastify/http-proxy.
 *
 * The plugin registers the routes, and maps and checks every path that can be read in more than one way; what sends a
 * request is `exchange.ts` alone. Its other half, @fastify/reply-from, sends cookies and `Authorization` upstream as
 * they came, verifies no certificate, repeats a GET answered by 503 ten times, keeps asking for clients that have left
 * and answers its own error texts.
 */
import http from 'node:http'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { BffError } from '../errors.ts'
import { type Call, FrameworkCall } from '../http/call.ts'
import type { Judged } from '../http/judge.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { Delivery, type DeliveryOptions } from './delivery.ts'
import type { RequestOwner } from './open-streams.ts'
import { ProxiedRoute, type ProxiedRouteOptions } from './proxied-route.ts'
import type { Route, RouteTable } from './route-table.ts'
import { checkHandshake, checkOtherUpgrade, isHandshake } from './websocket.ts'

export interface ProxyOptions extends ProxiedRouteOptions, DeliveryOptions {
  readonly metrics?: Pick<Metrics, 'upstreamDuration' | 'countRequest'> | undefined
}

/** Never proxied: one asks intermediaries to show what they got, the other to become a tunnel (PX-03). */
const NEVER = new Set(['TRACE', 'CONNECT'])
/** All that Node's parser knows; what a route takes is judged before. */
const METHODS = http.METHODS.filter((method) => !NEVER.has(method))

/** Every route that has an upstream. */
export function proxiedRoutes({ routes }: RouteTable, options: ProxiedRouteOptions): ReadonlyMap<Route, ProxiedRoute> {
  const proxied = new Map<Route, ProxiedRoute>()
  for (const route of routes) {
    if (route.upstream !== undefined) proxied.set(route, new ProxiedRoute(route, route.upstream, options))
  }
  return proxied
}

/** Registers them, for what comes by the framework. */
export async function registerProxy(
  app: FastifyInstance,
  proxied: ReadonlyMap<Route, ProxiedRoute>,
  options: ProxyOptions,
): Promise<void> {
  const known = new Set(app.supportedMethods)
  for (const method of METHODS) if (!known.has(method)) app.addHttpMethod(method, { hasBody: true })

  for (const one of proxied.values()) await app.register(async (scope) => registerRoute(scope, one, options))
  app.addHook('onClose', () => options.upstreams.close())
}

async function registerRoute(scope: FastifyInstance, proxied: ProxiedRoute, options: ProxyOptions): Promise<void> {
  const { route, upstream } = proxied
  // Bodies are the upstream's business: nothing is parsed, no type is refused, no charset is changed. Fastify judges
  // a Content-Type before its parsers do (and misses one with QUERY), so it is shown another; what is sent on comes
  // from the raw fields.
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  scope.addHook('preParsing', (request, _reply, payload, done) => {
    const { headers, method } = request.raw
    if (headers['content-type'] !== undefined || method === 'QUERY')
      headers['content-type'] = 'application/octet-stream'
    done(null, payload)
  })

  // The plugin maps a path by three URLs. It is asked unless the router saw what the judge saw, with one reading.
  scope.addHook('onRoute', (registered) => {
    const byPlugin = registered.handler
    registered.handler = function (request, reply) {
      const { path, query, readings } = judgedOf(request, proxied.route).path
      if (readings.length > 0 || request.raw.url !== path + query) return byPlugin.call(this, request, reply)
      return deliver(new FrameworkCall(request, reply), judgedOf(request, proxied.route), proxied, options)
    }
  })

  const isRoot = route.path === ''
  await scope.register(httpProxy, {
    // A colon stands for itself; to find-my-way a single one begins a parameter.
    prefix: isRoot ? '/' : route.path.replaceAll(':', '::'),
    upstream: upstream.address.origin,
    rewritePrefix: isRoot ? `${route.upstreamPrefix}/` : route.upstreamPrefix || '/',
    // All methods: `methods` of a route was judged, and a method unknown here would be a 404 instead of a 405.
    httpMethods: METHODS,
    // The query goes up as it came; shown to the plugin it would be parsed and written anew for nothing.
    preRewrite: (url) => url.split('?', 1)[0] ?? '/',
    handler: (request, reply, destination) => {
      // Fastify's router matched a decoded path, the plugin mapped it again: three opinions, or no request.
      if (destination !== proxied.route.target(judgedOf(request, proxied.route).path.path)) {
        throw new BffError('invalid_request', 'the path has more than one reading')
      }
      deliver(new FrameworkCall(request, reply), judgedOf(request, proxied.route), proxied, options)
    },
    // The upgrade path is our own (websocket.ts says why).
    websocket: false,
    // Should anything ever call `reply.from`: over our connections, which verify certificates, and once.
    undici: upstream.dispatcher,
    destroyAgent: false,
    retryMethods: [],
    disableRequestLogging: true,
    internalRewriteLocationHeader: false,
  })
}

/** Sends a request that has passed to its upstream, and the answer back; a failure is answered, too. */
export function deliver(call: Call, judged: Judged, proxied: ProxiedRoute, options: ProxyOptions): void {
  try {
    const target = proxied.route.target(judged.path.path) + judged.path.query
    if (isHandshake(call.raw)) checkHandshake(call.raw, proxied)
    else checkOtherUpgrade(call.raw)
    new Delivery(call, { proxied, judged, target, owner: ownerOf(judged) }, options).begin()
  } catch (error) {
    call.fail(error)
  }
}

/** What was judged for this request; fails when Fastify's router chose another route than the judge. */
export function judgedOf(request: FastifyRequest, route: Route): Judged {
  const { judged } = request
  if (!judged || judged.verdict !== 'pass' || judged.place !== route) {
    throw new BffError('invalid_request', 'the path has more than one reading')
  }
  return judged
}

/** The session that a request used, or the token that an app sent, if one was. */
export function ownerOf(judged: Judged): RequestOwner | null {
  const { session, sessionCookie, bearer } = judged
  if (bearer) return bearer
  return session && sessionCookie !== undefined ? { session, sessionCookie } : null
}

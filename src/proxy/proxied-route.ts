/** A route that leads to an upstream, with all that is made once for it. */
import type { Config, RouteConfig } from '../config/schema.ts'
import type { CookieJar } from '../http/cookies.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { TurnBatch } from '../telemetry/turn-batch.ts'
import type { OpenStreams } from './open-streams.ts'
import { RequestHeaders } from './request-headers.ts'
import { ResponseHeaders } from './response-headers.ts'
import type { Route } from './route-table.ts'
import type { Upstream, Upstreams } from './upstream.ts'

export interface ProxiedRouteOptions {
  readonly config: Config
  readonly cookies: Pick<CookieJar, 'stripOwnCookies' | 'upstreamSetCookieAllowed'>
  readonly upstreams: Upstreams
  readonly streams: OpenStreams
  readonly metrics?: Pick<Metrics, 'upstreamDuration'> | undefined
}

export class ProxiedRoute {
  readonly route: Route
  readonly config: RouteConfig
  readonly upstream: Upstream
  readonly requestHeaders: RequestHeaders
  readonly responseHeaders: ResponseHeaders
  readonly streams: OpenStreams
  readonly #durations: TurnBatch<number> | undefined

  /** @param url where the route's requests go */
  constructor(route: Route, url: string, options: ProxiedRouteOptions) {
    const { config, cookies } = options
    this.route = route
    this.config = route.config
    this.upstream = options.upstreams.for(url, route.config)
    this.streams = options.streams
    this.requestHeaders = new RequestHeaders(route, {
      config,
      stripOwnCookies: (header) => cookies.stripOwnCookies(header),
    })
    this.responseHeaders = new ResponseHeaders(route, {
      upstreamSetCookieAllowed: (setCookie) => cookies.upstreamSetCookieAllowed(setCookie),
      upstreamOrigin: this.upstream.address.origin,
      basePath: config.basePath,
    })
    const histogram = options.metrics?.upstreamDuration.labels(route.policy.name)
    this.#durations =
      histogram &&
      new TurnBatch((durations) => {
        for (const ms of durations) histogram.observe(ms / 1_000)
      })
  }

  /** Counts the time from sending a request to the head of its answer, in milliseconds. */
  observe(durationMs: number): void {
    this.#durations?.add(durationMs)
  }
}

/** Which configured route a request belongs to, and which path its upstream gets. */
import type { Config, RouteConfig } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import type { Policy } from '../http/policy.ts'
import type { RequestPath } from '../http/request-path.ts'

/** What a route without `upstream` can be asked for. */
const STATIC_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD'])
const UPPER_CASE = /[A-Z]/

/** One configured route. `path` has no slash at its end, so that `/api/` and `/api` are the same boundary. */
export class Route {
  /** `''` for the root, else as configured without the last slash. */
  readonly path: string
  readonly config: RouteConfig
  readonly policy: Policy
  /** Where the requests go: `upstream` or the SPA's dev server; `undefined` for files and a remote index. */
  readonly upstream: string | undefined
  /** The path under which the upstream has what is here under `path`; no slash at its end. */
  readonly upstreamPrefix: string
  readonly #boundary: string
  readonly #foldedBoundary: string
  readonly #origin: string | undefined

  constructor(config: RouteConfig) {
    this.path = withoutLastSlash(config.path)
    this.config = config
    this.upstream = config.upstream ?? config.spa?.devServer
    this.policy = policyOf(config, this.upstream !== undefined)
    this.upstreamPrefix = withoutLastSlash(basePathOf(this.upstream)) + withoutLastSlash(config.rewrite ?? config.path)
    this.#boundary = `${this.path}/`
    this.#foldedBoundary = this.#boundary.toLowerCase()
    this.#origin = originOf(this.upstream)
  }

  /** Whether a raw path is this route's path or lies below it; `/api` never takes `/apix`. */
  covers(path: string): boolean {
    return path.startsWith(this.#boundary) || path === this.path
  }

  /** The same for a path in lower case, and whatever the case of this route's. */
  coversFolded(path: string): boolean {
    return path.startsWith(this.#foldedBoundary) || path === this.#foldedBoundary.slice(0, -1)
  }

  /** Whether both lead to one server. */
  sharesUpstreamWith(other: Route): boolean {
    return this.#origin !== undefined && this.#origin === other.#origin
  }

  /**
   * Refuses a path, in any reading, whose rest begins with a second slash where the upstream gets nothing in front of
   * it: what follows would be an authority to a URL parser there.
   *
   * @throws BffError `invalid_request`
   */
  judgeTarget(path: string): void {
    if (this.upstreamPrefix === '' && this.target(path).startsWith('//')) {
      throw new BffError('invalid_request', 'what the upstream would get begins with two slashes')
    }
  }

  /** The path that the upstream gets for a path of this route: the prefix exchanged, the rest byte for byte. */
  target(path: string): string {
    const target = this.upstreamPrefix + path.slice(this.path.length)
    return target === '' ? '/' : target
  }

  /** The public path of one of the upstream's paths, for a `Location`; `undefined` when it is not below the route. */
  publicPath(upstreamPath: string): string | undefined {
    if (upstreamPath !== this.upstreamPrefix && !upstreamPath.startsWith(`${this.upstreamPrefix}/`)) return undefined
    const path = this.path + upstreamPath.slice(this.upstreamPrefix.length)
    return path === '' ? '/' : path
  }
}

/** All routes, compiled once. The longest path wins. */
export class RouteTable {
  readonly routes: readonly Route[]
  readonly #basePath: string
  readonly #byPath: ReadonlyMap<string, Route>
  /** Routes that share their upstream with another one: where case may tell two of them apart, or not. */
  readonly #sharing: readonly Route[]
  readonly #hasUpperCase: boolean

  constructor(config: Pick<Config, 'basePath' | 'routes'>) {
    this.#basePath = withoutLastSlash(config.basePath)
    this.routes = config.routes.map((route) => new Route(route))
    this.#byPath = new Map(this.routes.map((route) => [route.path, route]))
    const byLength = this.routes.toSorted((a, b) => b.path.length - a.path.length)
    this.#sharing = byLength.filter((one) =>
      byLength.some((other) => other !== one && one.upstream !== undefined && other.sharesUpstreamWith(one)),
    )
    this.#hasUpperCase = this.#sharing.some((route) => UPPER_CASE.test(route.path))
  }

  /** Whether a raw path belongs to our own endpoints. */
  ownsPath(path: string): boolean {
    return path === this.#basePath || path.startsWith(`${this.#basePath}/`)
  }

  /**
   * The route for a path; `undefined` where there is none or the path is one of our own.
   *
   * A path that another server may read as another route's (or as one of ours) is refused: an upstream that decodes
   * `/api/public%2F..` differently would otherwise answer for a route whose rules were never asked.
   *
   * @throws BffError `invalid_request`
   */
  match(request: RequestPath): Route | undefined {
    const route = this.#find(request.path)
    if (route && this.#sharing.length > 0) this.#judgeCase(request.path, route)
    if (request.readings.length > 0) {
      route?.judgeTarget(request.path)
      for (const reading of request.readings) {
        if (this.#find(reading) !== route || this.ownsPath(reading) !== this.ownsPath(request.path)) {
          throw new BffError('invalid_request', 'the path can be read as that of another route')
        }
        route?.judgeTarget(reading)
        if (route && this.#sharing.length > 0) this.#judgeCase(reading, route)
      }
    }
    return route
  }

  /**
   * Many frameworks (Express, ASP.NET) take `/api/Admin` for `/api/admin`: where both routes lead to one upstream, and
   * to what such a server takes for the same place, the other's rules must not be gone round by an upper-case letter.
   */
  #judgeCase(path: string, route: Route): void {
    if (!this.#hasUpperCase && !UPPER_CASE.test(path)) return
    const folded = path.toLowerCase()
    const other = this.#sharing.find((one) => one.coversFolded(folded))
    if (!other || other === route || !other.sharesUpstreamWith(route)) return
    if (other.target(path).toLowerCase() === route.target(path).toLowerCase()) {
      throw new BffError('invalid_request', 'the path is another route’s but for upper and lower case')
    }
  }

  #find(path: string): Route | undefined {
    if (this.ownsPath(path)) return undefined
    // The path itself, then what is left of it before each slash: as many look-ups as it has segments, not routes.
    for (let end = path.length; end >= 0; end = path.lastIndexOf('/', end - 1)) {
      const route = this.#byPath.get(path.slice(0, end))
      if (route) return route
      if (end === 0) break
    }
    return undefined
  }
}

function withoutLastSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}

/** What says whether two upstreams are one server. */
function originOf(upstream: string | undefined): string | undefined {
  return upstream === undefined || upstream.startsWith('unix:') ? upstream : new URL(upstream).origin
}

/** The path of the upstream's URL, under which everything of it lies; a unix socket has none. */
function basePathOf(upstream: string | undefined): string {
  return upstream === undefined || upstream.startsWith('unix:') ? '' : new URL(upstream).pathname
}

function policyOf(config: RouteConfig, hasUpstream: boolean): Policy {
  const token = config.token ?? (config.session === 'none' ? 'none' : 'user')
  return {
    name: withoutLastSlash(config.path) || '/',
    kind: 'route',
    methods: config.methods ? new Set(config.methods) : hasUpstream ? undefined : STATIC_METHODS,
    session: config.session,
    loginProvider: loginProviderOf(config),
    bearer: config.bearer,
    csrf: 'rule',
    navigable: config.navigable,
    needsToken: hasUpstream && token !== 'none',
    slides: config.slides,
    isEventStream: false,
    rateLimit: 'api',
    bodyLimit: config.bodyLimit,
    allow: config.allow && new Map(Object.entries(config.allow).map(([claim, rule]) => [claim, listOf(rule)])),
    acr: config.acr === undefined ? undefined : listOf(config.acr),
    maxAgeMs: config.maxAge,
  }
}

/** A name, as the configuration's rules say. */
export function loginProviderOf({ login }: Pick<RouteConfig, 'login'>): string | undefined {
  const provider = login?.['provider']
  return typeof provider === 'string' ? provider : undefined
}

function listOf(rule: string | string[]): readonly string[] {
  return typeof rule === 'string' ? [rule] : rule
}

/** Routes that lead to one place of an upstream by two ways, of which one asks for less than the other. */
import type { ConfigPath } from './problem.ts'
import type { RouteConfig } from './route-shape.ts'

interface Way {
  readonly route: RouteConfig
  /** The public path, without a slash at its end. */
  readonly path: string
  /** Whose server it is, and below which path of it everything lies. */
  readonly origin: string
  readonly sent: string
}

/**
 * With `/` unchanged and `/api` sent on as `/v1` to the same server, `/v1/x` goes through `/` and meets the rules of
 * `/` only. Nothing is wrong with that where they ask for as much; else it is said at start.
 */
export function routeOverlaps(
  routes: readonly RouteConfig[],
): { readonly path: ConfigPath; readonly message: string }[] {
  const ways = routes.map(wayOf)
  return ways.flatMap((way, index) => {
    const other = ways.find((one) => one && way && goesRound(way, one, ways))
    if (!way || !other) return []
    const at = publicPathTo(way, other)
    return [
      {
        path: ['routes', index, 'path'],
        message:
          `${at || '/'} leads to what the upstream has for the route ${other.route.path}, without that route's rules: ` +
          `write a route ${at || '/'} with those rules, or a rewrite of ${way.route.path} that keeps the two apart`,
      },
    ]
  })
}

/** Whether the place of `other` is reached through `way`, which asks for less. */
function goesRound(way: Way, other: Way, ways: readonly (Way | undefined)[]): boolean {
  if (way === other || way.origin !== other.origin || !isWithin(other.sent, way.sent)) return false
  const at = publicPathTo(way, other)
  const covering = ways.filter((one) => one !== undefined && isWithin(at, one.path))
  const winner = covering.toSorted((a, b) => (b?.path.length ?? 0) - (a?.path.length ?? 0))[0]
  return winner === way && asksForLess(way.route, other.route)
}

function publicPathTo(way: Way, other: Way): string {
  return way.path + other.sent.slice(way.sent.length)
}

function asksForLess(one: RouteConfig, other: RouteConfig): boolean {
  const needsSession = ({ session }: RouteConfig): boolean => session === 'required' || session === 'login'
  const rules = ({ allow, acr, maxAge, methods }: RouteConfig) => [allow, acr, maxAge, methods]
  const [own, wanted] = [rules(one), rules(other)]
  return (
    (needsSession(other) && !needsSession(one)) ||
    wanted.some((rule, index) => rule !== undefined && JSON.stringify(rule) !== JSON.stringify(own[index]))
  )
}

function wayOf(route: RouteConfig): Way | undefined {
  const url = route.upstream === undefined ? null : URL.parse(route.upstream)
  if (!url) return undefined
  // A unix socket has no origin: its address is the server's.
  const isSocket = url.origin === 'null'
  const base = isSocket ? '' : url.pathname
  return {
    route,
    path: withoutLastSlash(route.path),
    origin: isSocket ? url.href : url.origin,
    sent: withoutLastSlash(base) + withoutLastSlash(route.rewrite ?? route.path),
  }
}

function isWithin(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`)
}

function withoutLastSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}

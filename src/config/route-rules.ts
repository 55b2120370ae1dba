/** What the keys of a route mean to each other, and the routes among themselves. */
import { isProtected } from './network.ts'
import { checkPair } from './rules.ts'
import { suggest } from './suggest.ts'
import { checkParameters, providerEntries } from './provider-rules.ts'
import type { ConfigPath, Report } from './problem.ts'
import type { RouteConfig } from './route-shape.ts'
import type { ConfigValues } from './shape.ts'

/** Header fields that frame a message or belong to a connection: whoever sets them can smuggle requests. */
const FRAMING = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
/** Header fields that the gateway writes itself. */
const OWN = new Set([
  'authorization',
  'cookie',
  'dpop',
  'forwarded',
  'traceparent',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-request-id',
])

/** All routes, each by itself and among each other. */
export function checkRoutes(config: ConfigValues, report: Report): void {
  const seen = new Set<string>()
  for (const [index, route] of config.routes.entries()) {
    const path: ConfigPath = ['routes', index]
    // `/api` and `/api/` are one route.
    const plain = route.path.replace(/(?<=.)\/$/, '')
    if (seen.has(plain)) {
      report([...path, 'path'], `${plain} is there twice: one route a path, since the order of routes has no meaning`)
    }
    seen.add(plain)
    if (plain === config.basePath || plain.startsWith(`${config.basePath}/`)) {
      report(
        [...path, 'path'],
        `lies in basePath ${config.basePath}, where the gateway's own endpoints are: write another path, or another basePath`,
      )
    }
    checkTarget(route, path, report)
    checkBearer(route, path, report)
    checkAccess(route, path, config, report)
    checkHeaders(route, path, config, report)
  }
}

function checkTarget(route: RouteConfig, path: ConfigPath, report: Report): void {
  if (route.upstream !== undefined && route.spa)
    report([...path, 'spa'], 'stands beside upstream: write exactly one of them')
  if (route.upstream === undefined && !route.spa)
    report([...path, 'upstream'], 'is missing: write upstream, or spa with a directory')
  if (route.spa) {
    const { directory, devServer, indexUrl } = route.spa
    if (directory === undefined && devServer === undefined && indexUrl === undefined)
      report([...path, 'spa', 'directory'], 'is missing: write directory, devServer or indexUrl')
    if (devServer !== undefined && (directory ?? indexUrl) !== undefined)
      report([...path, 'spa', 'devServer'], 'stands beside directory or indexUrl: write exactly one of them')
    for (const key of ['rewrite', 'token', 'bearer', 'identityHeaders'] as const) {
      if (route[key] !== undefined)
        report([...path, key], 'is for upstreams: an app of files takes no token and no header')
    }
  }
  if (route.tls && route.upstream !== undefined && !route.upstream.startsWith('https:'))
    report([...path, 'tls'], 'is for an upstream with https://')
  if (route.http2 && route.upstream !== undefined && !route.upstream.startsWith('https:'))
    report([...path, 'http2'], 'is for an upstream with https://')
  checkPair(route.tls, [...path, 'tls'], report)
}

function checkBearer({ bearer, token }: RouteConfig, path: ConfigPath, report: Report): void {
  if (!bearer) return
  if (!isProtected(bearer.issuer))
    report([...path, 'bearer', 'issuer'], 'must begin with https://; http:// is for a loopback address only')
  // An app's token would be sent where the upstream expects the gateway's.
  if (typeof token === 'object' && 'clientCredentials' in token)
    report(
      [...path, 'bearer'],
      'sends the app’s own token up, and token: { clientCredentials } the gateway’s: write two routes',
    )
}

function checkAccess(route: RouteConfig, path: ConfigPath, config: ConfigValues, report: Report): void {
  if (route.session === 'none') {
    for (const key of ['allow', 'acr', 'maxAge', 'identityHeaders'] as const) {
      if (route[key] !== undefined && !route.bearer)
        report([...path, key], 'needs a user, and session: none does not look for one: write session: required')
    }
    const needsSession =
      route.token !== undefined &&
      route.token !== 'none' &&
      !(typeof route.token === 'object' && 'clientCredentials' in route.token)
    if (needsSession)
      report(
        [...path, 'token'],
        'needs a session, and session: none does not look for one: write session: required, or token: none',
      )
  }
  checkLogin(route, path, config, report)
  if (typeof route.token === 'object' && Object.keys(route.token).length === 0)
    report([...path, 'token'], 'is empty: write user, none, or an object with resource or scopes')
}

function checkLogin({ login, session }: RouteConfig, path: ConfigPath, config: ConfigValues, report: Report): void {
  if (login === undefined) return
  const { provider, ...params } = login
  const leadsThere = session === 'required' && Object.keys(params).length === 0
  if (session !== 'login' && !leadsThere)
    report(
      [...path, 'login'],
      'is for routes with session: login, which begin a login themselves; a required one takes provider alone',
    )
  checkParameters(params, [...path, 'login'], report)
  if (provider === undefined) return
  const names = Object.keys(config.providers ?? {})
  const [first = ''] = names
  if (names.length === 0) report([...path, 'login', 'provider'], 'is for several providers: there is one, remove it')
  else if (typeof provider !== 'string' || !names.includes(provider))
    report(
      [...path, 'login', 'provider'],
      `is no name under providers: write ${(typeof provider === 'string' && suggest(provider, names)) || first}`,
    )
}

function checkHeaders(route: RouteConfig, path: ConfigPath, config: ConfigValues, report: Report): void {
  const spellings = new Map<string, string>()
  for (const [name, claim] of Object.entries(route.identityHeaders ?? {})) {
    const plain = name.toLowerCase()
    if (FRAMING.has(plain) || OWN.has(plain))
      report([...path, 'identityHeaders', name], 'is written by the gateway itself: choose another name')
    // Servers read _ and . as -, so two such names are one header to them.
    const spelling = plain.replaceAll(/[._]/g, '-')
    const other = spellings.get(spelling)
    if (other !== undefined)
      report([...path, 'identityHeaders', name], `is ${other} in another spelling: many servers cannot tell them apart`)
    spellings.set(spelling, name)
    checkClaim(claim, [...path, 'identityHeaders', name], config, report)
  }
  for (const name of Object.keys(route.headers?.set ?? {})) {
    if (FRAMING.has(name.toLowerCase()))
      report([...path, 'headers', 'set', name], 'frames the message and is written by the gateway itself: remove it')
  }
  for (const claim of Object.keys(route.allow ?? {})) checkClaim(claim, [...path, 'allow', claim], config, report)
}

function checkClaim(claim: string, path: ConfigPath, config: ConfigValues, report: Report): void {
  const source = /^([a-z_]+):/.exec(claim)?.[1]
  // Claims may be URLs, and those hold a colon too.
  if (source === 'userinfo' && !providerEntries(config).some(({ provider }) => provider.userinfo)) {
    report(path, 'reads a claim of UserInfo, which is not asked for: write userinfo: true at the provider')
  }
}

import { loadConfig } from '../config/load.ts'
import type { Config, TokenRule } from '../config/schema.ts'
import { BffError } from '../errors.ts'
import { CookieJar, cookieNames, sessionSameSite } from '../http/cookies.ts'
import { judgeCsrf } from '../http/csrf.ts'
import type { CsrfFacts } from '../http/csrf.ts'
import type { Policy } from '../http/policy.ts'
import { parseRequestTarget } from '../http/request-path.ts'
import type { RequestPath } from '../http/request-path.ts'
import { RequestHeaders } from '../proxy/request-headers.ts'
import { RouteTable } from '../proxy/route-table.ts'
import type { Route } from '../proxy/route-table.ts'
import { upstreamAddress } from '../proxy/upstream-address.ts'
import { EndpointTable } from '../routes/endpoints.ts'
import { UsageError, configFile, configHelp, configOption, readArguments } from './usage.ts'

const help = `
Usage: sidegate explain METHOD PATH [--config FILE] [--json]

Says what happens to such a request, by the same code that judges real ones, without sending anything:
the route, session, cross-site rule, token, access rules, and the header that goes upstream.
  sidegate explain GET /api/orders/7

Options:
${configHelp}
      --json          one JSON object on stdout
`

/** What is said, in order; a value may go over several lines. */
type Explanation = Record<string, string | readonly string[]>

/** `sidegate explain METHOD PATH`: what the gateway would do with a request. */
export function explain(args: readonly string[]): Promise<void> {
  const parsed = readArguments(args, help, { ...configOption, json: { type: 'boolean' } }, 2)
  if (!parsed) return Promise.resolve()
  const [method, path] = parsed.positionals
  if (method === undefined || path === undefined)
    throw new UsageError('explain takes a method and a path: explain GET /api/orders/7')
  if (!/^(\/|https?:\/\/)/.test(path))
    throw new UsageError(`the path begins with /, and ${JSON.stringify(path)} does not: explain GET /api/orders/7`)
  const { config } = loadConfig(configFile(parsed.options))
  const explanation = explainRequest(config, method.toUpperCase(), path)
  process.stdout.write(
    parsed.options['json'] === true ? `${JSON.stringify(explanation, null, 2)}\n` : formatted(explanation),
  )
  return Promise.resolve()
}

/** Judges path, route, method, cross-site rule and header with the gateway's own parts. */
export function explainRequest(config: Config, method: string, target: string): Explanation {
  const request = `${method} ${target}`
  let path: RequestPath
  let route: Route | undefined
  try {
    path = parseRequestTarget(target, new URL(config.publicUrl))
    route = new RouteTable(config).match(path)
  } catch (error) {
    if (!(error instanceof BffError)) throw error
    return { request, answer: `${error.statusCode} ${error.code}: ${error.message}` }
  }
  const endpoints = new EndpointTable({ basePath: config.basePath, takesFormPost: takesFormPost(config) })
  if (endpoints.covers(path.path)) {
    const place = endpoints.match(path.path, method)
    if (!place)
      return { request, answer: '404 not_found: there is no such endpoint, and paths under basePath are never proxied' }
    return { request, endpoint: place.policy.name, ...judgments(config, place.policy, method) }
  }
  if (!route) return { request, answer: '404 not_found: no route covers this path' }
  return {
    request,
    route: route.config.path,
    ...judgments(config, route.policy, method),
    ...access(route),
    ...(route.upstream === undefined ? { served: filesOf(route) } : forwarding(config, route, route.upstream, path)),
  }
}

function takesFormPost(config: Config): boolean {
  const providers = [config.provider, ...Object.values(config.providers ?? {})]
  return providers.some((provider) => provider?.responseMode.startsWith('form_post') === true)
}

function judgments(config: Config, policy: Policy, method: string): Explanation {
  const isTaken = policy.methods ? policy.methods.has(method) : method !== 'TRACE' && method !== 'CONNECT'
  if (!isTaken)
    return {
      answer: `405 method_not_allowed: taken here: ${[...(policy.methods ?? ['all but TRACE and CONNECT'])].join(', ')}`,
    }
  const session = {
    required: `required: 401 without one; cookie ${cookieNames(config).session}, SameSite=${sessionSameSite(config)}`,
    login: 'login: a navigation without one begins the login and comes back; everything else is 401',
    optional: 'optional: goes on without one, and without a token',
    none: policy.bearer ? 'none: for apps alone, 401 without a token' : 'none: the cookie is not looked at',
  }[policy.session]
  return {
    methods: policy.methods ? [...policy.methods].join(', ') : 'all but TRACE and CONNECT',
    session,
    ...(policy.bearer && {
      bearer: `an app's token of ${policy.bearer.issuer} for ${policy.bearer.audience}, where there is no cookie of ours; goes upstream`,
    }),
    'cross-site rule': crossSite(config, policy, method),
    ...(policy.rateLimit && { 'rate limit': rateLimit(config, policy.rateLimit) }),
    'keeps the session alive':
      policy.slides && policy.session !== 'none' ? 'yes, unless the request says Sidegate-Background: 1' : 'no',
  }
}

/** With the cookie, from where a request may come: asked of the rule itself. */
function crossSite(config: Config, policy: Policy, method: string): string | string[] {
  if (policy.session === 'none' && policy.kind === 'route') return 'not judged: the cookie has no effect here'
  if (policy.csrf === 'open') return 'not judged: the endpoint judges by itself'
  const publicOrigin = config.publicUrl
  const options = { publicOrigin, corsOrigins: config.cors.origins, requireHeader: config.csrf.requireHeader }
  const place = {
    session: policy.session,
    navigable: policy.navigable,
    isEndpoint: policy.kind === 'endpoint',
    isWebSocket: false,
    isEventStream: policy.isEventStream,
  }
  const call = { method, secFetchMode: 'cors', secFetchDest: 'empty', accept: '*/*', xCsrf: '1' }
  const visit = {
    method,
    secFetchMode: 'navigate',
    secFetchDest: 'document',
    accept: 'text/html',
    xCsrf: undefined,
    origin: undefined,
  }
  const listed = config.cors.origins[0]
  const cases: [string, CsrfFacts][] = [
    ['own page, fetch with X-CSRF: 1', { ...call, secFetchSite: 'same-origin', origin: publicOrigin }],
    [
      'own page, fetch without X-CSRF',
      { ...call, xCsrf: undefined, secFetchSite: 'same-origin', origin: publicOrigin },
    ],
    ...(listed === undefined
      ? []
      : [
          [
            `page of ${listed}, fetch with X-CSRF: 1`,
            { ...call, secFetchSite: 'same-site', origin: listed },
          ] satisfies [string, CsrfFacts],
        ]),
    [
      'page of another site, fetch',
      { ...call, xCsrf: undefined, secFetchSite: 'cross-site', origin: 'https://elsewhere.invalid' },
    ],
    ['link on another site', { ...visit, secFetchSite: 'cross-site' }],
    ['typed address, bookmark', { ...visit, secFetchSite: 'none' }],
    [
      'no browser, with X-CSRF: 1',
      { ...call, secFetchSite: undefined, origin: undefined, secFetchMode: undefined, secFetchDest: undefined },
    ],
  ]
  return cases.map(([name, facts]) => {
    const verdict = judgeCsrf(facts, place, options)
    return `${name}: ${verdict.ok ? 'passes' : `403 csrf_rejected (${verdict.reason})`}`
  })
}

function rateLimit(config: Config, name: keyof Config['rateLimits']): string {
  const limit = config.rateLimits[name]
  return limit ? `${limit.limit} in ${limit.windowMs / 1_000}s (rateLimits.${name})` : `off (rateLimits.${name})`
}

function access({ config }: Route): Explanation {
  const rules = [
    ...Object.entries(config.allow ?? {}).map(
      ([claim, values]) => `${claim}: ${[values].flat().join(' or ')}; else 403`,
    ),
    ...(config.acr === undefined ? [] : [`acr: ${[config.acr].flat().join(' or ')}; else 401 step_up_required`]),
    ...(config.maxAge === undefined
      ? []
      : [`signed in at most ${config.maxAge / 1_000}s ago; else 401 step_up_required`]),
  ]
  return { 'access rules': rules.length > 0 ? rules : 'none beyond the session' }
}

function filesOf({ config: { spa } }: Route): string {
  if (spa?.indexUrl !== undefined) return `index.html from ${spa.indexUrl}`
  return `files of ${spa?.directory ?? 'nowhere'}; navigations to other paths get ${spa?.fallback ?? 'index.html'}`
}

function forwarding(config: Config, route: Route, upstream: string, path: RequestPath): Explanation {
  const address = upstreamAddress(upstream, route.config)
  const jar = new CookieJar(config)
  const headers = new RequestHeaders(route, { config, stripOwnCookies: (header) => jar.stripOwnCookies(header) })
  const fields = headers.build(
    { httpVersion: '1.1', rawHeaders: [], headers: {} },
    {
      session: null,
      requestId: '(id of the request)',
      forwardedFor: '(address of the client)',
      credentials: route.policy.needsToken ? ['authorization', `${usesDpop(config) ? 'DPoP' : 'Bearer'} (token)`] : [],
      upstreamHost: address.host,
    },
  )
  const identity = Object.entries(route.config.identityHeaders ?? {}).map(
    ([name, claim]) => `${name}: (claim ${claim})`,
  )
  const { connect, firstByte, idle } = route.config.timeout
  return {
    token: tokenOf(route.config.token ?? (route.config.session === 'none' ? 'none' : 'user')),
    upstream: `${address.socketPath === undefined ? address.origin : upstream}${address.socketPath === undefined ? '' : ' '}${route.target(path.path)}${path.query}`,
    'header up': [...pairs(fields, route), ...identity],
    'taken out on the way up':
      'our cookies, Authorization, DPoP, hop-by-hop and identity header fields in every spelling',
    'taken out on the way down': 'hop-by-hop fields, Set-Cookie of our names, Sidegate-Error, Clear-Site-Data, Server',
    'changed on the way down':
      route.config.session === 'none'
        ? 'nothing else'
        : 'where a session was used: public and s-maxage give way to private, with Vary: Cookie',
    limits: [
      `connect ${connect / 1_000}s, first byte ${firstByte / 1_000}s, idle ${idle === undefined ? 'none' : `${idle / 1_000}s`}`,
      `body ${route.config.bodyLimit === undefined ? 'without limit' : `${route.config.bodyLimit} bytes`}, ${route.config.maxInFlight} requests at once`,
    ],
    websockets: route.config.websocket ? 'let through, closed when the session ends' : 'refused',
  }
}

function usesDpop(config: Config): boolean {
  return [config.provider, ...Object.values(config.providers ?? {})].some((provider) => provider?.dpop === true)
}

function tokenOf(rule: TokenRule): string {
  if (rule === 'user') return "the user's access token, refreshed before it expires"
  if (rule === 'none') return 'none'
  if ('exchange' in rule) return `exchanged for ${described(rule.exchange)} (RFC 8693)`
  if ('clientCredentials' in rule) return `the gateway's own, ${described(rule.clientCredentials)}`
  return `the user's, ${described(rule)}`
}

function described(rule: {
  resource?: string | undefined
  audience?: string | undefined
  scopes?: string[] | undefined
}): string {
  const parts = [rule.resource ?? rule.audience, rule.scopes && `scopes ${rule.scopes.join(' ')}`].filter(
    (part) => part !== undefined,
  )
  return parts.length > 0 ? `for ${parts.join(', ')}` : 'as the server gives it'
}

/** One line a field. Values from `headers.set` may be secrets, and the trace is another one for each request. */
function pairs(fields: readonly string[], route: Route): string[] {
  const configured = new Set(Object.keys(route.config.headers?.set ?? {}).map((name) => name.toLowerCase()))
  return fields.flatMap((name, index) => {
    if (index % 2 !== 0) return []
    if (configured.has(name.toLowerCase())) return [`${name}: (value of headers.set)`]
    return [`${name}: ${name === 'traceparent' ? "(the caller's, or a new one)" : (fields[index + 1] ?? '')}`]
  })
}

function formatted(explanation: Explanation): string {
  const width = Math.max(...Object.keys(explanation).map((key) => key.length)) + 2
  return Object.entries(explanation)
    .map(([key, value]) =>
      [value]
        .flat()
        .map((line, index) => `${(index === 0 ? key : '').padEnd(width)}${line}\n`)
        .join(''),
    )
    .join('')
}

/** What the judge has to know of a place in the gateway: one record for an endpoint and for a route alike. */
import type { BearerRule } from '../oidc/access-token.ts'

export interface Policy {
  /** Label of metrics and log lines: the endpoint's name or the route's path. A fixed set. */
  readonly name: string
  readonly kind: 'endpoint' | 'route'
  /** `undefined`: all but TRACE and CONNECT. */
  readonly methods: ReadonlySet<string> | undefined
  /** What becomes of a request without a session (`routes[].session`). */
  readonly session: 'required' | 'optional' | 'none' | 'login'
  /** Of several providers the one at which a login for this place begins (`routes[].login`). */
  readonly loginProvider?: string | undefined
  /** Whose tokens are taken in place of a session, from requests without our cookie. With `none` one must come. */
  readonly bearer?: BearerRule | undefined
  /** `rule`: requests with our cookie are judged for CSRF; `open`: the place judges by itself or changes nothing. */
  readonly csrf: 'rule' | 'open'
  /** A `required` route that a typed address or a link may open. */
  readonly navigable: boolean
  /** The route's upstream gets an access token: a stale one is refreshed first. */
  readonly needsToken: boolean
  /** A use of the session here moves its idle end. */
  readonly slides: boolean
  /** Event stream: it cannot carry `X-CSRF`. */
  readonly isEventStream: boolean
  /** Takes the form of a page of ours, which has no script and cannot carry it either. */
  readonly isForm?: boolean
  readonly rateLimit: 'login' | 'refresh' | 'api' | undefined
  /** Bytes; a longer announced body is refused before it is read. */
  readonly bodyLimit: number | undefined
  /** Who may pass (`routes[].allow`): claim → one of these values. */
  readonly allow: ReadonlyMap<string, readonly string[]> | undefined
  /** Authentication context classes, any of which is enough (RFC 9470). */
  readonly acr: readonly string[] | undefined
  /** The user's authentication may be this old, in milliseconds (RFC 9470 `max_age`). */
  readonly maxAgeMs: number | undefined
}

type EndpointOptions = Partial<Omit<Policy, 'name' | 'kind' | 'methods'>>

/** A policy for one of our own endpoints: it slides nothing and needs no token unless it says so. */
export function endpointPolicy(name: string, methods: readonly string[], options: EndpointOptions = {}): Policy {
  return {
    name,
    kind: 'endpoint',
    methods: new Set(methods),
    session: 'none',
    csrf: 'open',
    navigable: false,
    needsToken: false,
    slides: false,
    isEventStream: false,
    rateLimit: undefined,
    bodyLimit: 65_536,
    allow: undefined,
    acr: undefined,
    maxAgeMs: undefined,
    ...options,
  }
}

/** The endpoints under `basePath`: which path and method is which, and how each is judged (the table of `docs/endpoints.md`). */
import type { Place } from '../http/judge.ts'
import { endpointPolicy, type Policy } from '../http/policy.ts'

const read = ['GET', 'HEAD']

/** One line an endpoint: path under `basePath`, policy. A path may have several, each for its own methods. */
export const endpoints: readonly (readonly [path: string, policy: Policy])[] = [
  ['/login', endpointPolicy('login', ['GET'], { rateLimit: 'login' })],
  ['/login/done', endpointPolicy('login_done', read)],
  ['/callback', endpointPolicy('callback', ['GET', 'POST'])],
  ['/session', endpointPolicy('session', read, { csrf: 'rule', session: 'optional' })],
  ['/user', endpointPolicy('user', read, { csrf: 'rule', session: 'optional' })],
  [
    '/session/refresh',
    endpointPolicy('session_refresh', ['POST'], { csrf: 'rule', session: 'required', rateLimit: 'refresh' }),
  ],
  [
    '/session/events',
    endpointPolicy('session_events', ['GET'], { csrf: 'rule', session: 'required', isEventStream: true }),
  ],
  ['/sessions', endpointPolicy('sessions', ['GET', 'HEAD', 'DELETE'], { csrf: 'rule', session: 'required' })],
  ['/sessions/*', endpointPolicy('sessions_ref', ['DELETE'], { csrf: 'rule', session: 'required' })],
  // It changes nothing, and only a navigation opens it, from a mail or a bookmark too.
  ['/your-sessions', endpointPolicy('your_sessions', read, { session: 'required' })],
  [
    '/your-sessions',
    endpointPolicy('your_sessions_form', ['POST'], { csrf: 'rule', session: 'required', isForm: true }),
  ],
  // No session is loaded here: a logout clears the cookie even when the store cannot answer.
  ['/logout', endpointPolicy('logout', ['POST'], { csrf: 'rule' })],
  ['/logout', endpointPolicy('logout_link', ['GET'])],
  ['/logout/continue', endpointPolicy('logout_continue', ['GET'])],
  ['/logout/callback', endpointPolicy('logout_callback', read)],
  ['/backchannel-logout', endpointPolicy('backchannel_logout', ['POST'])],
  ['/frontchannel-logout', endpointPolicy('frontchannel_logout', ['GET'])],
  ['/client.js', endpointPolicy('client_js', read)],
  ['/jwks.json', endpointPolicy('jwks', read)],
]

/** Finds the endpoint of a path that lies under `basePath`. */
export class EndpointTable {
  readonly #basePath: string
  readonly #byPath = new Map<string, Place[]>()
  readonly #takesFormPost: boolean

  /** @param options.takesFormPost whether a provider answers by `form_post`: only then is the callback POSTed to (CB-09) */
  constructor(options: { basePath: string; takesFormPost: boolean }) {
    this.#basePath = options.basePath
    this.#takesFormPost = options.takesFormPost
    for (const [path, policy] of endpoints) {
      const places = this.#byPath.get(path) ?? []
      places.push({ policy: path === '/callback' ? this.#callbackPolicy(policy) : policy })
      this.#byPath.set(path, places)
    }
  }

  /** Whether a path is ours whatever it is called: such a path is never proxied. */
  covers(path: string): boolean {
    return path === this.#basePath || path.startsWith(`${this.#basePath}/`)
  }

  /** The endpoint; for a method that the path does not take, one whose policy says which it takes. */
  match(path: string, method: string): Place | undefined {
    const rest = path.slice(this.#basePath.length)
    const places =
      this.#byPath.get(rest) ?? (/^\/sessions\/[^/]+$/.test(rest) ? this.#byPath.get('/sessions/*') : undefined)
    if (!places) return undefined
    const taken = places.find(({ policy }) => policy.methods?.has(method))
    if (taken) return taken
    const methods = places.flatMap(({ policy }) => [...(policy.methods ?? [])])
    return places[0] && { policy: { ...places[0].policy, methods: new Set(methods) } }
  }

  #callbackPolicy(policy: Policy): Policy {
    return this.#takesFormPost ? policy : { ...policy, methods: new Set(['GET']) }
  }
}

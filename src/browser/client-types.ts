/** What the browser client takes and gives; apart from it, so that the words cost a page nothing. */

/** The body of `GET session`. Seconds count from when it came. */
export type Session = SignedIn | SignedOut

export interface SignedIn {
  readonly authenticated: true
  readonly user: User
  /** RFC 3339. */
  readonly createdAt: string
  /** The absolute end, RFC 3339. */
  readonly expiresAt: string
  readonly expiresInSeconds: number
  readonly idleExpiresInSeconds: number
  readonly accessToken: { readonly expiresInSeconds: number }
  /** A link that signs out; only for this session. */
  readonly logoutUrl: string
}

export interface SignedOut {
  readonly authenticated: false
  /** Where signing in begins. */
  readonly loginUrl: string
  readonly user?: undefined
}

/** Claims by the allow-list of the configuration, `session.claims`; these are its default. */
export interface User {
  readonly sub?: string
  readonly name?: string
  readonly email?: string
  readonly picture?: string
  readonly [claim: string]: unknown
}

/** What has happened to the session, in this tab or in another one of this browser. */
export interface SessionChange {
  /**
   * `session`: first known, signed in, another user · `refreshed`: new tokens on the server · `expiring`: the end is
   * near · `ended`: nobody is signed in any more.
   */
  readonly type: 'session' | 'refreshed' | 'expiring' | 'ended'
  readonly session: Session
  /** With `ended`: why, such as `logout`, `idle_timeout`, `backchannel_logout`. */
  readonly reason?: string
  /** With `expiring`. */
  readonly expiresInSeconds?: number
}

export interface LoginOptions {
  /** A path of this origin; the present address with its fragment unless given. */
  readonly returnTo?: string
  /** In a window of its own, so that the page stays as it is; as `createClient` was told unless given. */
  readonly popup?: boolean
  /** The address that begins the sign-in; what a failure brought as `loginUrl`. */
  readonly url?: string
}

export interface ClientOptions {
  /** The gateway's `basePath`; known by itself where the module is loaded from the gateway, else `/bff`. */
  readonly base?: string
  /** Sign in by a popup: a page with an unsaved form survives the end of its session. */
  readonly popup?: boolean
  /**
   * Asked before a sign-in that a failed `fetch` needs. To show a button that calls `login` is the way to a popup that
   * no browser blocks. Resolves whether the call is worth repeating.
   */
  readonly onLoginRequired?: (login: () => Promise<boolean>, code: string) => Promise<boolean>
}

/** Functions that need no `this`: each can be handed on as it is. */
export interface Client {
  /** The last that was heard of the session, without asking; `undefined` until something was. */
  readonly current: Session | undefined
  /** Asks the gateway; never keeps the session alive. Rejects when it does not answer. */
  readonly session: () => Promise<Session>
  /** Calls the listener at every change from now on. Returns what stops it. */
  readonly onChange: (listener: (change: SessionChange) => void) => () => void
  /**
   * As the global `fetch`, with `X-CSRF` to our own origin. An answer that asks for a sign-in leads to one, for all
   * calls together, and with a popup the call is then repeated once. What still fails comes back as it is.
   */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>
  /** Leaves the page, and never resolves; or by a popup resolves whether somebody has signed in. */
  readonly login: (options?: LoginOptions) => Promise<boolean>
  /** Ends the session everywhere and leaves the page; `local`: only here, without leaving. */
  readonly logout: (options?: { readonly local?: boolean }) => Promise<void>
}

/** What the browser client takes and gives; apart from it, so that the words cost a page nothing. */

/** The body of `GET session`, or the sign that nobody is signed in. Seconds count from when it came. */
export interface Session {
  readonly authenticated: boolean
  /** Claims by the allow-list of the configuration. */
  readonly user?: Readonly<Record<string, unknown>>
  /** RFC 3339. */
  readonly createdAt?: string
  /** The absolute end, RFC 3339. */
  readonly expiresAt?: string
  readonly expiresInSeconds?: number
  readonly idleExpiresInSeconds?: number
  readonly accessToken?: { readonly expiresInSeconds: number }
  /** A link that signs out; only for this session. */
  readonly logoutUrl?: string
  /** Where signing in begins, when nobody is signed in. */
  readonly loginUrl?: string
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

export interface Client {
  /** Asks the gateway; never keeps the session alive. Rejects when it does not answer. */
  session(): Promise<Session>
  /** Calls the listener at every change from now on. Returns what stops it. */
  onChange(listener: (change: SessionChange) => void): () => void
  /**
   * As the global `fetch`, with `X-CSRF` to our own origin. An answer that asks for a sign-in leads to one, for all
   * calls together, and with a popup the call is then repeated once. What still fails comes back as it is.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Leaves the page, and never resolves; or by a popup resolves whether somebody has signed in. */
  login(options?: LoginOptions): Promise<boolean>
  /** Ends the session everywhere and leaves the page; `local`: only here, without leaving. */
  logout(options?: { readonly local?: boolean }): Promise<void>
}

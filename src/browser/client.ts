/** Sidegate's client for browsers: the session, calls that sign in when they must, and tabs in step. */
import type { Client, ClientOptions, LoginOptions, Session, SessionChange } from './client-types.ts'

export type * from './client-types.ts'

/** Between tabs: something is new (look for yourselves), news that need no look, and the end of a popup. */
type Message = { type: 'changed'; mark: string; reason?: string } | SessionChange | { type: 'login' }

const HEADERS = { 'X-CSRF': '1' }
const NEEDS_LOGIN = /^(login_required|session_expired|step_up_required)$/
const POLL_MS = 60_000
const MOST_STREAMS = 5
/** From one sign-in that nobody clicked for to the next, and twice as long each time when they follow at once. */
const GUARD_MS = 60_000
/** A page that leaves is gone by then; otherwise the visitor has stayed. */
const LEAVE_MS = 5_000
/** So long a cookie may take that was sent as its session's predecessor ended. */
const ARRIVAL_MS = 2_000

export function createClient(options: ClientOptions = {}): Client {
  const base = new URL(options.base ?? ownBase(), location.href).pathname.replace(/\/*$/, '/')
  const channel = 'BroadcastChannel' in window ? new BroadcastChannel('sidegate') : undefined
  const listeners = new Set<(change: SessionChange) => void>()
  const popups = new Set<(isSignedIn: boolean) => void>()
  let known: Session | undefined
  let loading: Promise<Session> | undefined
  let signingIn: Promise<boolean> | undefined
  let signIns = 0
  let isLeader = false
  let stream: EventSource | undefined
  /** Streams that were opened in this minute: of those that end at once there are not many. */
  let opened = 0
  let stop: (() => void) | undefined

  function session(reason?: string, isEcho?: boolean): Promise<Session> {
    loading ??= load(reason, isEcho).finally(() => (loading = undefined))
    return loading
  }

  async function load(reason?: string, isEcho?: boolean): Promise<Session> {
    const response = await fetch(`${base}session`, { headers: HEADERS, cache: 'no-store' })
    if (!response.ok) throw new Error(`The session cannot be read: ${response.status}`)
    return learn((await response.json()) as Session, reason, isEcho)
  }

  /** For what can wait and may fail. An answer that is on its way may be older than the reason to ask. */
  async function look(reason?: string, isEcho?: boolean): Promise<void> {
    try {
      await loading?.catch(() => {})
      await session(reason, isEcho)
    } catch {
      // The gateway cannot be reached: nobody has been signed out by that.
    }
  }

  /** What another tab said is not told to it again: where answers differ, two tabs would never be done. */
  function learn(session: Session, reason?: string, isEcho?: boolean): Session {
    const mark = markOf(session)
    if (mark !== markOf(known)) {
      const hasEnded = known?.authenticated && !session.authenticated
      tell(hasEnded ? { type: 'ended', session, ...(reason && { reason }) } : { type: 'session', session })
      if (!isEcho) channel?.postMessage({ type: 'changed', mark, ...(reason && { reason }) } satisfies Message)
    }
    known = session
    tend()
    return session
  }

  function tell(change: SessionChange): void {
    known = change.session
    // Each on its own: one that throws must not keep the news from the others.
    for (const listener of listeners) queueMicrotask(() => listener(change))
  }

  function tellAll(change: SessionChange): void {
    tell(change)
    channel?.postMessage(change satisfies Message)
  }

  channel?.addEventListener('message', ({ data }: MessageEvent<Message>) => {
    if (data.type === 'login') {
      signIns += 1
      for (const end of popups) end(true)
      void look()
    } else if (data.type !== 'changed') tell(data)
    else if (data.mark !== markOf(known)) void look(data.reason, true)
  })

  /** One stream for all tabs of a browser, kept by the tab that holds the lock: HTTP/1.1 has six connections for all. */
  function tend(): void {
    if (!isLeader || !known?.authenticated) {
      stream?.close()
      stream = undefined
    } else if (!stream && opened++ < MOST_STREAMS) {
      const source = (stream = new EventSource(`${base}session/events`))
      const on = (type: string, act: (data: never) => void) =>
        source.addEventListener(type, ({ data }: MessageEvent<string>) => act(JSON.parse(data) as never))
      const close = () => {
        source.close()
        if (stream === source) stream = undefined
      }
      on('session', (session: Session) => learn(session))
      on('refreshed', (session: Session) => tellAll({ type: 'refreshed', session }))
      on('expiring', (data: object) => known && tellAll({ type: 'expiring', session: known, ...data }))
      on('ended', ({ reason }: { reason: string }) => {
        close()
        // Another sign-in has taken its place, and the answer that brings its cookie may still be on its way.
        // What counts is what is there then.
        setTimeout(() => void look(reason), reason === 'replaced' ? ARRIVAL_MS : 0)
      })
      // Refused and not tried again by the browser: the poll looks after it.
      source.addEventListener('error', () => source.readyState === EventSource.CLOSED && close())
    }
  }

  function watch(): () => void {
    const end = new AbortController()
    const { signal } = end
    const isVisible = () => document.visibilityState === 'visible'
    document.addEventListener('visibilitychange', () => isVisible() && void look(), { signal })
    const timer = setInterval(() => {
      opened = 0
      const isServed = stream?.readyState === EventSource.OPEN || (navigator.locks && !isLeader)
      if (!isServed && isVisible() && known?.authenticated) void look()
    }, POLL_MS)
    const lead = () =>
      new Promise<void>((resign) => {
        isLeader = true
        tend()
        signal.addEventListener('abort', () => resign())
      })
    navigator.locks?.request('sidegate', { signal }, lead).catch(() => {})
    void look()
    return () => {
      clearInterval(timer)
      end.abort()
      isLeader = false
      tend()
    }
  }

  function onChange(listener: (change: SessionChange) => void): () => void {
    listeners.add(listener)
    stop ??= watch()
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return
      stop?.()
      stop = undefined
    }
  }

  async function call(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    const request = new Request(input, init)
    if (new URL(request.url).origin !== location.origin) return fetch(request)
    request.headers.set('X-CSRF', '1')
    const spare = options.popup || options.onLoginRequired ? request.clone() : undefined
    const before = signIns
    const response = await fetch(request)
    const code = response.headers.get('Sidegate-Error') ?? ''
    if (!NEEDS_LOGIN.test(code)) return response
    if (before === signIns) {
      signingIn ??= signInFor(code, response.clone()).finally(() => (signingIn = undefined))
      if (!(await signingIn)) return response
    }
    // Refused by the gateway, so the API has not seen it: it can be sent again, once.
    return spare ? fetch(spare) : response
  }

  async function signInFor(code: string, response: Response): Promise<boolean> {
    if (!mayStart(code)) return false
    const { loginUrl } = (await response.json()) as { loginUrl?: string }
    const start = () => login(code === 'step_up_required' && loginUrl ? { url: loginUrl } : {})
    if (options.onLoginRequired) return options.onLoginRequired(start, code)
    const isOver = start()
    return options.popup ? isOver : new Promise((resolve) => setTimeout(resolve, LEAVE_MS, false))
  }

  function login({ returnTo, popup = options.popup, url }: LoginOptions = {}): Promise<boolean> {
    const target = new URL(url ?? `${base}login`, location.origin)
    target.searchParams.set('returnTo', returnTo ?? location.href.slice(location.origin.length))
    if (!popup) {
      location.assign(target)
      return new Promise(() => {})
    }
    target.searchParams.set('mode', 'popup')
    const opened = open(target, 'sidegate', 'popup,width=480,height=680')
    return new Promise((resolve) => {
      // A page of the provider may cut the tie to its window, which then seems closed: back here is what counts.
      const timer = setInterval(() => opened?.closed && document.hasFocus() && setTimeout(end, 500, false), 500)
      const end = (isSignedIn: boolean) => {
        clearInterval(timer)
        popups.delete(end)
        resolve(isSignedIn)
      }
      popups.add(end)
      if (!opened) end(false)
    })
  }

  async function logout({ local = false }: { readonly local?: boolean } = {}): Promise<void> {
    const response = await fetch(`${base}logout${local ? '?local=true' : ''}`, { method: 'POST', headers: HEADERS })
    if (!response.ok) throw new Error(`Signing out has failed: ${response.status}`)
    learn({ authenticated: false, loginUrl: `${base}login` }, 'logout')
    if (!local) location.assign(((await response.json()) as { redirectUrl: string }).redirectUrl)
  }

  // The back button after a sign-out: what the page shows was someone's.
  addEventListener('pageshow', ({ persisted }) => {
    const mark = markOf(known)
    if (persisted) void look().then(() => markOf(known) !== mark && location.reload())
  })

  return {
    get current() {
      return known
    },
    session: () => session(),
    onChange,
    fetch: call,
    login,
    logout,
  }
}

/** Loaded from the gateway as `{basePath}/client.js`, the module knows where it is. */
function ownBase(): string {
  const { origin, pathname } = new URL(import.meta.url)
  return origin === location.origin && pathname.endsWith('/client.js') ? pathname.slice(0, -9) : '/bff'
}

/** What makes it another session to look at. */
function markOf(session?: Session): string {
  return JSON.stringify(session && (session.authenticated ? [session.createdAt, session.user] : null))
}

/** Whether a sign-in may begin by itself for this reason; never where that cannot be remembered over a redirect. */
function mayStart(code: string): boolean {
  try {
    const key = `sidegate ${code}`
    const [at = 0, waitMs = 0] = (sessionStorage.getItem(key) ?? '').split(' ').map(Number)
    const sinceMs = Math.abs(Date.now() - at)
    if (sinceMs < waitMs) return false
    sessionStorage.setItem(key, `${Date.now()} ${sinceMs < 3 * waitMs ? 2 * waitMs : GUARD_MS}`)
    return true
  } catch {
    return false
  }
}

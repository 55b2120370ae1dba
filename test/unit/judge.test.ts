import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import { ClientAddresses } from '../../src/http/client-address.ts'
import { CookieJar } from '../../src/http/cookies.ts'
import { Judge, type Place } from '../../src/http/judge.ts'
import { endpointPolicy, type Policy } from '../../src/http/policy.ts'
import { RateLimiter } from '../../src/http/rate-limit.ts'
import type { Session } from '../../src/session/session.ts'
import { silentLog } from '../../src/telemetry/log.ts'

const now = 1_800_000_000_000
const cookieValue = 'a'.repeat(43)
const ownCookie = `__Host-Http-sidegate=${cookieValue}`

const session: Session = {
  ref: 'r',
  version: 1,
  provider: 'default',
  issuer: 'https://id.example',
  configuredIssuer: 'https://id.example',
  sub: 'alice',
  createdAt: now,
  expiresAt: now + 1_000_000,
  claims: { groups: ['sales'] },
  tokens: { accessToken: 'at', tokenType: 'bearer', accessTokenExpiresAt: now + 1_000_000 },
}

function route(name: string, rules: Partial<Policy> = {}): Place {
  return {
    policy: {
      ...endpointPolicy(name, []),
      kind: 'route',
      methods: undefined,
      session: 'required',
      csrf: 'rule',
      ...rules,
    },
  }
}

const places = new Map<string, Place>([
  [
    '/api',
    route('/api', {
      methods: new Set(['GET', 'POST', 'OPTIONS']),
      rateLimit: 'api',
      allow: new Map([['groups', ['sales']]]),
      bodyLimit: 10,
    }),
  ],
  ['/admins', route('/admins', { allow: new Map([['groups', ['admin']]]), bodyLimit: 10 })],
  ['/optional', route('/optional', { session: 'optional' })],
  ['/login-route', route('/login-route', { session: 'login' })],
  ['/public', route('/public', { session: 'none' })],
])

interface World {
  readonly resolved: string[]
  readonly judge: Judge<Place>
}

function world(resolve: () => Promise<Session> = async () => session): World {
  const resolved: string[] = []
  const judge = new Judge<Place>({
    publicUrl: new URL('https://app.example'),
    match: ({ path }) => places.get(path),
    sessions: {
      tryResolve: () => undefined,
      resolve: async (value) => {
        resolved.push(value)
        return resolve()
      },
    },
    cookies: new CookieJar({
      name: 'sidegate',
      basePath: '/bff',
      provider: undefined,
      providers: undefined,
      routes: [],
      session: { cookie: { persistent: false, insecure: false } },
    }),
    csrf: { publicOrigin: 'https://app.example', corsOrigins: [], requireHeader: false },
    addresses: new ClientAddresses([], silentLog),
    limiter: new RateLimiter({ now: () => now }),
    rateLimits: { login: undefined, refresh: undefined, api: { limit: 1, windowMs: 60_000 } },
    loginPath: '/bff/login',
    onCsrfRejection: () => {},
    now: () => now,
  })
  return { resolved, judge }
}

interface Sent {
  method?: string
  url?: string
  headers?: Record<string, string>
}

/** As much of an IncomingMessage as the judge looks at. */
function request({ method = 'GET', url = '/api', headers = {} }: Sent): IncomingMessage {
  const all: Record<string, string> = { host: 'app.example', ...headers }
  const rawHeaders = Object.entries(all).flat()
  return {
    method,
    url,
    headers: all,
    rawHeaders,
    httpVersion: '1.1',
    socket: { remoteAddress: '192.0.2.1' },
  } as unknown as IncomingMessage
}

async function codeOf({ judge }: World, sent: Sent): Promise<string> {
  try {
    return (await judge.judge(request(sent), 'request')).verdict
  } catch (error) {
    if (error instanceof BffError) return error.code
    throw error
  }
}

const good = { cookie: ownCookie, 'sec-fetch-site': 'same-origin' }

// Each line breaks one judgment and all later ones: the first that fails answers.
const everythingWrong = { host: 'a b', cookie: ownCookie, 'sec-fetch-site': 'cross-site', 'content-length': '11' }
test.each([
  ['framing', { method: 'PUT', url: '/nowhere/%00', headers: everythingWrong }, 'invalid_request'],
  [
    'path',
    { method: 'PUT', url: '/nowhere/..', headers: { ...everythingWrong, host: 'app.example' } },
    'invalid_request',
  ],
  ['place', { method: 'TRACE', url: '/nowhere', headers: { ...everythingWrong, host: 'app.example' } }, 'not_found'],
  [
    'method',
    { method: 'PUT', url: '/api', headers: { ...everythingWrong, host: 'app.example' } },
    'method_not_allowed',
  ],
  [
    'preflight',
    {
      method: 'OPTIONS',
      url: '/api',
      headers: {
        ...everythingWrong,
        host: 'app.example',
        origin: 'https://evil.example',
        'access-control-request-method': 'POST',
      },
    },
    'preflight',
  ],
  ['CSRF', { method: 'POST', url: '/api', headers: { ...everythingWrong, host: 'app.example' } }, 'csrf_rejected'],
])('the judgment of %s comes before all later ones', async (_name, sent, expected) => {
  const one = world(async () => {
    throw new BffError('session_expired')
  })

  expect(await codeOf(one, sent)).toBe(expected)
  expect(one.resolved).toEqual([])
})

test('rate comes before session, session before access, access before size', async () => {
  const over = { ...good, 'content-length': '11' }
  const expired = world(async () => {
    throw new BffError('session_expired')
  })

  expect(await codeOf(expired, { method: 'POST', headers: over })).toBe('session_expired')
  expect(await codeOf(expired, { method: 'POST', headers: over })).toBe('rate_limited')
  expect(expired.resolved).toHaveLength(1)
  expect(await codeOf(world(), { method: 'POST', url: '/admins', headers: over })).toBe('forbidden')
  expect(await codeOf(world(), { method: 'POST', headers: over })).toBe('payload_too_large')
  expect(await codeOf(world(), { headers: good })).toBe('pass')
})

test('a request without our cookie is anonymous and not judged for CSRF', async () => {
  const headers = { 'sec-fetch-site': 'cross-site' }

  expect(await codeOf(world(), { url: '/api', headers })).toBe('login_required')
  expect(await codeOf(world(), { url: '/optional', headers })).toBe('pass')
})

test('where the cookie is not looked at neither CSRF nor the store is asked', async () => {
  const one = world()

  expect(await codeOf(one, { url: '/public', headers: { cookie: ownCookie, 'sec-fetch-site': 'cross-site' } })).toBe(
    'pass',
  )
  expect(one.resolved).toEqual([])
})

test('a session that is over is none on an optional route, an outage stays an outage (SC-12)', async () => {
  const fails = (code: 'session_expired' | 'store_unavailable') =>
    world(async () => {
      throw new BffError(code)
    })

  expect(await codeOf(fails('session_expired'), { url: '/optional', headers: good })).toBe('pass')
  expect(await codeOf(fails('store_unavailable'), { url: '/optional', headers: good })).toBe('store_unavailable')
  expect(await codeOf(fails('session_expired'), { url: '/api', headers: good })).toBe('session_expired')
})

test('two session cookies are no session, whichever comes first (SC-05)', async () => {
  const one = world()
  const other = ownCookie.replaceAll('a'.repeat(10), 'b'.repeat(10))

  expect(await codeOf(one, { headers: { ...good, cookie: `${ownCookie}; ${other}` } })).toBe('login_required')
  expect(one.resolved).toEqual([])
})

test('a login route begins the sign-in for a navigation and nothing else (AR-16)', async () => {
  const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'cross-site' }

  expect(await codeOf(world(), { url: '/login-route', headers: navigation })).toBe('login')
  expect(await codeOf(world(), { url: '/login-route', headers: { 'sec-fetch-mode': 'cors' } })).toBe('login_required')
  expect(await codeOf(world(), { url: '/login-route', method: 'POST', headers: navigation })).toBe('login_required')
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Config } from '../../src/config/schema.ts'
import { CookieJar } from '../../src/http/cookies.ts'
import { RequestHeaders } from '../../src/proxy/request-headers.ts'
import { ResponseHeaders } from '../../src/proxy/response-headers.ts'
import { RouteTable } from '../../src/proxy/route-table.ts'
import type { Session } from '../../src/session/session.ts'

const provider = { issuer: 'https://id.example', clientId: 'shop', clientSecret: 'secret' }

/** The two header builders of the first of these routes. */
function headersOf(...routes: object[]) {
  const config = Config.parse({ publicUrl: 'https://app.example', provider, routes })
  const jar = new CookieJar(config)
  const route = new RouteTable(config).routes[0]!
  return {
    up: new RequestHeaders(route, { config, stripOwnCookies: (header) => jar.stripOwnCookies(header) }),
    down: new ResponseHeaders(route, {
      upstreamSetCookieAllowed: (setCookie) => jar.upstreamSetCookieAllowed(setCookie),
      upstreamOrigin: 'http://orders:3000',
      basePath: '/bff',
    }),
  }
}

const route = { path: '/api', upstream: 'http://orders:3000', rewrite: '/v1' }

function session(claims: Record<string, unknown>): Session {
  return {
    ref: 'r'.repeat(43),
    version: 1,
    provider: 'default',
    issuer: 'https://id.example',
    configuredIssuer: 'https://id.example',
    sub: 'alice',
    createdAt: 0,
    expiresAt: 1,
    claims,
    tokens: { accessToken: 'AT', tokenType: 'bearer', accessTokenExpiresAt: 1 },
  }
}

type Pairs = readonly (readonly [string, string])[]

/** What an upstream gets of these fields, names in lower case. */
function sent(up: RequestHeaders, fields: Pairs, facts: object = {}): [string, string][] {
  const rawHeaders = fields.flat()
  const connection = fields
    .filter(([name]) => name.toLowerCase() === 'connection')
    .map(([, value]) => value)
    .join(', ')
  const built = up.build(
    { httpVersion: '1.1', rawHeaders, headers: { connection: connection === '' ? undefined : connection } },
    {
      session: null,
      requestId: 'req-1',
      forwardedFor: '192.0.2.1',
      credentials: ['authorization', 'Bearer AT'],
      upstreamHost: 'orders:3000',
      ...facts,
    },
  )
  return pairs(built)
}

function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((name, at) => (at % 2 === 0 ? [[name.toLowerCase(), flat[at + 1]!] as [string, string]] : []))
}

function all(list: readonly [string, string][], name: string): string[] {
  return list.filter(([one]) => one === name).map(([, value]) => value)
}

describe('what goes upstream', () => {
  test('what the gateway says itself, each once (PX-07, PX-08, PX-09)', () => {
    const fields = sent(headersOf(route).up, [['Host', 'app.example']])

    expect(fields.filter(([name]) => name !== 'traceparent')).toEqual([
      ['host', 'orders:3000'],
      ['via', '1.1 sidegate'],
      ['x-forwarded-for', '192.0.2.1'],
      ['x-forwarded-host', 'app.example'],
      ['x-forwarded-proto', 'https'],
      ['x-request-id', 'req-1'],
      ['authorization', 'Bearer AT'],
    ])
    expect(all(fields, 'traceparent')).toEqual([expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)])
  })

  test.each([
    'Authorization',
    'authorization',
    'AUTHORIZATION',
    'HTTP_AUTHORIZATION',
    'DPoP',
    'Proxy-Authorization',
    'Proxy',
    'X-Forwarded-User',
    'x-forwarded-user',
    'X_Forwarded_User',
    'x_forwarded-user',
    'X.Forwarded.User',
    'X-Forwarded-Email',
    'X-Forwarded-Groups',
    'X-Forwarded-Preferred-Username',
    'X-Forwarded-Access-Token',
    'X-Auth-Request-User',
    'X-Auth-Request-Anything',
    'X-Remote-User',
    'Remote-User',
    'REMOTE_USER',
    'Remote.User',
    'X-User',
    'OIDC_CLAIM_sub',
    'OIDC-Claim-Sub',
    'X-SSL-Client-S-DN',
    'X-Client-Cert',
    'X-Client-Cert-Chain',
    'X-Original-URL',
    'X-Rewrite-URL',
    'X-HTTP-Method-Override',
    'X-HTTP-Method',
    'X-Method-Override',
    'X-Real-IP',
    'Forwarded',
    'X-Forwarded-Port',
    'X-Forwarded-Prefix',
    'True-Client-IP',
    'CF-Connecting-IP',
    'X-Staff-Id',
    'x_staff_id',
    'X-Amzn-Oidc-Data',
    'X-Token-Subject',
    'X-Userinfo',
    'X-Id-Token',
    'X-Access-Token',
    'X-Authenticated-User',
    'X-Pomerium-Jwt-Assertion',
    'X_Request_Id',
  ])('a client cannot say %s (PX-06)', (name) => {
    const { up } = headersOf(route, {
      path: '/other',
      upstream: 'http://b:1',
      identityHeaders: { 'X-Staff-Id': 'sub' },
    })

    const fields = sent(up, [
      [name, 'evil'],
      ['Accept', '*/*'],
    ])

    expect(fields.flat().join(' ')).not.toContain('evil')
    expect(all(fields, 'accept')).toEqual(['*/*'])
  })

  test.each([
    'TE',
    'Trailer',
    'Keep-Alive',
    'Proxy-Connection',
    'Upgrade',
    'HTTP2-Settings',
    'Expect',
    'Transfer-Encoding',
    'Content-Length',
  ])('%s belongs to the connection and is consumed (PX-05)', (name) => {
    expect(
      sent(headersOf(route).up, [[name, 'evil']])
        .flat()
        .join(' '),
    ).not.toContain('evil')
  })

  test('Connection removes what it names of the client, and nothing that the gateway adds (PX-05)', () => {
    const fields = sent(headersOf(route).up, [
      ['Connection', 'close, X-Private, authorization, x-forwarded-for'],
      ['connection', 'Via, X-Request-Id, host'],
      ['X-Private', '1'],
      ['X-Public', '2'],
    ])

    expect(all(fields, 'x-private')).toEqual([])
    expect(all(fields, 'x-public')).toEqual(['2'])
    for (const name of ['authorization', 'x-forwarded-for', 'via', 'x-request-id', 'host'])
      expect(all(fields, name)).toHaveLength(1)
    expect(all(fields, 'connection')).toEqual([])
  })

  test('our cookies stay, others pass, and with `cookies: false` none does (PX-04)', () => {
    const cookie: Pairs = [
      ['Cookie', 'theme=dark; __Host-Http-sidegate=secret; __Secure-sidegate-tx-a=secret'],
      ['cookie', 'a=1'],
    ]

    expect(all(sent(headersOf(route).up, cookie), 'cookie')).toEqual(['theme=dark', 'a=1'])
    expect(all(sent(headersOf({ ...route, cookies: false }).up, cookie), 'cookie')).toEqual([])
  })

  test('Via is appended; our own name in it is a loop (PX-07)', () => {
    const { up } = headersOf(route)

    expect(
      all(
        sent(up, [
          ['Via', '1.1 cdn'],
          ['via', '2 edge (x)'],
        ]),
        'via',
      ),
    ).toEqual(['1.1 cdn, 2 edge (x), 1.1 sidegate'])
    for (const via of ['1.1 sidegate', '1.0 a, HTTP/1.1 SideGate (comment)', '1.1\tsidegate']) {
      expect(() => sent(up, [['Via', via]])).toThrow(expect.objectContaining({ code: 'loop_detected' }))
    }
    expect(() => sent(up, [['Via', '1.1 sidegate-of-others']])).not.toThrow()
  })

  test('a well-formed trace goes on, a malformed one begins anew', () => {
    const { up } = headersOf(route)
    const good = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`

    expect(
      all(
        sent(up, [
          ['traceparent', good],
          ['tracestate', 'v=1,w@x=2'],
        ]),
        'traceparent',
      ),
    ).toEqual([good])
    expect(
      all(
        sent(up, [
          ['traceparent', good],
          ['tracestate', 'v=1,w@x=2'],
        ]),
        'tracestate',
      ),
    ).toEqual(['v=1,w@x=2'])
    expect(
      all(
        sent(up, [
          ['traceparent', good],
          ['tracestate', 'not a list;;='],
        ]),
        'tracestate',
      ),
    ).toEqual([])
    for (const bad of ['x', good.toUpperCase(), `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`, `${good}-extra`]) {
      const fields = sent(up, [
        ['traceparent', bad],
        ['tracestate', 'v=1'],
      ])
      expect(all(fields, 'traceparent')).not.toContain(bad)
      expect(all(fields, 'tracestate')).toEqual([])
    }
  })

  test('a claim goes up in its header: joined, without line ends, non-ASCII encoded, no two claims alike (CR/LF)', () => {
    const { up } = headersOf({
      ...route,
      identityHeaders: { 'X-User': 'sub', 'X-Groups': 'groups', 'X-Deep': 'a.b', 'X-None': 'none' },
    })
    const claims = { sub: 'zoë\r\nX-Evil: 1', groups: ['a,b', 'c%2C', 'd e'], a: { b: true } }

    const fields = sent(up, [['X-User', 'mallory']], { session: session(claims) })

    expect(all(fields, 'x-user')).toEqual(['zo%C3%AB%0D%0AX-Evil: 1'])
    expect(all(fields, 'x-groups')).toEqual(['a%2Cb,c%252C,d e'])
    expect(all(fields, 'x-deep')).toEqual(['true'])
    expect(all(fields, 'x-none')).toEqual([])
  })

  test('a claim too long for a header fails instead of going up in half', () => {
    const { up } = headersOf({ ...route, identityHeaders: { 'X-Groups': 'groups' } })
    const groups = Array.from({ length: 1_000 }, (_, index) => `group-${index}`)

    expect(() => sent(up, [], { session: session({ groups }) })).toThrow(expect.objectContaining({ code: 'forbidden' }))
  })

  test('`headers.set` and `headers.remove` have the last word, and Host can be the public one', () => {
    const { up } = headersOf({
      ...route,
      preserveHost: true,
      headers: { set: { 'X-Api-Version': '2' }, remove: ['Accept-Language', 'User-Agent'] },
    })

    const fields = sent(up, [
      ['accept_language', 'de'],
      ['User-Agent', 'x'],
      ['x-api-version', '1'],
      ['Accept', 'a/b'],
    ])

    expect(all(fields, 'x-api-version')).toEqual(['2'])
    expect(fields.flat()).not.toContain('de')
    expect(all(fields, 'user-agent')).toEqual([])
    expect(all(fields, 'accept')).toEqual(['a/b'])
    expect(all(fields, 'host')).toEqual(['app.example'])
  })

  test('whatever fields a client sends: one Authorization, one Host, no cookie of ours, no line end (PX-06)', () => {
    const { up } = headersOf(route)
    const name = fc.oneof(
      fc.constantFrom(
        'Authorization',
        'authorization',
        'Connection',
        'Cookie',
        'Via',
        'Host',
        'X-Forwarded-For',
        '__proto__',
        'constructor',
      ),
      fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/),
    )
    const value = fc.oneof(
      fc.constantFrom(
        'Bearer evil',
        'authorization, host',
        '__Host-Http-sidegate=secret',
        'a=1; __host-http-sidegate=secret',
      ),
      fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]{0,40}$/),
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 12 }), (fields) => {
        let result: [string, string][]
        try {
          result = sent(up, fields)
        } catch (error) {
          expect(error).toMatchObject({ code: 'loop_detected' })
          return
        }
        expect(all(result, 'authorization')).toEqual(['Bearer AT'])
        expect(all(result, 'host')).toEqual(['orders:3000'])
        expect(all(result, 'cookie').join()).not.toContain('secret')
        expect(result.flat().join('')).not.toMatch(/[\r\n]/)
      }),
    )
  })
})

describe('what comes back', () => {
  function answered(down: ResponseHeaders, fields: Pairs, sessionUsed = true): [string, string][] {
    return pairs(
      down.build(
        fields.flat().map((one) => Buffer.from(one, 'latin1')),
        sessionUsed,
      ),
    )
  }

  test.each([
    'Connection',
    'Keep-Alive',
    'Proxy-Authenticate',
    'Proxy-Connection',
    'Trailer',
    'Upgrade',
    'Server',
    'Sidegate-Error',
    'Clear-Site-Data',
    'Access-Control-Allow-Origin',
    'Access-Control-Allow-Credentials',
    'Alt-Svc',
  ])('%s stays behind (PX-05)', (name) => {
    expect(all(answered(headersOf(route).down, [[name, 'x']]), name.toLowerCase())).toEqual([])
  })

  test('what Connection names stays behind, the rest passes in order and number', () => {
    const fields = answered(headersOf(route).down, [
      ['Connection', 'X-Private, close'],
      ['X-Private', '1'],
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2; Path=/x'],
      ['Content-Length', '2'],
      ['X-Latin', 'caf\u00e9'],
    ])

    expect(all(fields, 'x-private')).toEqual([])
    expect(all(fields, 'set-cookie')).toEqual(['a=1', 'b=2; Path=/x'])
    expect(all(fields, 'content-length')).toEqual(['2'])
    expect(all(fields, 'x-latin')).toEqual(['caf\u00e9'])
  })

  test.each([
    '__Host-Http-sidegate=evil; Path=/',
    '__host-http-sidegate=',
    ' __Secure-sidegate-current =x',
    '=__Host-Http-sidegate=x',
    'a=b, __Host-Http-sidegate=x',
  ])('an upstream cannot write our cookie by %s (PX-16)', (setCookie) => {
    expect(all(answered(headersOf(route).down, [['Set-Cookie', setCookie]]), 'set-cookie')).toEqual([])
  })

  test.each([
    [undefined, 'private'],
    ['no-store', 'no-store'],
    ['private, max-age=60', 'private, max-age=60'],
    ['public, max-age=60', 'private, max-age=60'],
    ['public, s-maxage=31536000', 'private'],
    ['S-MaxAge=5 , Public,max-age=1', 'private, max-age=1'],
    ['private="set-cookie", max-age=1', 'private, max-age=1'],
    ['no-cache="a, public", max-age=1', 'private, no-cache="a, public", max-age=1'],
    ['max-age=1, no-cache="a, public', 'private, max-age=1, no-cache="a, public'],
    [',, max-age=1,', 'private, max-age=1'],
  ])('Cache-Control %s of a session becomes %s, with Vary: Cookie (PX-15)', (value, expected) => {
    const fields = answered(headersOf(route).down, value === undefined ? [] : [['Cache-Control', value]])

    expect(all(fields, 'cache-control')).toEqual([expected])
    expect(all(fields, 'vary')).toEqual(['Cookie'])
  })

  test('without a session nothing about caching is changed', () => {
    const { down } = headersOf({ ...route, session: 'none' })

    const fields = answered(
      down,
      [
        ['Cache-Control', 'public, s-maxage=60'],
        ['Vary', 'Accept'],
        ['CDN-Cache-Control', 'max-age=9'],
      ],
      false,
    )

    expect(all(fields, 'cache-control')).toEqual(['public, s-maxage=60'])
    expect(all(fields, 'vary')).toEqual(['Accept'])
    expect(all(fields, 'cdn-cache-control')).toEqual(['max-age=9'])
  })

  test('Vary keeps what is there, a CDN is told nothing else, and the anonymous answer of an optional route varies too', () => {
    const { down } = headersOf({ ...route, session: 'optional' })

    expect(
      all(
        answered(down, [
          ['Vary', 'Accept'],
          ['vary', 'Origin'],
        ]),
        'vary',
      ),
    ).toEqual(['Accept, Origin, Cookie'])
    expect(all(answered(down, [['Vary', '*']]), 'vary')).toEqual(['*'])
    expect(all(answered(down, [['Vary', 'x, COOKIE']]), 'vary')).toEqual(['x, COOKIE'])
    expect(all(answered(down, [['CDN-Cache-Control', 'public']]), 'cdn-cache-control')).toEqual([])
    expect(all(answered(down, [], false), 'vary')).toEqual(['Cookie'])
  })

  test('nosniff and same-origin are added where the upstream says nothing', () => {
    const { down } = headersOf(route)

    expect(all(answered(down, []), 'x-content-type-options')).toEqual(['nosniff'])
    expect(all(answered(down, []), 'cross-origin-resource-policy')).toEqual(['same-origin'])
    expect(
      all(answered(down, [['Cross-Origin-Resource-Policy', 'cross-origin']]), 'cross-origin-resource-policy'),
    ).toEqual(['cross-origin'])
  })

  test.each([
    ['http://orders:3000/v1/y?z=1#f', '/api/y?z=1#f'],
    ['http://orders:3000/v1', '/api'],
    ['//orders:3000/v1/y', '/api/y'],
    ['/v1/y?a=/v1/', '/api/y?a=/v1/'],
    ['/api/y', '/api/y'],
    ['/other', '/other'],
    ['/bff/login', '/bff/login'],
    ['y/z', 'y/z'],
    ['?page=2', '?page=2'],
    ['https://id.example/authorize', 'https://id.example/authorize'],
    ['http://orders:3000/admin', undefined],
    ['http://orders:3000//evil.example', undefined],
    ['http://[', undefined],
  ])('Location %s arrives as %s', (location, expected) => {
    expect(all(answered(headersOf(route).down, [['Location', location]]), 'location')).toEqual(
      expected === undefined ? [] : [expected],
    )
  })

  test.each(['/v1/\\elsewhere.example', '/v1/\t/elsewhere.example', '/v1//elsewhere.example'])(
    'Location %j is not mapped to an address that names a host',
    (location) => {
      const { down } = headersOf({ path: '/', upstream: 'http://orders:3000', rewrite: '/v1' })

      expect(all(answered(down, [['Location', location]]), 'location')).toEqual([location])
    },
  )

  test('no answer holds up all others by the length of a field: a thousand with nothing but commas or quotes are read', () => {
    const { down } = headersOf(route)
    for (let count = 0; count < 500; count += 1) {
      answered(down, [['Cache-Control', 'a,'.repeat(8_000)]])
      answered(down, [['WWW-Authenticate', `Bearer realm="${'\\"'.repeat(7_000)}`]])
    }
  })

  test.each([
    ['Bearer error="invalid_token", error_description="a, Basic b"', true],
    ['DPoP algs="ES256"', true],
    ['Basic realm="x"', false],
    ['Bearer realm="x", Basic realm="y"', false],
    ['Negotiate', false],
    ['Digest realm="x", nonce="y"', false],
    ['Bearer realm="a \\" b"', true],
    ['Bearer realm="x, Basic realm=y', false],
    ['Bearer realm="x\\"', false],
  ])('challenge %s passes: %s (PX-13)', (challenge, passes) => {
    expect(all(answered(headersOf(route).down, [['WWW-Authenticate', challenge]]), 'www-authenticate')).toHaveLength(
      passes ? 1 : 0,
    )
  })

  test('a transfer coding other than chunked cannot be handed on', () => {
    const { down } = headersOf(route)

    expect(() => answered(down, [['Transfer-Encoding', 'gzip, chunked']])).toThrow(
      expect.objectContaining({ code: 'upstream_unavailable' }),
    )
    expect(() => answered(down, [['Transfer-Encoding', 'Chunked']])).not.toThrow()
  })
})

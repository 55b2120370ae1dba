import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Config } from '../../src/config/schema.ts'
import { parseRequestTarget } from '../../src/http/request-path.ts'
import { RouteTable } from '../../src/proxy/route-table.ts'

const publicUrl = new URL('https://app.example')

function tableOf(...routes: object[]): RouteTable {
  const provider = { issuer: 'https://id.example', clientId: 'shop', clientSecret: 'secret' }
  return new RouteTable(Config.parse({ publicUrl: publicUrl.href, provider, routes }))
}

function match(table: RouteTable, target: string) {
  return table.match(parseRequestTarget(target, publicUrl))
}

const shop = tableOf(
  { path: '/', upstream: 'http://web:3000' },
  { path: '/api/', upstream: 'http://api:3000', rewrite: '/v1/' },
  { path: '/api/public/', upstream: 'http://api:3000', rewrite: '/v1/public/', session: 'none' },
  { path: '/reports', upstream: 'http://reports:3000', rewrite: '/' },
)

describe('which route a path belongs to', () => {
  test.each([
    ['/', ''],
    ['/index.html', ''],
    ['/api', '/api'],
    ['/api/', '/api'],
    ['/api/x', '/api'],
    ['/apix', ''],
    ['/api.json', ''],
    ['/API/x', ''],
    ['/api/public', '/api/public'],
    ['/api/public/x', '/api/public'],
    ['/api/publicity', '/api'],
    ['/api/secret/public/x', '/api'],
    ['/api/x;a=b/y', '/api'],
    ['/api/...', '/api'],
    ['/api/a..b', '/api'],
  ])('%s belongs to the longest path on a segment boundary', (path, route) => {
    expect(match(shop, path)?.path).toBe(route)
  })

  test('whatever the routes and the path, it is the longest of those that cover it', () => {
    const segments = fc.array(fc.constantFrom('a', 'b', 'ab', 'a.b', ''), { maxLength: 4 })
    const path = segments.map((names) => `/${names.join('/')}`)
    fc.assert(
      fc.property(
        fc.uniqueArray(
          segments.map((names) => names.filter((name) => name !== '')),
          {
            selector: (names) => names.join('/'),
            minLength: 1,
            maxLength: 8,
          },
        ),
        path,
        (routes, asked) => {
          const table = tableOf(
            ...routes.map((names) => ({ path: `/${names.join('/')}`, upstream: 'http://api:3000' })),
          )
          const covering = table.routes.filter((route) => route.covers(asked))
          const longest = covering.toSorted((a, b) => b.path.length - a.path.length)[0]

          expect(table.match({ path: asked, query: '', readings: [] })?.path).toBe(longest?.path)
        },
      ),
    )
  })

  test.each(['/bff', '/bff/', '/bff/login', '/bff/nothing'])('%s is ours and never a route', (path) => {
    expect(match(shop, path)).toBeUndefined()
  })

  test.each([
    '/api%2Fpublic/x',
    '/api//public/x',
    '/api/%70ublic/x',
    '/%61pi/x',
    '/bff%2Flogin',
    '/%62ff/login',
    '/;a/bff/login',
    '/api;v=1/x',
    '/api/public;x/y',
    '/api/Public/x',
    '/api/%50ublic/x',
    '/api/public%3Fx',
    '/api%23x',
    '/api/public./x',
    '/reports//evil.example/x',
    '/reports/%2Fevil.example/x',
    '/reports/%5Cevil.example/x',
  ])('%s could be read as another route and is refused (PX-02)', (path) => {
    expect(() => match(shop, path)).toThrow(expect.objectContaining({ code: 'invalid_request' }))
  })

  test.each(['/api/Private/x', '/REPORTS', '/api/x%2FPublic', '/reports/a//b', '/reports/http://x'])(
    '%s is odd, and nobody takes it for another route’s',
    (path) => {
      expect(match(shop, path)).toBeDefined()
    },
  )

  test('a route with capitals is found in lower case, too, where its upstream has another route', () => {
    const table = tableOf(
      { path: '/api', upstream: 'http://api:3000' },
      { path: '/api/Staff', upstream: 'http://api:3000' },
      { path: '/Api/files', upstream: 'http://files:3000' },
    )

    expect(() => match(table, '/api/staff/x')).toThrow(expect.objectContaining({ code: 'invalid_request' }))
    expect(match(table, '/api/Staff/x')?.path).toBe('/api/Staff')
    expect(match(table, '/api/files/x')?.path).toBe('/api')
  })

  test.each(['/api/public/x%2Fy', '/api/a//b', '/api/%7Euser', '/x;/bff', '/files/%C3%A9;v=1'])(
    '%s has several readings, all of the same route, and passes',
    (path) => {
      expect(match(shop, path)).toBeDefined()
    },
  )

  test('a path that nobody configured has no route', () => {
    const table = tableOf({ path: '/api', upstream: 'http://api:3000' })

    expect(match(table, '/other')).toBeUndefined()
    expect(match(table, '/apis')).toBeUndefined()
  })
})

describe('what the upstream is asked for', () => {
  test.each([
    ['/api/orders', '/v1', 'http://orders:3000', '/api/orders/7', '/v1/7'],
    ['/api/orders', '/v1', 'http://orders:3000', '/api/orders', '/v1'],
    ['/api/orders', '/v1/', 'http://orders:3000', '/api/orders/', '/v1/'],
    ['/api/orders/', '/v1', 'http://orders:3000', '/api/orders//7', '/v1//7'],
    ['/api', undefined, 'http://api:3000', '/api/x', '/api/x'],
    ['/api', '/', 'http://api:3000/', '/api', '/'],
    ['/api', '/', 'http://api:3000/', '/api/x', '/x'],
    ['/', undefined, 'http://web:3000', '/', '/'],
    ['/', '/app', 'http://web:3000', '/', '/app/'],
    ['/', '/app', 'http://web:3000', '/a%3Fb', '/app/a%3Fb'],
    ['/api', '/v1', 'unix:/run/api.sock', '/api/x', '/v1/x'],
  ])('route %s rewritten to %s at %s sends %s as %s', (path, rewrite, upstream, asked, sent) => {
    const route = match(tableOf({ path, upstream, ...(rewrite && { rewrite }) }), asked)

    expect(route?.target(asked)).toBe(sent)
  })

  test('the path of a development server is a base under which everything lies', () => {
    const route = match(tableOf({ path: '/', spa: { devServer: 'http://127.0.0.1:5173/base/' } }), '/src/main.ts')

    expect(route?.target('/src/main.ts')).toBe('/base/src/main.ts')
    expect(route?.target('/')).toBe('/base/')
  })

  test('whatever is legal and asked for below a route is sent below its prefix, byte for byte (PX-01)', () => {
    const character = fc.constantFrom(..."abcXYZ019-._~!$&'()*+,;=:@/%41%C3%A9%20".match(/%..%..|%..|./g)!)
    fc.assert(
      fc.property(fc.array(character, { maxLength: 30 }), (rest) => {
        const path = `/api/${rest.join('')}`
        let route: ReturnType<typeof match>
        try {
          route = match(shop, path)
        } catch {
          return
        }
        if (route?.path === '/api') expect(route.target(path)).toBe(`/v1/${rest.join('')}`)
        else expect(route?.target(path).startsWith('/v1/public')).toBe(true)
      }),
    )
  })

  test('a path of the upstream is mapped back only from below the prefix', () => {
    const route = match(shop, '/api/x')

    expect(route?.publicPath('/v1/y')).toBe('/api/y')
    expect(route?.publicPath('/v1')).toBe('/api')
    expect(route?.publicPath('/v1x')).toBeUndefined()
    expect(route?.publicPath('/admin')).toBeUndefined()
  })
})

describe('what the judge learns of a route', () => {
  test('the defaults: a session, the user token, every method, slides', () => {
    expect(match(shop, '/api/x')?.policy).toMatchObject({
      name: '/api',
      kind: 'route',
      session: 'required',
      csrf: 'rule',
      needsToken: true,
      slides: true,
      methods: undefined,
      allow: undefined,
    })
    expect(match(shop, '/api/public/x')?.policy).toMatchObject({ session: 'none', needsToken: false })
  })

  test('rules are lists, and a SPA takes GET and HEAD and needs no token', () => {
    const table = tableOf(
      {
        path: '/api',
        upstream: 'http://a:1',
        allow: { groups: 'sales' },
        acr: ['a', 'b'],
        maxAge: '5m',
        methods: ['GET'],
      },
      { path: '/', spa: { directory: './public' } },
    )

    expect(match(table, '/api')?.policy.allow).toEqual(new Map([['groups', ['sales']]]))
    expect(match(table, '/api')?.policy).toMatchObject({
      acr: ['a', 'b'],
      maxAgeMs: 300_000,
      methods: new Set(['GET']),
    })
    expect(match(table, '/')?.policy).toMatchObject({ methods: new Set(['GET', 'HEAD']), needsToken: false })
  })
})

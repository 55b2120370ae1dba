import { createHash } from 'node:crypto'
import fc from 'fast-check'
import cookiePlugin from '@fastify/cookie'
import { fastify } from 'fastify'
import { describe, expect, test } from 'vitest'
import type { RouteConfig } from '../../src/config/schema.ts'
import { type CookieConfig, type SetCookie, CookieJar, cookieNames, sessionSameSite } from '../../src/http/cookies.ts'

const SID = 'A-_'.padEnd(43, 'x')
const SESSION = '__Host-Http-sidegate'
const TX = '__Secure-sidegate-tx-'

interface Variation {
  readonly name?: string
  readonly cookie?: Partial<CookieConfig['session']['cookie']>
  readonly sessions?: readonly RouteConfig['session'][]
  readonly responseMode?: string
}

function configured({
  name = 'sidegate',
  cookie = {},
  sessions = ['required'],
  responseMode = 'query',
}: Variation = {}): CookieConfig {
  return {
    name,
    basePath: '/bff',
    provider: { responseMode },
    providers: undefined,
    routes: sessions.map((session) => ({ session })),
    session: { cookie: { persistent: false, insecure: false, ...cookie } },
  } as unknown as CookieConfig // the parts that cookies read
}

const jar = new CookieJar(configured())
const carrying = (cookie?: string) => ({ headers: { cookie } })

const writer = fastify()
await writer.register(cookiePlugin, { hook: false })

/** The line as it is sent, in parts: the pair first, then the attributes by name. */
function partsOf({ name, value, options }: SetCookie): string[] {
  const [pair = '', ...attributes] = writer.serializeCookie(name, value, options).split('; ')
  return [pair, ...attributes.toSorted()]
}

describe('names and attributes', () => {
  test('the session cookie is Secure, HttpOnly, host-bound and lasts as long as the browser (SC-01, SC-02, SC-03)', () => {
    const parts = partsOf(jar.setSession(SID, 2_000, 1_000))

    expect(parts).toEqual([`${SESSION}=${SID}`, 'HttpOnly', 'Path=/', 'SameSite=Strict', 'Secure'])
  })

  test('a persistent session cookie ends with the session, not later (SC-04)', () => {
    const persistent = new CookieJar(configured({ cookie: { persistent: true } }))
    expect(partsOf(persistent.setSession(SID, 3_600_999, 1_000))).toContain('Max-Age=3599')
    expect(partsOf(persistent.setSession(SID, 0, 1_000))).toContain('Max-Age=0')
  })

  test.each([
    [['required', 'none'], 'strict'],
    [['none'], 'strict'],
    [['required', 'login'], 'lax'],
    [['optional', 'none'], 'lax'],
  ] as const)('with routes %j the session cookie is %s (SC-02)', (sessions, expected) => {
    expect(sessionSameSite(configured({ sessions }))).toBe(expected)
  })

  test('session.cookie.sameSite overrides what the routes ask for', () => {
    expect(sessionSameSite(configured({ cookie: { sameSite: 'lax' } }))).toBe('lax')
    expect(sessionSameSite(configured({ cookie: { sameSite: 'strict' } }))).toBe('strict')
  })

  test('the callback’s cookies are Lax and scoped to the callback (CB-03)', () => {
    const scope = ['Path=/bff/callback', 'SameSite=Lax', 'Secure']
    expect(partsOf(jar.setTransaction('ab12cd34', 'sealed'))).toEqual([
      `${TX}ab12cd34=sealed`,
      'HttpOnly',
      'Max-Age=600',
      ...scope,
    ])
    expect(partsOf(jar.setCurrent('sealed', 61_000, 1_000))).toEqual([
      '__Secure-sidegate-current=sealed',
      'HttpOnly',
      'Max-Age=60',
      ...scope,
    ])
  })

  test('with form_post the callback’s cookies are None and Secure (CB-03)', () => {
    const posted = new CookieJar(configured({ responseMode: 'form_post.jwt' }))
    for (const cookie of [posted.setTransaction('ab12cd34', 'sealed'), posted.setCurrent('sealed', 61_000, 1_000)]) {
      expect(partsOf(cookie)).toEqual(expect.arrayContaining(['SameSite=None', 'Secure', 'HttpOnly']))
    }
  })

  test('a cookie is cleared with the attributes that it was set with', () => {
    const pairs = [
      [jar.setSession(SID, 1, 0), jar.clearSession()],
      [jar.setTransaction('ab12cd34', 'x'), jar.clearTransaction('ab12cd34')],
    ] as const
    for (const [set, clear] of pairs) {
      const attributes = (cookie: SetCookie) =>
        partsOf(cookie)
          .slice(1)
          .filter((one) => !/^(Max-Age|Expires)=/.test(one))
      expect(attributes(clear)).toEqual(attributes(set))
      expect([clear.name, clear.value]).toEqual([set.name, ''])
      expect(partsOf(clear)).toEqual(expect.arrayContaining(['Max-Age=0', 'Expires=Thu, 01 Jan 1970 00:00:00 GMT']))
    }
  })

  test('the word in the names is the configured one; the insecure ones have no prefix and no Secure (SC-06)', () => {
    expect(cookieNames(configured({ name: 'shop' }))).toEqual({
      session: '__Host-Http-shop',
      transactionPrefix: '__Secure-shop-tx-',
      current: '__Secure-shop-current',
    })
    const insecure = new CookieJar(configured({ cookie: { insecure: true } }))
    expect(partsOf(insecure.setSession(SID, 1, 0))).toEqual([
      `sidegate=${SID}`,
      'HttpOnly',
      'Path=/',
      'SameSite=Strict',
    ])
    expect(partsOf(insecure.setTransaction('i', 'x'))).not.toContain('Secure')
  })

  test('the longest lines stay far below what browsers take (SC-04)', () => {
    const long = new CookieJar(configured({ name: 'n'.repeat(32), cookie: { persistent: true } }))
    const [pair = '', ...attributes] = partsOf(long.setSession(SID, 4e12, 0))
    expect(pair.length).toBeLessThan(4_096)
    expect(attributes.join(';').length).toBeLessThan(1_024)
  })
})

describe('reading', () => {
  test.each([
    ['alone', `${SESSION}=${SID}`],
    ['among others', `a=1; ${SESSION}=${SID}; b=2`],
    ['without spaces', `a=1;${SESSION}=${SID};b=2`],
    ['with tabs', `a=1;\t${SESSION}=${SID}`],
  ])('the session cookie is read %s', (_, cookie) => {
    expect(jar.sessionOf(carrying(cookie))).toBe(SID)
  })

  test.each([
    ['no cookie', undefined],
    ['an empty field', ''],
    ['an empty value', `${SESSION}=`],
    ['no value', SESSION],
    ['a short value', `${SESSION}=x`],
    ['a value that was cut', `${SESSION}=${SID.slice(0, 39)}`],
    ['a long value', `${SESSION}=${'a'.repeat(4_000)}`],
    ['a NUL', `${SESSION}=%00`],
    ['a traversal', `${SESSION}=../../etc`],
    ['a star', `${SESSION}=*`],
    ['a quote', `${SESSION}=' or 1=1--`],
    ['the name of a prototype', `${SESSION}=__proto__`],
    ['JSON', `${SESSION}={"sid":1}`],
    ['quotes around it', `${SESSION}="${SID}"`],
    ['padding', `${SESSION}=${SID}=`],
    ['escapes', `${SESSION}=%41${SID.slice(1)}`],
    ['a name in capitals', `${SESSION.toUpperCase()}=${SID}`],
    ['a name that is longer', `x${SESSION}=${SID}`],
    ['a nameless cookie that poses as it', `=${SESSION}=${SID}`],
    ['a no-break space in front, where browsers see no prefix', `\u00a0${SESSION}=${SID}`],
    ['a no-break space behind the name', `${SESSION}\u00a0=${SID}`],
    ['a no-break space behind the value', `${SESSION}=${SID}\u00a0`],
    ['two values', `${SESSION}=evil; ${SESSION}=${SID}`],
    ['the same value twice', `${SESSION}=${SID}; ${SESSION}=${SID}`],
  ])('%s is no session (SC-05)', (_, cookie) => {
    expect(jar.sessionOf(carrying(cookie))).toBeUndefined()
  })

  test('the ref of a session is base64url of SHA-256 of its cookie value', () => {
    expect(jar.refOf(SID)).toBe(createHash('sha256').update(SID, 'ascii').digest('base64url'))
  })

  test('transactions are read by id; what came twice or malformed is left out', () => {
    const found = jar.transactionsOf(
      carrying(`${TX}one=a.b-c_d; ${TX}two=x; ${TX}two=y; ${TX}=z; ${TX}bad id=z; ${TX}three=a b; ${TX}four=; other=1`),
    )
    expect([...found]).toEqual([['one', 'a.b-c_d']])
  })

  test('a transaction cookie that comes three times is left out too', () => {
    expect(jar.transactionsOf(carrying(`${TX}a=1; ${TX}a=2; ${TX}a=3`)).size).toBe(0)
  })

  test('the current cookie is read when it came once', () => {
    const name = '__Secure-sidegate-current'
    expect(jar.currentOf(carrying(`a=b; ${name}=sealed`))).toBe('sealed')
    expect(jar.currentOf(carrying(`${name}=one; ${name}=two`))).toBeUndefined()
    expect(jar.currentOf(carrying(`${name}=`))).toBeUndefined()
  })
})

describe('keeping them from upstreams', () => {
  test.each([
    ['alone', `${SESSION}=${SID}`, undefined],
    ['among others', `a=1; ${SESSION}=${SID}; b=2`, 'a=1; b=2'],
    ['quoted', `${SESSION}="${SID}"; b=2`, 'b=2'],
    ['with spaces', `  ${SESSION} = ${SID} ;b=2`, 'b=2'],
    ['in capitals', `${SESSION.toUpperCase()}=${SID}; b=2`, 'b=2'],
    ['nameless', `=${SESSION}=${SID}; b=2`, 'b=2'],
    ['after two equals signs', `==${SESSION}=${SID}; b=2`, 'b=2'],
    ['with tabs', `a=1;\t${SESSION}=${SID}`, 'a=1'],
    ['twice', `${SESSION}=evil; ${SESSION}=${SID}; b=2`, 'b=2'],
    ['percent-encoded', `%5f%5FHost-Http-sidegate=${SID}; b=2`, 'b=2'],
    ['encoded twice', `%255f_Host-Http-sidegate=${SID}; b=2`, 'b=2'],
    ['after a comma', `a=1,${SESSION}=${SID}; b=2`, 'b=2'],
    ['after a space', `a=1 ${SESSION}=${SID}; b=2`, 'b=2'],
    ['inside quotes', `a="x; ${SESSION}=${SID}"; b=2`, 'a="x; b=2'],
    ['with dots for hyphens', `__Host.Http.sidegate=${SID}; b=2`, 'b=2'],
    ['without a value', `${SESSION}; b=2`, 'b=2'],
    ['as a transaction', `${TX}abc=sealed; b=2`, 'b=2'],
    ['as the current one', `__Secure-sidegate-current=sealed; b=2`, 'b=2'],
  ])('our cookie is stripped: %s (PX-04)', (_, header, expected) => {
    expect(jar.stripOwnCookies(header)).toBe(expected)
  })

  test.each([
    'a=1;b=2;  c=3',
    'theme=dark',
    'x=100%25',
    '__Host-Http-other=1; sidegate=2',
    'mysidegate=1',
    'csrf=a=b=c',
  ])('other cookies go on: %s', (header) => {
    expect(jar.stripOwnCookies(header)?.replace(/;\s*/g, ';')).toBe(header.replace(/;\s*/g, ';'))
  })

  test('a header without a word of ours is not rewritten at all', () => {
    expect(jar.stripOwnCookies('a=1;b=2;  c="3"')).toBe('a=1;b=2;  c="3"')
    expect(jar.stripOwnCookies(undefined)).toBeUndefined()
    expect(jar.stripOwnCookies('')).toBeUndefined()
  })

  test('what is left beside ours is the same, however and wherever it was joined', () => {
    const piece = fc.constantFrom('a=1', 'b="2"', 'c', 'd=x=y', '')
    const join = fc.constantFrom('; ', '; ', ';', ';  ', ' ; ', ';\t', '\t;')
    fc.assert(
      fc.property(
        fc.array(fc.tuple(piece, join), { maxLength: 4 }),
        fc.array(fc.tuple(join, piece), { maxLength: 4 }),
        (before, after) => {
          const header = `${before.flat().join('')}${SESSION}=${SID}${after.flat().join('')}`
          const others = [...before.map(([one]) => one), ...after.map(([, one]) => one)].filter((one) => one !== '')
          expect(jar.stripOwnCookies(header)).toBe(others.length > 0 ? others.join('; ') : undefined)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  test('no spelling of a header lets a readable session value through (PX-04)', () => {
    const noise = fc.constantFrom('', ' ', '\t', '"', ',', '=', ';', 'a=1', '; ', '%20', '$Version=1', '\\')
    const casing = fc.constantFrom(SESSION, SESSION.toLowerCase(), SESSION.toUpperCase(), '%5F_Host-Http-sidegate')
    fc.assert(
      fc.property(
        fc.array(noise, { maxLength: 5 }),
        casing,
        fc.array(noise, { maxLength: 3 }),
        (before, name, after) => {
          // A letter in front of the name makes another name of it, which no server takes for ours.
          const start = before.join('')
          fc.pre(!/[A-Za-z0-9$]$/.test(start))
          expect(jar.stripOwnCookies(`${start}${name}=${SID}${after.join('')}`) ?? '').not.toContain(SID)
        },
      ),
      { numRuns: 2_000 },
    )
  })

  test.each([
    `${SESSION}=x; Path=/`,
    `${SESSION}=; Max-Age=0`,
    `${SESSION.toLowerCase()}=x`,
    ` ${SESSION} =x`,
    `=${SESSION}=x`,
    SESSION,
    `${TX}anything=x; Path=/bff/callback`,
    '__Secure-sidegate-current=x',
    '%5F_Host-Http-sidegate=x',
  ])('an upstream cannot set %s (PX-16)', (line) => {
    expect(jar.upstreamSetCookieAllowed(line)).toBe(false)
  })

  test.each(['a=1; Path=/', 'theme=dark; Domain=app.example', `x=1; Path=/${SESSION}`, 'sidegate=1'])(
    'an upstream may set %s',
    (line) => {
      expect(jar.upstreamSetCookieAllowed(line)).toBe(true)
    },
  )

  test('without prefixes the plain names are ours', () => {
    const insecure = new CookieJar(configured({ cookie: { insecure: true } }))
    expect(insecure.stripOwnCookies(`sidegate=${SID}; sidegate-tx-a=1; other=2`)).toBe('other=2')
    expect(insecure.isOwnCookieName('Sidegate')).toBe(true)
    expect(insecure.isOwnCookieName('sidegates')).toBe(false)
  })
})

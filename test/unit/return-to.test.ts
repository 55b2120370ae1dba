import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseReturnTo } from '../../src/http/return-to.ts'
import { benignReturns, hasCorpora, openRedirects } from '../support/corpus.ts'

const publicUrl = new URL('https://app.example')
const options = { publicUrl, basePath: '/bff', allowedOrigins: ['https://spa.app.example'] }

/** What a query parser makes of the value; `undefined` where it is malformed and never gets here. */
function received(sent: string): string | undefined {
  try {
    return decodeURIComponent(sent)
  } catch {
    return undefined
  }
}

test.each([
  '//phish.example/x',
  '///phish.example',
  '/\\phish.example',
  '\\\\phish.example',
  '/%2f/phish.example',
  '/%5cphish.example',
  '/\t/phish.example',
  '/\n/phish.example',
  '\r\n//phish.example',
  ' //phish.example',
  '/\u00a0/phish.example',
  '/\u200b/phish.example',
  '/\u2028x',
  '/\u0000',
  '/./../..//phish.example',
  '/a/../../phish',
  '/a/%2e%2e/%2e%2e/b',
  '/.//phish.example',
  'phish.example',
  'orders/7',
  '.',
  '?next=/',
  '#top',
  'https://phish.example/',
  'https:phish.example',
  'https:/phish.example',
  'HTTPS://APP.EXAMPLE.phish.example/',
  'https://app.example@phish.example/',
  'http://app.example/',
  '//app.example/',
  'javascript:alert(1)',
  'JavaScript:alert(1)//app.example',
  'data:text/html,x',
  'blob:https://app.example/1',
  'file:///etc/passwd',
  '/x\r\nSet-Cookie: a=b',
  '/x"><script>',
  '/a b',
])('%j leads away or to nothing: the start page takes its place (AR-10)', (value) => {
  expect(parseReturnTo(value, options)).toEqual({ returnTo: '/', refused: true })
})

test.each([
  ['/', '/'],
  ['/invoices/2024-11', '/invoices/2024-11'],
  ['/invoices/', '/invoices/'],
  ['/find?what=tea&what=cups&', '/find?what=tea&what=cups&'],
  ['/find?from=//elsewhere.example/a', '/find?from=//elsewhere.example/a'],
  ['/find?from=https://elsewhere.example', '/find?from=https://elsewhere.example'],
  ['/find?share=50%25&plus=1+1', '/find?share=50%25&plus=1+1'],
  ['/app#/inbox/3?unread', '/app#/inbox/3?unread'],
  ['/app#access', '/app#access'],
  ['/a;v=2/b,c/(d)/e!f/g*', '/a;v=2/b,c/(d)/e!f/g*'],
  ['/user/@me/~home', '/user/@me/~home'],
  ['/time/12:30', '/time/12:30'],
  ['/a..b/.hidden/c.', '/a..b/.hidden/c.'],
  ['/Z%C3%BCrich', '/Z%C3%BCrich'],
  ['/Zürich?q=日本', '/Z%C3%BCrich?q=%E6%97%A5%E6%9C%AC'],
  ['/👩\u200d💻', '/%F0%9F%91%A9%E2%80%8D%F0%9F%92%BB'],
])('%j survives as %s (AR-10)', (value, location) => {
  expect(parseReturnTo(value, options)).toEqual({ returnTo: location, refused: false })
})

test.each(['/%252f%252fphish.example', '/%255cphish.example', '/a/%252e%252e/b', '/%2562ff/logout'])(
  'what another decoding would turn into something else is refused, or kept and harmless: %s (AR-10)',
  (value) => {
    const { returnTo } = parseReturnTo(value, options)

    expect(['/', value]).toContain(returnTo)
  },
)

describe.skipIf(!hasCorpora)('the corpus of return addresses', () => {
  const redirects = openRedirects()
  const refuse = redirects
    .filter(({ section }) => /^refuse: (leaves|the gateway|too long)/.test(section))
    .map(({ sent }) => sent.replace(/^\/AUTH\//, '/BFF/').replace(/^\/auth%252F/, '/bff%252F'))
  const either = redirects.filter(({ section }) => section.startsWith('refuse-or-same-origin'))
  const benign = benignReturns()

  test('has been read', () => {
    for (const some of [refuse, either, benign]) expect(some.length).toBeGreaterThan(20)
  })

  test.each(refuse)('the start page takes the place of %s (AR-10)', (sent) => {
    const value = received(sent)

    const result = parseReturnTo(value, options)

    expect(result.returnTo).toBe('/')
    // Some of the corpus resolve to nothing at all: there is nothing to refuse in them.
    expect(result.refused).toBe(value !== '')
  })

  test.each(either)('$sent is refused, or kept and harmless (AR-10)', ({ sent }) => {
    const value = received(sent) ?? ''

    const { returnTo } = parseReturnTo(value, options)

    expect(['/', value.replace(/\P{ASCII}+/gu, encodeURIComponent)]).toContain(returnTo)
    expect(new URL(returnTo, 'https://app.example/bff/callback').origin).toBe('https://app.example')
    expect(returnTo).toMatch(/^\/(?![/\\])/)
  })

  test.each(benign)('$location survives (AR-10)', ({ sent, location }) => {
    expect(parseReturnTo(received(sent), options)).toEqual({ returnTo: location, refused: false })
  })
})

test.each([
  '/bff',
  '/bff/',
  '/BFF/logout',
  '/bff;x/logout',
  '/%62ff/logout',
  '/bff//callback?code=x',
  '/x;y/..;/bff/login',
  '/bff#x',
  '/bff?x',
])('an endpoint of the gateway is no place to come back to: %s (AR-10)', (value) => {
  expect(parseReturnTo(value, options)).toEqual({ returnTo: '/', refused: true })
})

test('what only looks like an endpoint is an address like any other', () => {
  expect(parseReturnTo('/bffs/logout', options).returnTo).toBe('/bffs/logout')
  expect(parseReturnTo('/x/bff/logout', options).returnTo).toBe('/x/bff/logout')
})

test('nothing given is the start page, and no refusal', () => {
  expect(parseReturnTo(undefined, options)).toEqual({ returnTo: '/', refused: false })
  expect(parseReturnTo('', options)).toEqual({ returnTo: '/', refused: false })
})

test('an absolute address passes on a listed origin only, and is that origin’s as a browser reads it', () => {
  for (const good of [
    'https://spa.app.example',
    'https://spa.app.example/',
    'https://spa.app.example/a?b#c',
    'https://spa.app.example//x',
  ]) {
    expect(parseReturnTo(good, options)).toEqual({ returnTo: good, refused: false })
  }
  for (const bad of [
    'https://spa.app.example.evil.example/',
    'https://spa.app.example@evil.example/',
    'https://spa.app.example:444/',
    'http://spa.app.example/',
    'https://spa.app.example\\@evil.example',
    'HTTPS://evil.example/https://spa.app.example/',
    'https://app.example/',
  ]) {
    expect(parseReturnTo(bad, options), bad).toEqual({ returnTo: '/', refused: true })
  }
})

test('2,048 characters are kept and 2,049 are not, counted as they will be sent', () => {
  const path = `/${'a'.repeat(2_047)}`
  expect(parseReturnTo(path, options).returnTo).toBe(path)
  expect(parseReturnTo(`${path}a`, options)).toEqual({ returnTo: '/', refused: true })
  expect(parseReturnTo(`/${'日'.repeat(300)}`, options)).toEqual({ returnTo: '/', refused: true })
})

const piece = fc.oneof(
  fc.constantFrom(
    '/',
    '\\',
    '.',
    '..',
    '%2e',
    '%2f',
    '%5c',
    '%',
    ':',
    '@',
    '?',
    '#',
    '\t',
    '\r\n',
    ' ',
    '\u00a0',
    'evil.example',
    'https:',
    'bff',
    '&',
    '日',
    '\u200b',
    '"',
    '<',
  ),
  fc.string({ unit: 'binary', maxLength: 3 }),
)

test('whatever is asked for, Location stays printable and on our own origin, outside the gateway’s endpoints', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
      for (const value of [pieces.join(''), `/${pieces.join('')}`]) {
        const { returnTo } = parseReturnTo(value, options)
        expect(returnTo).toMatch(/^\/(?![/\\])[!#-~]*$/)
        const url = new URL(returnTo, 'https://app.example/bff/callback')
        expect(url.origin).toBe('https://app.example')
        expect(url.username).toBe('')
        expect(url.pathname).not.toMatch(/^\/(\/|bff(\/|$))/i)
      }
    }),
    { numRuns: 5_000 },
  )
})

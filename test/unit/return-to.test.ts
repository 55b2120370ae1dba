import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseReturnTo } from '../../src/http/return-to.ts'
import { benignReturns, openRedirects } from '../support/corpus.ts'

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

const refuse = openRedirects()
  .filter(({ section }) => /^refuse: (leaves|the gateway|too long)/.test(section))
  .map(({ sent }) => sent.replace(/^\/AUTH\//, '/BFF/').replace(/^\/auth%252F/, '/bff%252F'))

test.each(refuse)('the start page takes the place of %s (AR-10)', (sent) => {
  const value = received(sent)

  const result = parseReturnTo(value, options)

  expect(result.returnTo).toBe('/')
  // Some of the corpus resolve to nothing at all: there is nothing to refuse in them.
  expect(result.refused).toBe(value !== '')
})

const either = openRedirects().filter(({ section }) => section.startsWith('refuse-or-same-origin'))

test.each(either)('$sent is refused, or kept and harmless (AR-10)', ({ sent }) => {
  const value = received(sent) ?? ''

  const { returnTo } = parseReturnTo(value, options)

  expect(['/', value.replace(/\P{ASCII}+/gu, encodeURIComponent)]).toContain(returnTo)
  expect(new URL(returnTo, 'https://app.example/bff/callback').origin).toBe('https://app.example')
  expect(returnTo).toMatch(/^\/(?![/\\])/)
})

test.each(benignReturns())('$location survives (AR-10)', ({ sent, location }) => {
  expect(parseReturnTo(received(sent), options)).toEqual({ returnTo: location, refused: false })
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

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readForm } from '../../src/http/form.ts'
import { parseQuery } from '../../src/http/query.ts'
import { hasCorpora, openRedirects } from '../support/corpus.ts'
import { codeOf } from '../support/failures.ts'

const known = ['returnTo', 'mode']

test.each([
  ['', {}],
  ['?', {}],
  ['?returnTo=%2Fa%3Fb', { returnTo: '/a?b' }],
  ['?returnTo=/a+b', { returnTo: '/a b' }],
  ['?returnTo=/search?q=1', { returnTo: '/search?q=1' }],
  ['?mode=popup&returnTo=', { mode: 'popup', returnTo: '' }],
  ['?mode', { mode: '' }],
  ['?other=1&other=2&mode=popup', { mode: 'popup' }],
  ['?%zz=1&mode=popup', { mode: 'popup' }],
  ['?other=%zz&mode=popup', { mode: 'popup' }],
  ['?RETURNTO=x&return%5Fto=y&returnTo[0]=z&returnTo.x=w', {}],
  ['?r%65turnTo=/a', { returnTo: '/a' }],
  ['?&&mode=popup&', { mode: 'popup' }],
  ['?__proto__=x&constructor=y', {}],
])('%s holds %j', (query, expected) => {
  expect(Object.fromEntries(parseQuery(query, known))).toEqual(expected)
})

test.each([
  ['a known parameter twice', '?mode=a&mode=b'],
  ['a known parameter twice with one value', '?mode=a&x=1&mode=a'],
  ['a known parameter twice, once in escapes', '?mode=a&%6dode=b'],
  ['a broken escape', '?returnTo=%zz'],
  ['a cut escape', '?returnTo=%2'],
  ['an escape that is no UTF-8', '?returnTo=/%ff'],
  ['a value over 4 kB', `?returnTo=/${'a'.repeat(4_096)}`],
  ['a hundred and one parameters', `?${'a=1&'.repeat(100)}mode=popup`],
])('%s is 400 (CB-08)', (_, query) => {
  expect(codeOf(() => parseQuery(query, known))).toBe('invalid_request')
})

test.each(['%', '/%', '/a%2', '/%g0', '/%u002f', '/%%41', '/%80', '/%c3', '/%c3%28', '/%ed%a0%80', '/%f8%80%80%80'])(
  'a broken %s never becomes a return address (AR-10)',
  (sent) => {
    expect(codeOf(() => parseQuery(`?returnTo=${sent}`, known))).toBe('invalid_request')
  },
)

describe.skipIf(!hasCorpora)('the corpus of malformed return addresses', () => {
  const malformed = openRedirects().filter(({ section }) => section.startsWith('refuse: malformed'))

  test('has been read', () => {
    expect(malformed.length).toBeGreaterThan(5)
  })

  test.each(malformed)('$sent never becomes one (AR-10)', ({ sent }) => {
    expect(codeOf(() => parseQuery(`?returnTo=${sent}`, known))).toBe('invalid_request')
  })
})

test('whatever the query is, it is refused or read as URLSearchParams reads it', () => {
  const text = fc.array(
    fc.oneof(fc.constantFrom('returnTo', 'mode', '=', '&', '%', '+', '%41', ';', '%26'), fc.string({ maxLength: 3 })),
  )
  fc.assert(
    fc.property(text, (parts) => {
      const query = parts.join('').replaceAll('?', '')
      if (codeOf(() => parseQuery(`?${query}`, known)) !== undefined) return
      const found = parseQuery(`?${query}`, known)
      const expected = new URLSearchParams(query)
      for (const name of known) expect(found.get(name) ?? null).toBe(expected.get(name))
    }),
    { numRuns: 2_000 },
  )
})

test('a form is read as it was posted; anything else is no form', async () => {
  await expect(readForm({ body: new URLSearchParams('a=1&a=2') })).resolves.toEqual(new URLSearchParams('a=1&a=2'))
  await expect(readForm({ body: { a: 1 } })).rejects.toMatchObject({ code: 'unsupported_media_type' })
  await expect(readForm({ body: undefined })).rejects.toMatchObject({ code: 'unsupported_media_type' })
})

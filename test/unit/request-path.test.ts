import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseRequestTarget } from '../../src/http/request-path.ts'
import { attackCases, hasCorpora } from '../support/corpus.ts'
import { codeOf } from '../support/failures.ts'

const publicUrl = new URL('https://app.example')
const parse = (target: string) => parseRequestTarget(target, publicUrl)
const failure = (target: string) => codeOf(() => parse(target))

test.each([
  ['/', '/', ''],
  ['/api/orders/42', '/api/orders/42', ''],
  ['/api/x?f=../../etc/passwd&u=//evil.example', '/api/x', '?f=../../etc/passwd&u=//evil.example'],
  ['/api/x?a=b?c=d&&=&e=%2F&f=a+b&g', '/api/x', '?a=b?c=d&&=&e=%2F&f=a+b&g'],
  ['/search?q=100%&re=\\d+', '/search', '?q=100%&re=\\d+'],
  ['/api/x?', '/api/x', '?'],
  ['/api/:80/x', '/api/:80/x', ''],
  ['/api/http://evil.example/x', '/api/http://evil.example/x', ''],
  ['/api/x;a=b/y', '/api/x;a=b/y', ''],
  ['/api/a%3Fb%2Fc%23d', '/api/a%3Fb%2Fc%23d', ''],
  ['/api/a..b/.../.well-known/x.', '/api/a..b/.../.well-known/x.', ''],
  ['/api//x', '/api//x', ''],
  ['/caf%C3%A9/%E6%97%A5', '/caf%C3%A9/%E6%97%A5', ''],
  ["/~user/@me/o'brien/a,b=c*d!(e)$&+|[x]{y}", "/~user/@me/o'brien/a,b=c*d!(e)$&+|[x]{y}", ''],
])('a legal target comes through byte for byte: %s (PX-02)', (target, path, query) => {
  expect(parse(target)).toMatchObject({ path, query })
})

test.each([
  ['..', '/api/../admin'],
  ['.. at the end', '/api/..'],
  ['a single dot', '/api/./x'],
  ['%2e%2e', '/api/%2e%2e/admin'],
  ['.%2E', '/api/.%2E/admin'],
  ['.. before an encoded slash', '/api/..%2Fadmin'],
  ['.. between encoded backslashes', '/api/x%5c..%5cadmin'],
  ['.. with parameters', '/api/..;a=b/admin'],
  ['.. with encoded parameters', '/api/..%3bx/admin'],
  ['.. with a space behind it', '/api/..%20/admin'],
  ['.. encoded twice', '/api/%252e%252e/admin'],
  ['.. encoded thrice', '/api/%25252e./admin'],
  ['.. in full-width characters', '/api/%EF%BC%8E%EF%BC%8E/admin'],
  ['one character that means two dots', '/api/%E2%80%A5/admin'],
  ['.. between full-width slashes', '/api/x%EF%BC%8F..%EF%BC%8Fadmin'],
  ['.. between slashes of arithmetic', '/api/x%E2%88%95..%E2%81%84admin'],
  ['.. before an encoded question mark', '/api/..%3Fx'],
  ['.. with a space in between', '/api/.%20./admin'],
  ['.. with an invisible character behind it', '/api/..%EF%BB%BF/admin'],
  ['.. beside an escape that decodes to nothing at the second look', '/api/%252e%252e/100%25/x'],
])('a dot segment is refused in any spelling: %s (PX-02)', (_, target) => {
  expect(failure(target)).toBe('invalid_request')
})

test.each([
  ['a raw #', '/api/secret#/api/public'],
  ['a # in the query', '/api/x?a#b'],
  ['a raw backslash', '/api/\\evil.example/x'],
  ['a space', '/api/a b'],
  ['a control character', '/api/\u0001'],
  ['DEL', '/api/\u007f'],
  ['a byte that is no ASCII', '/api/\u00e9'],
  ['two slashes at the front', '//evil.example/api/x'],
  ['an encoded slash behind the first', '/%2fevil.example/api/x'],
  ['a doubly encoded backslash behind the first', '/%255cevil.example/api/x'],
  ['a malformed escape', '/api/%zz'],
  ['a lone percent sign', '/api/%'],
  ['%u escapes', '/api/%u002e'],
  ['an escape that is no UTF-8', '/api/%e9'],
  ['overlong UTF-8', '/api/%c0%ae%c0%ae/admin'],
  ['an encoded NUL', '/api/%00'],
  ['an encoded line end', '/api/%0d%0aX-Evil:%201'],
  ['escapes of escapes of escapes', '/api/%2525252541'],
  ['no path at all', 'api/x'],
  ['an asterisk', '*'],
  ['nothing', ''],
  ['another scheme', 'ftp://app.example/x'],
  ['user information', 'https://user@app.example/x'],
])('%s is refused with 400', (_, target) => {
  expect(failure(target)).toBe('invalid_request')
})

test('a target over 16 kB is too long; one of 8 kB is not', () => {
  expect(failure(`/${'a'.repeat(16_384)}`)).toBe('uri_too_long')
  expect(failure(`/${'a'.repeat(8_192)}`)).toBeUndefined()
})

test.each([
  ['http://app.example/api/x?y=1', '/api/x', '?y=1'],
  ['HTTPS://APP.example:443/api/x', '/api/x', ''],
  ['https://app.example', '/', ''],
  ['https://app.example?y=1', '/', '?y=1'],
])('an absolute form of our own authority is read like its path: %s', (target, path, query) => {
  expect(parse(target)).toMatchObject({ path, query })
})

test.each([
  'http://10.0.0.7:3000/admin',
  'https://app.example:444/x',
  'http://evil.example/',
  'http:///x',
  'http://app.example./x',
])('an absolute form of a foreign authority is misdirected: %s', (target) => {
  expect(failure(target)).toBe('misdirected_request')
})

test.each([
  ['/%61pi/x', '/api/x'],
  ['/%2561pi/x', '/api/x'],
  ['/api;v=1/public', '/api/public'],
  ['/api/%70ublic%2Fx', '/api/public/x'],
  ['/x/%3bv/y', '/x/y'],
  ['/api//public///x', '/api/public/x'],
  ['/;/api', '/api'],
  ['/a%5Cb', '/a/b'],
  ['/api%3Fx', '/api'],
  ['/api%23x/y', '/api'],
  ['/api./x', '/api/x'],
  ['/api%20/x', '/api/x'],
  ['/api%EF%BC%8Fx', '/api/x'],
])('what another server may read is handed on: %s may be %s (PX-02)', (target, reading) => {
  expect(parse(target).readings).toContain(reading)
})

test('a path that can be read in one way has no other readings', () => {
  expect(parse('/api/orders/42.json?x=%2e%2e;y').readings).toEqual([])
  expect(parse('/.well-known/x').readings).toEqual([])
})

const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code))
const piece = fc.oneof(
  fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '%2E',
    '%252e',
    '%2f',
    '%5c',
    ';',
    '\\',
    '%',
    '?',
    '#',
    '%00',
    '%c0%ae',
    'api',
    'bff',
  ),
  byte,
)
const targets = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`)

test('whatever is accepted comes through unchanged, and stays below where it points in every reading', () => {
  fc.assert(
    fc.property(targets, (target) => {
      if (failure(target) !== undefined) {
        expect(failure(target)).toBe('invalid_request')
        return
      }
      const { path, query, readings } = parse(target)
      expect(path + query).toBe(target)
      for (const reading of [path, ...readings]) {
        // The judge of another house: a URL parser finds no dot segment that would lead out.
        const escaped = reading.replaceAll('?', '%3F').replaceAll('#', '%23')
        expect(new URL(`http://x/a/b${escaped}`).pathname).toMatch(/^\/a\/b/)
        if (!reading.startsWith('//')) expect(new URL(escaped, 'http://x').host).toBe('x')
      }
    }),
    { numRuns: 3_000 },
  )
})

test('the longest and worst target has few readings: work that grows with its square cannot be asked for', () => {
  for (const unit of ['%25', '%61', ';', '//', '%2fa', '%2541', '%252541']) {
    const target = `/a${unit.repeat(Math.floor(16_000 / unit.length))}`
    if (failure(target) === undefined) expect(parse(target).readings.length).toBeLessThanOrEqual(16)
  }
})

describe.skipIf(!hasCorpora)('the corpus of request targets', () => {
  const targets = attackCases()
    .filter(({ category }) => ['target', 'path', 'anonymous'].includes(category))
    .map(({ name, raw, expect: { status } }) => ({
      name,
      target: /^\S+ (.*) HTTP\/1\.1\r\n/.exec(raw)?.[1] ?? '',
      status,
    }))
    .filter(({ target, status }) => target.startsWith('/') && status.every((one) => one === 400 || one === 404))

  test('has been read', () => {
    expect(targets.length).toBeGreaterThan(20)
  })

  // 404 is the route table's to say, of paths that are fine in themselves.
  test.each(targets.filter(({ name }) => name !== 'case-prefix'))(
    '$name is refused by its path alone (PX-02)',
    ({ target }) => {
      expect(['invalid_request', 'uri_too_long']).toContain(failure(target))
    },
  )
})

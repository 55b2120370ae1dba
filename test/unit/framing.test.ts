import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checkFraming } from '../../src/http/framing.ts'
import { codeOf } from '../support/failures.ts'

function failure(fields: readonly (readonly [string, string])[], httpVersion = '1.1'): string | undefined {
  return codeOf(() => checkFraming({ httpVersion, rawHeaders: fields.flat() }))
}

const host = ['Host', 'app.example'] as const

test.each([
  ['a name', 'app.example'],
  ['a name with a port', 'app.example:8443'],
  ['a foreign name, which is never used', 'evil.example'],
  ['a name with a final dot', 'app.example.'],
  ['a name of Docker', 'my_app-1'],
  ['an IPv4 address', '127.0.0.1:8080'],
  ['an IPv6 address', '[::1]:8080'],
  ['an IPv6 address without a port', '[2001:db8::1]'],
])('one Host with %s passes', (_, value) => {
  expect(failure([['hOsT', value]])).toBeUndefined()
})

test.each([
  ['nothing', ''],
  ['user information', 'user@app.example'],
  ['a byte that is no ASCII', 'app\u00e9.example'],
  ['a space', 'app.example evil'],
  ['a comma', 'app.example, evil.example'],
  ['a slash', 'app.example/x'],
  ['a backslash', 'app.example\\x'],
  ['a question mark', 'app.example?x'],
  ['a #', 'app.example#x'],
  ['an escape', 'app%2eexample'],
  ['an empty port', 'app.example:'],
  ['a word for a port', 'app.example:http'],
  ['a port over 65535', 'app.example:65536'],
  ['two ports', 'app.example:1:2'],
  ['a bracket that is not closed', '[::1'],
  ['a bracket around no address', '[::g]'],
  ['a bracket around half an address', '[1:2]'],
  ['a zone', '[fe80::1%eth0]'],
  ['a control character', 'app.example\u0000'],
  ['a leading dot', '.app.example'],
  ['300 characters', 'a'.repeat(300)],
])('a Host with %s is refused (PX-10)', (_, value) => {
  expect(failure([['Host', value]])).toBe('invalid_request')
})

test('no Host, two Hosts and two equal Hosts are refused (PX-10)', () => {
  expect(failure([])).toBe('invalid_request')
  expect(failure([host, ['host', 'evil.example']])).toBe('invalid_request')
  expect(failure([host, ['X', 'y'], host])).toBe('invalid_request')
})

test('an expectation that is not 100-continue is refused, whatever its case', () => {
  expect(failure([host, ['expect', '100-Continue']])).toBeUndefined()
  expect(failure([host, ['Expect', '200-ok']])).toBe('invalid_request')
  expect(failure([host, ['Expect', '100-continue, x']])).toBe('invalid_request')
})

test.each(['0.9', '2.0', '1.2', ''])('HTTP version %s is refused', (version) => {
  expect(failure([host], version)).toBe('invalid_request')
})

test('HTTP/1.0 passes without Transfer-Encoding and not with it (PX-10)', () => {
  expect(failure([host, ['Content-Length', '2']], '1.0')).toBeUndefined()
  expect(failure([host, ['Transfer-Encoding', 'chunked']], '1.0')).toBe('invalid_request')
})

test('a chunked body passes; any other Transfer-Encoding does not (PX-10)', () => {
  expect(failure([host, ['Transfer-Encoding', 'chunked']])).toBeUndefined()
  for (const coding of [
    'identity, chunked',
    'chunked, chunked',
    'gzip, chunked',
    'identity',
    'xchunked',
    '"chunked"',
    '',
    'chunked;q=1',
  ]) {
    expect(failure([host, ['Transfer-Encoding', coding]]), coding).toBe('invalid_request')
  }
})

test('Transfer-Encoding given twice, or together with Content-Length, is refused (PX-10)', () => {
  expect(failure([host, ['Transfer-Encoding', 'identity'], ['Transfer-Encoding', 'chunked']])).toBe('invalid_request')
  expect(failure([host, ['Transfer-Encoding', 'chunked'], ['CONTENT-LENGTH', '0']])).toBe('invalid_request')
  expect(failure([host, ['Content-Length', '2'], ['Content-Length', '2']])).toBe('invalid_request')
})

test('more than 500 header fields are too many, however short they are', () => {
  const fields = Array.from({ length: 499 }, (_, index) => [`a${index}`, ''] as const)
  expect(failure([host, ...fields])).toBeUndefined()
  expect(failure([host, ...fields, ['one', 'more']])).toBe('headers_too_large')
})

test('whatever the fields are, what passes has one Host that a URL parser reads as it stands', () => {
  const value = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom('app.example', '[::1]:80', 'a:b', 'a@b', '1.2.3.4'),
  )
  const fields = fc.array(fc.tuple(fc.constantFrom('Host', 'host', 'X'), value), { maxLength: 4 })
  fc.assert(
    fc.property(fields, (list) => {
      if (failure(list) !== undefined) return
      const hosts = list.filter(([name]) => name.toLowerCase() === 'host')
      expect(hosts).toHaveLength(1)
      const authority = hosts[0]?.[1] ?? ''
      // RFC 3986 takes `a.0` for a name; the WHATWG parser takes every name that ends in a number for an IPv4 address.
      if (/(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?(?::\d+)?$/i.test(authority) && !URL.canParse(`http://${authority}/`)) return
      const url = new URL(`http://${authority}/x`)
      expect(url.username + url.password + url.search + url.hash).toBe('')
      expect(url.pathname).toBe('/x')
    }),
    { numRuns: 2_000 },
  )
})

import { expect, test } from 'vitest'
import { SecurityHeaders } from '../../src/http/security-headers.ts'

const publicUrl = 'https://app.example'
const defaults = { csp: undefined, hsts: true, frameAncestors: "'none'" } as const

test('an answer that no browser shows is not sniffed, not embedded and sent over TLS from then on (CF-03, CS-09)', () => {
  expect(new SecurityHeaders({ publicUrl, headers: defaults }).answer).toEqual({
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'same-origin',
    'strict-transport-security': 'max-age=31536000',
    'cross-origin-resource-policy': 'same-origin',
  })
})

test.each([
  [publicUrl, true, 'max-age=31536000'],
  [publicUrl, 63_072_000_000, 'max-age=63072000'],
  [publicUrl, false, undefined],
  ['http://localhost:8080', true, undefined],
])('on %s with hsts %s the field is %s (CF-03)', (url, hsts, expected) => {
  const { answer } = new SecurityHeaders({ publicUrl: url, headers: { ...defaults, hsts } })
  expect(answer['strict-transport-security']).toBe(expected)
})

test('one of our own pages allows what it holds and nothing else, whatever the application’s policy is (CF-07)', () => {
  for (const csp of [undefined, "default-src *; script-src 'unsafe-inline'"]) {
    const page = new SecurityHeaders({ publicUrl, headers: { ...defaults, csp } }).page({ style: "'sha256-a'" })
    expect(page).toMatchObject({
      'content-security-policy':
        "default-src 'none'; style-src 'sha256-a'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
      'cross-origin-opener-policy': 'same-origin-allow-popups',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'same-origin',
    })
  }
})

test('a page with a script allows that script by its hash', () => {
  const page = new SecurityHeaders({ publicUrl, headers: defaults }).page({ style: "'sha256-a'", script: "'sha256-b'" })
  expect(page['content-security-policy']).toContain("; script-src 'sha256-b';")
})

test.each([
  [undefined, "frame-ancestors 'none'"],
  ["default-src 'self'", "default-src 'self'; frame-ancestors 'none'"],
  ["default-src 'self'; ", "default-src 'self'; frame-ancestors 'none'"],
  ["Frame-Ancestors 'self'; default-src 'self'", "Frame-Ancestors 'self'; default-src 'self'"],
])('a hosted application with the policy %s gets %s', (csp, expected) => {
  const { spa } = new SecurityHeaders({ publicUrl, headers: { ...defaults, csp } })
  expect(spa['content-security-policy']).toBe(expected)
})

test('who may frame the pages is configured in one place for all', () => {
  const headers = new SecurityHeaders({ publicUrl, headers: { ...defaults, frameAncestors: 'https://portal.example' } })
  expect(headers.spa['content-security-policy']).toBe('frame-ancestors https://portal.example')
  expect(headers.page({ style: "'x'" })['content-security-policy']).toMatch(
    /frame-ancestors https:\/\/portal\.example$/,
  )
})

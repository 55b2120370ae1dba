import { expect, test } from 'vitest'
import { CookieJar } from '../support/cookie-jar.ts'

const app = new URL('http://localhost:8080/bff/login')
const day = 86_400_000

test.each([
  ['__Host-a=1; Path=/', 'prefix without Secure'],
  ['__Host-a=1; Secure; Path=/bff', '__Host- with Domain or a path'],
  ['__Host-a=1; Secure', '__Host- with Domain or a path'],
  ['__host-a=1; Secure; Path=/; Domain=localhost', '__Host- with Domain or a path'],
  ['__Host-Http-a=1; Secure; Path=/', '__Http- without HttpOnly'],
  ['__Secure-a=1', 'prefix without Secure'],
  ['a=1; SameSite=None', 'SameSite=None without Secure'],
  ['a=1; Domain=example.com', 'foreign domain'],
  [`a=${'x'.repeat(4_096)}`, 'too long'],
])('a browser refuses the cookie %s', (field, reason) => {
  const jar = new CookieJar(() => 0)

  expect(jar.set(field, app, 'strict')).toBe(reason)
  expect(jar.all()).toEqual([])
})

test('a Secure cookie is taken and sent over http on loopback, and nowhere else', () => {
  const jar = new CookieJar(() => 0)

  expect(jar.set('a=1; Secure', new URL('http://app.example.com/'), 'strict')).toBe('secure cookie over plain http')
  expect(jar.set('__Host-Http-a=1; Secure; HttpOnly; Path=/', app, 'strict')).toBeUndefined()
  expect(jar.header(new URL('http://localhost:9999/x'), 'strict')).toBe('__Host-Http-a=1')
})

test('a cookie goes to its path and below on a segment boundary, the longest path first', () => {
  const jar = new CookieJar(() => 0)
  jar.set('a=root; Path=/', app, 'strict')
  jar.set('b=deep; Path=/bff/callback', app, 'strict')

  expect(jar.header(new URL('http://localhost:8080/bff/callback?code=1'), 'lax')).toBe('b=deep; a=root')
  expect(jar.header(new URL('http://localhost:8080/bff/callbacks'), 'lax')).toBe('a=root')
})

test('a cookie ends by Max-Age before Expires, and with a Max-Age of 0 at once', () => {
  let now = 0
  const jar = new CookieJar(() => now)
  jar.set(`a=1; Max-Age=10; Expires=${new Date(day).toUTCString()}; Path=/`, app, 'strict')
  jar.set('b=1; Path=/', app, 'strict')
  jar.set('b=; Path=/; Max-Age=0', app, 'strict')

  expect(jar.header(app, 'strict')).toBe('a=1')
  now = 10_000
  expect(jar.header(app, 'strict')).toBeUndefined()
})

test('SameSite decides: Strict stays at home, Lax follows links, nothing goes with a third-party call', () => {
  let now = 0
  const jar = new CookieJar(() => now)
  for (const field of ['s=1; SameSite=Strict', 'l=1; SameSite=Lax', 'd=1', 'n=1; SameSite=None; Secure']) {
    jar.set(`${field}; Path=/`, app, 'strict')
  }

  expect(jar.header(app, 'strict')).toBe('s=1; l=1; d=1; n=1')
  expect(jar.header(app, 'lax')).toBe('l=1; d=1; n=1')
  expect(jar.header(app, 'lax-unsafe')).toBe('d=1; n=1')
  now = 120_000
  expect(jar.header(app, 'lax-unsafe')).toBe('n=1')
  expect(jar.header(app, 'third-party')).toBeUndefined()
})

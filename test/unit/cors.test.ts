import { expect, test } from 'vitest'
import { corsHeaders, isPreflight, preflightHeaders } from '../../src/http/cors.ts'

const LISTED = 'https://spa.app.example'
const preflight = {
  origin: LISTED,
  'access-control-request-method': 'PUT',
  'access-control-request-headers': 'x-csrf, content-type',
}

test('a preflight is an OPTIONS with an origin and the method that it asks for', () => {
  expect(isPreflight('OPTIONS', preflight)).toBe(true)
  expect(isPreflight('GET', preflight)).toBe(false)
  expect(isPreflight('OPTIONS', { origin: LISTED })).toBe(false)
  expect(isPreflight('OPTIONS', { 'access-control-request-method': 'PUT' })).toBe(false)
})

test('a listed origin is allowed by name, with credentials, and never by a star (CS-03)', () => {
  expect(preflightHeaders(preflight, [LISTED], new Set(['GET', 'PUT']))).toEqual({
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    'access-control-allow-origin': LISTED,
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'GET, PUT',
    'access-control-allow-headers': 'x-csrf, content-type',
    'access-control-max-age': '600',
  })
})

test.each([
  ['no origin is listed', LISTED, []],
  ['another origin asks', 'https://evil.example', [LISTED]],
  ['the origin is null', 'null', [LISTED]],
  ['the origin is the listed one’s child', `https://x.spa.app.example`, [LISTED]],
  ['the origin is the listed one in capitals', LISTED.toUpperCase(), [LISTED]],
  ['the listed origin stands in a longer text', `${LISTED}.evil.example`, [LISTED]],
])('nothing is allowed when %s (CS-03)', (_, origin, origins) => {
  const answers = { ...preflightHeaders({ ...preflight, origin }, origins, undefined), ...corsHeaders(origin, origins) }
  expect(Object.keys(answers).filter((name) => name.startsWith('access-control-'))).toEqual([])
})

test('requested field names that are none are not repeated', () => {
  const asked = { ...preflight, 'access-control-request-headers': 'x-csrf\r\nset-cookie: a=b' }
  expect(preflightHeaders(asked, [LISTED], undefined)).not.toHaveProperty('access-control-allow-headers')
})

test('an answer to a listed origin names it and shows our code; any answer then varies by Origin (CS-03)', () => {
  expect(corsHeaders(LISTED, [LISTED])).toMatchObject({
    vary: 'Origin',
    'access-control-allow-origin': LISTED,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': expect.stringContaining('Sidegate-Error') as string,
  })
  expect(corsHeaders(undefined, [LISTED])).toEqual({ vary: 'Origin' })
  expect(corsHeaders(LISTED, [])).toEqual({})
})

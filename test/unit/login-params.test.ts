import fc from 'fast-check'
import { expect, test } from 'vitest'
import { loginParams, readLoginParams } from '../../src/routes/login-params.ts'

test.each([
  ['prompt', 'login', true],
  ['prompt', 'none', true],
  ['prompt', 'login consent', true],
  ['prompt', 'none login', false],
  ['prompt', 'nope', false],
  ['max_age', '0', true],
  ['max_age', '-1', false],
  ['max_age', '1e3', false],
  ['login_hint', 'alice@example.com', true],
  ['login_hint', 'a\r\nb', false],
  ['login_hint', 'x'.repeat(257), false],
  ['acr_values', 'urn:a urn:b', true],
  ['acr_values', 'a  b', false],
  ['ui_locales', 'de-CH fr', true],
  ['ui_locales', 'de_CH', false],
])('%s=%s is of its type: %s (AR-14)', (name, value, isGood) => {
  const read = () => readLoginParams(new Map([[name, value]]), loginParams)

  if (isGood) expect(read()).toEqual({ [name]: value })
  else expect(read).toThrow(expect.objectContaining({ code: 'invalid_request' }))
})

test('what is not allowed never passes, whatever it is called (AR-06, AR-14)', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.constant('1')), (query) => {
      const params = readLoginParams(new Map(Object.entries(query)), ['max_age'])

      expect(Object.keys(params).filter((name) => name !== 'max_age')).toEqual([])
    }),
  )
  expect(
    readLoginParams(
      new Map([
        ['scope', 'admin'],
        ['client_id', 'x'],
        ['prompt', 'login'],
      ]),
      ['max_age'],
    ),
  ).toEqual({})
})

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { loginParams, readLoginParams } from '../../src/routes/login-params.ts'
import { stepUpFor, type StepUpOptions } from '../../src/routes/step-up.ts'

const options: StepUpOptions = { loginPath: '/bff/login', provider: 'default', config: { loginParams } }

function stepUp(wanted: Record<string, string>, changes: Partial<StepUpOptions> = {}): Record<string, unknown> {
  const { code, members, headers } = stepUpFor(new Map(Object.entries(wanted)), { ...options, ...changes })
  return { code, headers, ...members }
}

test('an API’s wish becomes a failure with the login that asks for it (PX-14, RFC 9470)', () => {
  expect(stepUp({ error: 'x', acr_values: 'urn:gold urn:silver', max_age: '300', scope: 'all' })).toEqual({
    code: 'step_up_required',
    headers: {},
    acr_values: 'urn:gold urn:silver',
    max_age: 300,
    loginUrl: '/bff/login?acr_values=urn%3Agold+urn%3Asilver&max_age=300',
  })
})

test('of several providers the one that knows the user is asked', () => {
  expect(stepUp({ max_age: '0' }, { provider: 'staff' })).toMatchObject({
    max_age: 0,
    loginUrl: '/bff/login?provider=staff&max_age=0',
  })
})

test.each<[string, Record<string, string>, Partial<StepUpOptions>]>([
  ['nothing is said', {}, {}],
  ['acr_values is none', { acr_values: 'a\tb' }, {}],
  ['max_age is no number', { max_age: '-1' }, {}],
  ['the login takes neither', { acr_values: 'gold', max_age: '5' }, { config: { loginParams: ['prompt'] } }],
])('where %s, all that can be asked for is a fresh sign-in', (_why, wanted, changes) => {
  const { code, loginUrl, ...rest } = stepUp(wanted, changes)

  expect([code, loginUrl, Object.keys(rest)]).toEqual(['step_up_required', '/bff/login?prompt=login', ['headers']])
})

test('whatever an API says, the login takes the address that comes of it (PX-14)', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[\x21-\x7e ]{0,200}$/), fc.stringMatching(/^\d{0,12}$/))
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('acr_values', 'max_age', 'prompt', 'scope'), text), (wanted) => {
      const { loginUrl } = stepUp(wanted)
      const query = new Map(new URL(String(loginUrl), 'https://app.example').searchParams)

      expect(Object.keys(readLoginParams(query, loginParams)).toSorted()).toEqual([...query.keys()].toSorted())
    }),
  )
})

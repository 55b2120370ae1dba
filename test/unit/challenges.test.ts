import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { challengesIn, parseChallenges } from '../../src/proxy/challenges.ts'

/** As `[scheme, { name: value }]`, which reads better in a table. */
function parsed(field: string): [string, Record<string, string>][] {
  return parseChallenges(field).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])
}

describe('the challenges of a WWW-Authenticate field (RFC 9110 §11.6.1)', () => {
  test.each<[string, [string, Record<string, string>][]]>([
    ['Bearer', [['bearer', {}]]],
    ['Bearer error="invalid_token"', [['bearer', { error: 'invalid_token' }]]],
    ['bEARER ERROR = invalid_token', [['bearer', { error: 'invalid_token' }]]],
    [
      'Bearer realm="a, Basic realm=\\"b\\"", error="invalid_token"',
      [['bearer', { realm: 'a, Basic realm="b"', error: 'invalid_token' }]],
    ],
    ['Bearer realm="", error="a\\\\b"', [['bearer', { realm: '', error: 'a\\b' }]]],
    [
      'Negotiate, Basic realm="x",DPoP algs="ES256 PS256", error="use_dpop_nonce"',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x' }],
        ['dpop', { algs: 'ES256 PS256', error: 'use_dpop_nonce' }],
      ],
    ],
    [
      'Negotiate YWJj==, Bearer error="x"',
      [
        ['negotiate', {}],
        ['bearer', { error: 'x' }],
      ],
    ],
    [' ,, Bearer , error="x" , , max_age=5 ,', [['bearer', { error: 'x', max_age: '5' }]]],
    ['Bearer error="first", error="second"', [['bearer', { error: 'first' }]]],
    ['Bearer error_description="caf\u00e9", error="x"', [['bearer', { error_description: 'caf\u00e9', error: 'x' }]]],
  ])('%s', (field, expected) => {
    expect(parsed(field)).toEqual(expected)
  })

  test.each<[string, [string, Record<string, string>][]]>([
    ['', []],
    ['"Bearer"', []],
    ['Bearer=x', []],
    ['Bearer error="invalid_token', [['bearer', {}]]],
    ['Bearer realm="x", error="a\u0000"', [['bearer', { realm: 'x' }]]],
    [
      'Bearer error="invalid_token", error_description="not "quoted" well", acr_values="evil"',
      [['bearer', { error: 'invalid_token', error_description: 'not ' }]],
    ],
    ['Bearer error="a" Basic realm="b"', [['bearer', { error: 'a' }]]],
    ['Bearer YWJj error="x"', [['bearer', {}]]],
  ])('%j is read as far as it is well-formed', (field, expected) => {
    expect(parsed(field)).toEqual(expected)
  })

  test('each of several fields stands for itself', () => {
    const raw = ['WWW-Authenticate', 'Basic realm="open', 'x', 'y', 'www-authenticate', 'DPoP error="use_dpop_nonce"']

    expect(challengesIn(raw.map((text) => Buffer.from(text, 'latin1'))).map(({ scheme }) => scheme)).toEqual([
      'basic',
      'dpop',
    ])
  })

  test('what is written by the grammar is read as it was meant', () => {
    const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/)
    const value = fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]{0,24}$/)
    const blank = fc.constantFrom('', ' ', '\t ')
    const comma = fc.constantFrom(',', ' , ', ',, ,', ',\t')
    const parameter = fc.tuple(token, value, blank, blank, fc.boolean())
    const challenge = fc.tuple(
      token,
      fc.uniqueArray(parameter, { maxLength: 4, selector: ([name]) => name.toLowerCase() }),
    )
    fc.assert(
      fc.property(fc.array(challenge, { minLength: 1, maxLength: 4 }), comma, (challenges, separator) => {
        const field = challenges
          .map(([scheme, params]) => {
            const written = params.map(([name, text, before, behind, asToken]) =>
              asToken && /^[\w.-]+$/.test(text)
                ? `${name}${before}=${behind}${text}`
                : `${name}${before}=${behind}"${text.replaceAll(/["\\]/g, '\\$&')}"`,
            )
            return params.length === 0 ? scheme : `${scheme} ${written.join(separator)}`
          })
          .join(separator)

        expect(parsed(field)).toEqual(
          challenges.map(([scheme, params]) => [
            scheme.toLowerCase(),
            Object.fromEntries(params.map(([name, text]) => [name.toLowerCase(), text])),
          ]),
        )
      }),
    )
  })

  test('no field makes it fail, and nothing is read that does not stand there', () => {
    const pieces = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'error', 'a', '\t', '\u00ff', '\n', '==')
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces, { maxLength: 40 }).map((list) => list.join('')),
        ),
        (field) => {
          for (const { scheme, params } of parseChallenges(field)) {
            expect(field.toLowerCase()).toContain(scheme)
            for (const name of params.keys()) expect(field.toLowerCase()).toContain(name)
          }
        },
      ),
    )
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import { ConfigError, formatPath } from '../../src/config/problem.ts'

const SECRET = 'hunter2-do-not-print'
const good = `publicUrl: https://app.example.com
provider:
  issuer: https://id.example.com
  clientId: shop
  clientSecret: \${SECRET}
routes:
  - path: /api
    upstream: http://orders:3000
`

/** The place, path and message of every problem; none where the text is taken. */
function problemsOf(load: () => unknown): string[] {
  try {
    load()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    expect(error.message).not.toContain(SECRET)
    return error.problems.map((one) => `${one.line}:${one.column} ${formatPath(one.path)}: ${one.message}`)
  }
  return []
}

const parsed = (text: string) => () => parseConfig(text, 'sidegate.yaml', { env: { SECRET, EMPTY: '' } })
const clientId = (value: string) => good.replace('clientId: shop', `clientId: ${value}`)

/** Ten keys, each nine times the one before: a page that means a billion values. */
const laughs = 'bcdefghij'.split('').map((key, index) => {
  const before = 'abcdefghij'[index]
  return `${key}: &${key} [${Array<string>(9).fill(`*${before}`).join(', ')}]`
})

const nasty: readonly [title: string, text: string, problem: RegExp][] = [
  ['nothing', '', /^1:1 : the file is empty; `sidegate init`/],
  ['comments only', '# publicUrl: x\n', /^1:1 : the file is empty/],
  ['a document of nothing', '---\n', /^1:\d : the file is empty/],
  ['a text', 'hello\n', /^1:1 : expected keys with values, .* found a text$/],
  ['a list', '- publicUrl\n', /^1:1 : expected keys with values, .* found a list$/],
  ['a web page', '<!doctype html><p>404</p>\n', /^1:1 : expected keys with values/],
  ['two documents', `${good}---\n${good}`, /^9:1 : not valid YAML: a second document begins here/],
  ['a second document after …', `${good}...\n${good}`, /^10:1 : not valid YAML: a second document/],
  ['an alias without its anchor', clientId('*shop'), /^4:13 provider\.clientId: an alias .* without its anchor/],
  ['a value within itself', clientId('&id [*id]'), /^4:18 provider\.clientId\[0\]: an alias .* cannot stand within/],
  ['a billion laughs', `a: &a [l, l, l]\n${laughs.join('\n')}\n${good}`, /^1:1 : .* more than 20000 values/],
  [
    'a merge key',
    `${good}  - path: /b\n    <<: { upstream: "http://b:1" }\n`,
    /^10:5 routes\[1\]\["<<"\]: unknown key: merge keys \(<<\) are not read here; write the keys out/,
  ],
  [
    'a key that is there twice',
    `${good}publicUrl: https://b.example.com\n`,
    /^9:1 publicUrl: is there twice; keep one$/,
  ],
  ['a tab as indent', good.replace('  clientId', '\tclientId'), /^4:1 : not valid YAML: a tab cannot indent/],
  ['a no-break space as indent', good.replace('  clientId', '\u00A0 clientId'), /^4:1 : .* no space \(U\+00A0\)$/],
  [
    'a key of no width',
    good.replace('clientId', 'client\u200BId'),
    /^4:3 .* cannot be seen \(U\+200B\); type it anew$/,
  ],
  ['a key that turns the line round', good.replace('publicUrl', '\u202EpublicUrl'), /^1:1 .*\(U\+202E\)/],
  ['a key that is a number', `${good}1: x\n`, /^9:1 \["1"\]: unknown key/],
  ['a key that is a list', `${good}? [a, b]\n: x\n`, /^9:3 : not valid YAML: expected a key that is a text$/],
  ['a key of every object', `${good}constructor: x\n`, /^9:1 constructor: unknown key; known here: name,/],
  ['a prototype', `${good}__proto__: { admin: true }\n`, /^9:1 __proto__: unknown key/],
  ['a NUL', clientId('sh\0op'), /^4:15 : .*cannot be seen \(U\+0000\) is here; is this a text file in UTF-8\?$/],
  ['an escaped NUL', clientId('"sh\\0op"'), /^4:13 provider\.clientId: holds a character that cannot be seen$/],
  ['half a character', clientId('"\\ud800"'), /^4:13 provider\.clientId: holds a character that cannot be seen$/],
  [
    'carriage returns alone',
    good.replaceAll('\n', '\r'),
    /^1:\d+ : .*carriage return alone here: save the file with LF/,
  ],
  ['a date for a duration', `${good}session: { idleTimeout: 2026-01-01 }\n`, /^9:25 .*expected a duration such as/],
  ['infinity', `${good}listen: { port: .inf }\n`, /^9:17 listen\.port: expected a number, got no finite number$/],
  ['a fraction', `${good}listen: { port: 80.5 }\n`, /^9:17 listen\.port: expected a whole number, got a fraction$/],
  ['minutes for a number', `${good}listen: { port: 12:30 }\n`, /^9:17 listen\.port: expected a number, got a text$/],
  ['yes', `${good}readiness: { requireStore: yes }\n`, /^9:28 .*expected true or false; yes, no, on and off are texts/],
  ['a function', `${good}name: !!js/function "x => x"\n`, /^9:\d+ name: expected a plain value, without a tag \(!\)$/],
  ['an object of Python', `${good}name: !!python/object/apply:os.system [id]\n`, /^9:\d+ name: expected a plain value/],
  ['a tag of another tool', `${good}name: !env NAME\n`, /^9:\d+ name: expected a plain value, without a tag/],
  ['bytes', `${good}name: !!binary aGk=\n`, /^9:\d+ name: expected a plain value, without a tag/],
  ['a set', `${good}trustedProxies: !!set { a, b }\n`, /^9:\d+ trustedProxies: expected a plain value, without a tag/],
  [
    'a quote that is not closed',
    clientId('"shop'),
    /^4:13 : not valid YAML: the quote that is opened here is not closed$/,
  ],
  ['a bracket that is not closed', `${good}trustedProxies: [10.0.0.1\n`, /^9:17 : .*the \[ that is opened here is not/],
  ['quotes of a word processor', clientId('“shop”'), /^4:13 provider\.clientId: stands in typographic quotes/],
  ['brackets without an end', `${'['.repeat(3_000)}\n${good}`, /^1:\d+ : not valid YAML: this is nested too deeply$/],
  ['a colon in a plain text', clientId('a: b'), /^4:13 : .* a text with ": " in it is written in quotes$/],
  ['a variable that is not set', clientId('${NONE}'), /^4:13 .*environment variable NONE is not set; set it, or write/],
  ['a variable with a message', clientId('${NONE:?ask the team}'), /^4:13 .*environment variable NONE: ask the team$/],
  ['an empty variable with a message', clientId('${EMPTY:?ask the team}'), /^4:13 .*EMPTY: ask the team$/],
  ['a default within a default', clientId('${A:-${B}}'), /^4:13 .*within \$\{ \} there can be no further \$\{ \}$/],
  ['a name that is none', clientId('${1A}'), /^4:13 .*expected \$\{NAME\}/],
  ['a variable as a key', good.replace('clientId:', '${SECRET}:'), /provider\["\$\{SECRET\}"\]: unknown key/],
]

test.each(nasty)('%s is refused with its place and what to do (R26, CF-01)', (_title, text, problem) => {
  const problems = problemsOf(parsed(text))

  expect(problems).toContainEqual(expect.stringMatching(problem))
  // What follows from it is little.
  expect(problems.length).toBeLessThanOrEqual(3)
})

test.each([
  ['a byte order mark', `\uFEFF${good}`],
  ['line ends of Windows', good.replaceAll('\n', '\r\n')],
  ['a document that begins with ---', `---\n${good}`],
  [
    'JSON',
    JSON.stringify({
      publicUrl: 'https://app.example.com',
      provider: { issuer: 'https://id.example.com', clientId: 'shop', clientSecret: '${SECRET}' },
      routes: [{ path: '/api', upstream: 'http://orders:3000' }],
    }),
  ],
  [
    'an alias for a value',
    `${clientId('&id shop')}cors: { origins: [] }\nlog: { level: info }\nsession: { claims: [*id] }\n`,
  ],
  ['a large comment', `# ${'x'.repeat(500_000)}\n${good}`],
])('%s is taken', (_title, text) => {
  expect(problemsOf(parsed(text))).toEqual([])
})

test('a file of nothing but mistakes is told in time, and the first hundred of them', () => {
  const keys = Array.from({ length: 9_000 }, (_, index) => `key${index}: ${index}`)

  expect(problemsOf(parsed(`${good}${keys.join('\n')}\n`)).length).toBeLessThan(600)
})

test.each([
  ['a directory', undefined, /this is a directory; name the file in it/],
  ['text in another encoding', Buffer.from(`# caf\u00E9\n${good}`, 'latin1'), /is not text in UTF-8: save it as such/],
  ['UTF-16', Buffer.from(`\uFEFF${good}`, 'utf16le'), /is not text in UTF-8/],
  ['a file of two megabytes', Buffer.alloc(2_000_000, '# \n'), /larger than 1 MB: is it the right one\?/],
])('%s is refused with what to do', (_title, content, message) => {
  const directory = mkdtempSync(join(tmpdir(), 'sidegate-yaml-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const path = content === undefined ? directory : join(directory, 'sidegate.yaml')
  if (content !== undefined) writeFileSync(path, content)

  expect(problemsOf(() => loadConfig(path, { env: {} }))).toEqual([expect.stringMatching(message)])
})

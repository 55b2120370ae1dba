/** docs/requirements.md is what titles of tests refer to: what it calls a must is shown, and what they name is in it. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const folder = new URL('..', import.meta.url).pathname
const page = readFileSync(join(folder, '../docs/requirements.md'), 'utf8')

/** The first cell of each row: its numbers; the second: how binding it is. */
const rows = [...page.matchAll(/^\| ([A-Z][^|]*?) *\| (must|should|extra)? *(?:\||[^|]+\|)/gm)].map(
  ([, numbers = '', level = '']) => ({ numbers: numbers.split(', '), level }),
)
const known = new Set(rows.flatMap(({ numbers }) => numbers))
const CODE_GRANT = /^(AR|CB|TK|ID)-/
const duties = rows
  .filter(({ level }) => level === 'must')
  .flatMap(({ numbers }) => numbers)
  .filter((number) => CODE_GRANT.test(number))

/** What stands in parentheses at the end of a quoted text in a test file. */
const cited = new Set(
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts') && !file.endsWith('requirements.test.ts'))
    .flatMap((file) => readFileSync(join(folder, file), 'utf8').match(/\([^()\n]*\)['"`]/g) ?? [])
    .flatMap((text) => text.match(/\b(?:[A-Z]{2}|F2)-\d{2}\b|\bR\d{1,2}b?\b/g) ?? []),
)

test.each(duties)('%s, a duty of the code grant, is in the title of a test', (duty) => {
  expect(cited).toContain(duty)
})

test('the page lists the duties of the code grant without a gap', () => {
  const numbersOf = (group: string) => [...known].filter((number) => number.startsWith(`${group}-`)).length

  expect(['AR', 'CB', 'TK', 'ID'].map(numbersOf)).toEqual([17, 11, 12, 15])
  expect(duties).toHaveLength(44)
})

test('every number in the title of a test is on the page', () => {
  expect([...cited].filter((number) => !known.has(number))).toEqual([])
})

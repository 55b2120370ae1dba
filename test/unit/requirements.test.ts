/** Each duty that the specifications lay on a client like ours is shown by a test that names it in its title. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const folder = new URL('..', import.meta.url).pathname

const numbered = (group: string, numbers: readonly number[]) =>
  numbers.map((number) => `${group}-${String(number).padStart(2, '0')}`)

/** What is not optional of: authorization request, callback, token request, ID token. */
const DUTIES = [
  ...numbered('AR', [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 16]),
  ...numbered('CB', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
  ...numbered('TK', [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]),
  ...numbered('ID', [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15]),
]

/** The texts in which titles stand: whatever is quoted in a test file and ends with its duties in parentheses. */
const titles = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && !file.endsWith('requirements.test.ts'))
  .flatMap(
    (file) => readFileSync(join(folder, file), 'utf8').match(/\([^()\n]*\b[A-Z]{2}-\d{2}\b[^()\n]*\)['"`]/g) ?? [],
  )
  .join('\n')

test.each(DUTIES)('%s is in the title of a test', (duty) => {
  expect(titles).toMatch(new RegExp(`\\b${duty}\\b`))
})

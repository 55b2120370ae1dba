import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { conformancePage, PAGE, testsOf } from '../../scripts/conformance/page.ts'
import { groups, mustHaveTest, requirements } from '../../scripts/conformance/requirements.ts'
import { readTitles, titlesIn } from '../../scripts/conformance/titles.ts'
import { withoutGuard } from '../../scripts/prove/removal.ts'
import { guardRemovals } from '../../scripts/prove/removals.ts'

const root = new URL('../..', import.meta.url).pathname
const titles = readTitles(root)
const read = (file: string): string => readFileSync(join(root, file), 'utf8')

test('docs/conformance.md is what the table and the tests say; if not: npm run conformance', () => {
  expect(read(PAGE)).toBe(conformancePage(root))
})

describe('the table of requirements', () => {
  test('has each of the 147 once, under a group that it knows', () => {
    const ids = requirements.map(({ id }) => id)

    expect(new Set(ids).size).toBe(147)
    expect(ids.every((id) => id.slice(0, 2) in groups && /^[A-Z][A-Z0-9]-\d\d$/.test(id))).toBe(true)
  })

  test('names guards that stand in their files, or says why there is none', () => {
    const lost = requirements.flatMap(({ guards }) =>
      guards.filter((guard) => {
        const [file = '', name = ''] = guard.split('#')
        return !existsSync(join(root, file)) || !new RegExp(`\\b${name}\\b`).test(read(file))
      }),
    )

    expect(lost).toEqual([])
    for (const { id, guards, open } of requirements) expect([id, guards.length > 0]).toEqual([id, open === undefined])
  })

  test('has a test for every MUST of logins, tokens and identity, and for every other MUST and SHOULD that is built', () => {
    const cited = (id: string): boolean => testsOf(id, titles).length > 0

    expect(requirements.filter(mustHaveTest).filter(({ id }) => !cited(id))).toEqual([])
    expect(requirements.filter(({ id, level, open }) => level !== 'EXTRA' && !open && !cited(id))).toEqual([])
  })
})

describe('the titles of tests', () => {
  test('are read with their suites, their rows and the constants that hold them', () => {
    const source = `
      const rows = [['one (AR-01)', 1], [\`two \${x}\`, 2]] as const
      describe('a suite', () => {
        test('says %s', () => {})
        test.each(rows)('of %s and %d', async () => {})
        describe.skipIf(never)('within', () => it.each([{ name: 'n' }])('has $name', () => {}))
      })
      test.each(computed())('computed %s', () => {})
      other('no test')
    `

    expect(titlesIn(source).map(({ title }) => title)).toEqual([
      'a suite says %s',
      'a suite of one (AR-01) and 1',
      'a suite of two … and 2',
      'a suite within has n',
      'computed …',
    ])
  })

  test('cite a requirement by its whole id', () => {
    const named = ['a (PX-01)', 'b (PX-011)', 'c XPX-01'].map((title) => ({ file: 'x', title, template: title }))

    expect(testsOf('PX-01', named).map(({ title }) => title)).toEqual(['a (PX-01)'])
  })
})

describe('npm run prove', () => {
  test.each(guardRemovals.map((removal) => [removal.id, removal.without, removal] as const))(
    'finds the guard of %s without which it %s',
    (id, _without, removal) => {
      expect(withoutGuard(read(removal.file), removal)).not.toBe(read(removal.file))
      expect(requirements.map((requirement) => requirement.id)).toContain(id)
      // One of the files named has to notice; each of them must be able to.
      const cites = testsOf(id, titles).map(({ file }) => file)
      const usable = removal.tests.filter((file) => cites.includes(file) || isShared(file))
      expect(usable).toEqual(removal.tests)
    },
  )

  test('takes no guard out that is not there exactly once', () => {
    const removal = { id: 'AR-01', without: '', file: 'f', text: 'x', replacement: 'y', tests: [] }

    expect(withoutGuard('axb', removal)).toBe('ayb')
    expect(() => withoutGuard('ab', removal)).toThrow(/not in f any more/)
    expect(() => withoutGuard('axbx', removal)).toThrow(/more than once/)
  })

  test('takes out at least one guard of every MUST of logins, tokens and identity', () => {
    const proved = new Set(guardRemovals.map(({ id }) => id))

    expect(requirements.filter(mustHaveTest).filter(({ id }) => !proved.has(id))).toEqual([])
  })
})

/** Whether a test file runs a suite of test/support, whose titles stand there. */
function isShared(file: string): boolean {
  return /\bdescribe[A-Z]\w*\(/.test(read(file))
}

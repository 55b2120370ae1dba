import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = new URL('../..', import.meta.url).pathname
const directory = join(root, 'docs/pictures')
const pictures = readdirSync(directory)

test('each picture of the documents is smaller than 150 kB', () => {
  const large = pictures.filter((name) => statSync(join(directory, name)).size >= 150_000)
  expect(large).toEqual([])
})

test('every picture that the README names is there', () => {
  const named = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/docs\/pictures\/([\w.-]+)/g)]
  expect(named.length).toBeGreaterThan(0)
  for (const [, name = ''] of named) expect(pictures).toContain(name)
})

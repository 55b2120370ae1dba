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

test('the README names every picture, and none that is not there', () => {
  const named = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/docs\/pictures\/([\w.-]+)/g)]
  const names = new Set(named.map(([, name = '']) => name))
  expect([...names].toSorted()).toEqual(pictures.toSorted())
})

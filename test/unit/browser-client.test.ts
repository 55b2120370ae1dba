import { brotliCompressSync, gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { loadClientModule } from '../../src/commands/client-module.ts'

test.each([
  ['gzip', gzipSync],
  ['brotli', brotliCompressSync],
])('the browser client is at most 3 kB compressed by %s', async (_, compress) => {
  expect(compress(await loadClientModule()).length).toBeLessThanOrEqual(3_000)
})

test('it stands alone: one export, no import, nothing of the gateway', async () => {
  const text = await loadClientModule()
  expect(text).not.toMatch(/^\s*import\b/m)
  expect(text.match(/^export .*$/gm)).toEqual([expect.stringMatching(/^export function createClient\(/) as string])
  expect(text).not.toMatch(/\b(process|require|Buffer)\b/)
})

test('what is served is what was written, less types and comments: it runs as a module', async () => {
  const text = await loadClientModule()
  expect(text).not.toContain('/**')
  const module: unknown = await import(`data:text/javascript,${encodeURIComponent(text)}`)
  expect(module).toHaveProperty('createClient')
})

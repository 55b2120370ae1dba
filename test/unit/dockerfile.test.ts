/** What the Dockerfile promises, as far as it can be read from it. `test/e2e/image.test.ts` does its steps. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseDockerfile, readCopy, valuesOf } from '../support/dockerfile.ts'

const root = new URL('../..', import.meta.url).pathname
const stages = parseDockerfile(readFileSync(join(root, 'Dockerfile'), 'utf8'))
const ignoreLines = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n')
const runtime = stages[1]!

test('there is a stage that builds and one that runs, on the Node that .nvmrc names', () => {
  const major = readFileSync(join(root, '.nvmrc'), 'utf8').trim().split('.')[0]

  expect(stages.map(({ base }) => base)).toEqual([`node:${major}-slim`, `node:${major}-slim`])
})

test('every file that is copied exists and is not ignored, and everything else is left out of the context', () => {
  const sources = stages
    .flatMap((stage) => valuesOf(stage, 'COPY').map(readCopy))
    .filter(({ from }) => from === undefined)

  expect(ignoreLines).toContain('*')
  for (const source of sources.flatMap((copy) => copy.sources)) {
    expect(existsSync(join(root, source)), source).toBe(true)
    expect(ignoreLines).toContain(`!${source.replace(/^\.\//, '')}`)
  }
})

test('it runs as a numeric user that is not root, and after the last file has been copied', () => {
  const names = runtime.instructions.map(({ name }) => name)

  expect(valuesOf(runtime, 'USER')).toEqual(['65532:65532'])
  expect(names.lastIndexOf('COPY')).toBeLessThan(names.indexOf('USER'))
  expect(names.slice(names.indexOf('USER'))).not.toContain('RUN')
})

test('what is compiled beforehand is for that user', () => {
  expect(valuesOf(stages[0]!, 'RUN')).toContain('node scripts/compile-cache.mjs 65532')
})

test('the process is PID 1 and is told to stop by SIGTERM (R25)', () => {
  expect(valuesOf(runtime, 'ENTRYPOINT').map((value) => JSON.parse(value))).toEqual([['node', '/app/dist/main.js']])
  expect(valuesOf(runtime, 'STOPSIGNAL')).toEqual(['SIGTERM'])
})

test('the allocator is told to give back what is free', () => {
  expect(valuesOf(runtime, 'ENV').join(' ')).toMatch(/MALLOC_ARENA_MAX=2\s.*MALLOC_TRIM_THRESHOLD_=1048576/)
})

test('its health is asked for by a script in exec form', () => {
  const [check = ''] = valuesOf(runtime, 'HEALTHCHECK')

  expect(JSON.parse(check.replace(/^.* CMD /, ''))).toEqual(['node', '/app/healthcheck.mjs'])
})

test.each(['title', 'description', 'licenses', 'version', 'revision', 'created'])(
  'it has the OCI label %s',
  (label) => {
    expect(valuesOf(runtime, 'LABEL').join(' ')).toContain(`org.opencontainers.image.${label}="`)
  },
)

test('nothing secret is an argument or a variable of the image', () => {
  const settings = stages.flatMap((stage) => [...valuesOf(stage, 'ARG'), ...valuesOf(stage, 'ENV')])

  expect(settings.filter((setting) => /secret|password|token|key/i.test(setting))).toEqual([])
})

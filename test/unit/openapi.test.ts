import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { DOCUMENT, openApiDocument, openApiText } from '../../scripts/openapi/document.ts'
import { failureCodes } from '../../src/errors.ts'
import { endpoints } from '../../src/routes/endpoints.ts'

const root = new URL('../..', import.meta.url).pathname
const read = (file: string): string => readFileSync(join(root, file), 'utf8')

test('docs/openapi.yaml is what the tables and schemas say; if not: npm run openapi', () => {
  expect(read(DOCUMENT)).toBe(openApiText())
})

test('docs/openapi.yaml is a valid document of OpenAPI 3.1, and all that it refers to is there', async () => {
  const document = parse(read(DOCUMENT)) as Record<string, unknown>
  const validator = new Validator()

  const { errors } = await validator.validate(structuredClone(document))
  const pointers = [...JSON.stringify(document).matchAll(/"#\/([^"]+)"/g)].map(([, pointer = '']) => pointer)
  const lost = pointers.filter((pointer) => {
    let value: unknown = document
    for (const name of pointer.split('/')) value = (value as Record<string, unknown> | undefined)?.[name]
    return value === undefined
  })

  expect([validator.version, errors]).toEqual(['3.1', undefined])
  expect(pointers.length).toBeGreaterThan(100)
  expect(lost).toEqual([])
})

test('a document that is not valid is found out', async () => {
  const document = { ...openApiDocument(), paths: { '/': { get: { responses: 'none' } } } }

  expect(await new Validator().validate(document)).toMatchObject({ valid: false })
})

test('docs/openapi.yaml has every endpoint with its methods, every code that a client can meet, and no name twice', () => {
  const { paths } = parse(read(DOCUMENT)) as { paths: Record<string, Record<string, { operationId?: string }>> }
  const operations = Object.values(paths).flatMap((item) => Object.values(item))
  const names = operations.flatMap(({ operationId }) => operationId ?? [])

  for (const [path, { methods }] of endpoints) {
    expect(Object.keys(paths[`/bff${path.replace('*', '{ref}')}`] ?? {})).toEqual(
      expect.arrayContaining([...(methods ?? [])].map((method) => method.toLowerCase())),
    )
  }
  for (const code of failureCodes) expect(read(DOCUMENT)).toContain(`- ${code}\n`)
  expect(names.toSorted()).toEqual([...new Set(names)].toSorted())
})

test('docs/endpoints.md has the same endpoints as docs/openapi.yaml', () => {
  const { paths } = parse(read(DOCUMENT)) as { paths: Record<string, object> }
  const documented = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((method) => ['get', 'post', 'delete'].includes(method) && path.startsWith('/bff/'))
      .map((method) => `${method.toUpperCase()} ${path.slice('/bff/'.length).replace('{ref}', ':ref')}`),
  )
  const told = [...read('docs/endpoints.md').matchAll(/`((?:GET|POST|DELETE) [a-z][^`?]*)/g)].map(([, one = '']) => one)

  // The last page of a popup is asked for by nobody, and the form's callback is told with the other.
  const untold = new Set(['GET login/done', 'POST callback'])
  expect([...new Set(told)].toSorted()).toEqual(documented.filter((one) => !untold.has(one)).toSorted())
})

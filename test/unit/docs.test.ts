/** What the documents say of the code is held against the code. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { BffError, failureCodes } from '../../src/errors.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { blocks, blocksIn, pages } from '../support/documents.ts'
import type { Block } from '../support/documents.ts'
import { loadMounted } from '../support/mounted-config.ts'

const root = new URL('../..', import.meta.url).pathname
const read = (path: string) => readFileSync(join(root, path), 'utf8')
/** The text of each `## heading`. */
function sectionsOf(markdown: string): Map<string, string> {
  const parts = markdown.split(/^## /m).slice(1)
  return new Map(parts.map((part) => [part.slice(0, part.indexOf('\n')).trim(), part.slice(part.indexOf('\n'))]))
}

describe('docs/errors.md', () => {
  const sections = sectionsOf(read('docs/errors.md'))

  test.each(failureCodes)('has a section for %s that begins with its status', (code) => {
    expect(sections.get(code)?.trim()).toMatch(new RegExp(`^${new BffError(code).statusCode}\\b`))
  })

  test('has none for a code that does not exist', () => {
    expect([...sections.keys()].toSorted()).toEqual([...failureCodes].toSorted())
  })
})

test('docs/operations.md names every metric of our own, and no other', async () => {
  const real = (await new Metrics().render()).matchAll(/^# TYPE (sidegate_\w+)/gm)
  const named = read('docs/operations.md').matchAll(/`(sidegate_\w+)`/g)

  const names = (matches: Iterable<RegExpMatchArray>) =>
    [...new Set([...matches].map(([, name = '']) => name))].toSorted()
  expect(names(named)).toEqual(names(real))
})

test('README.md has at most 150 lines and begins with the two commands that a newcomer runs', () => {
  const readme = read('README.md')

  expect(readme.split('\n').length).toBeLessThanOrEqual(151)
  const commands = [...readme.matchAll(/^npm ci && npm .*$/gm)].map(([line]) => line.replace(/\s+#.*$/, ''))
  expect(commands.slice(0, 2)).toEqual(['npm ci && npm run demo', 'npm ci && npm test'])
})

test('README.md leads to every page under docs/, or to the first page of its folder', () => {
  const readme = read('README.md')
  const isReached = (page: string) =>
    readme.includes(`](${page})`) || (page.split('/').length > 2 && readme.includes(`](${dirname(page)}/README.md)`))

  expect(pages.filter((page) => page.startsWith('docs/') && !isReached(page))).toEqual([])
})

describe.each(pages)('%s', (page) => {
  const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  const local = links.filter((target) => !/^(https?:|mailto:)/.test(target))

  test('has no dead link to a file or a heading', () => {
    const dead = local.filter((target) => {
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? join(root, page) : join(root, dirname(page), path)
      if (!existsSync(file)) return true
      return anchor !== undefined && !anchorsOf(readFileSync(file, 'utf8')).includes(anchor)
    })

    expect(dead).toEqual([])
  })
})

describe('the blocks of code in the documents', () => {
  const unmarked = (language: string) =>
    blocks.filter((block) => block.language === language && block.mark === undefined)

  test.each(unmarked('yaml'))('$name is a configuration without a mistake', ({ text }) => {
    // A part stands for a whole with what it leaves out.
    const whole = text.includes('publicUrl:') ? text : `${MINIMAL}${text}`

    expect(loadMounted(whole).warnings).toEqual([])
  })

  test.each(unmarked('json'))('$name is JSON', ({ text }) => {
    expect(() => JSON.parse(text) as unknown).not.toThrow()
  })

  test.each(blocks.filter(({ language }) => ['js', 'ts'].includes(language)))('$name is JavaScript', ({ text }) => {
    expect(() => stripTypeScriptTypes(text.replace(/^@Injectable.*$/m, ''))).not.toThrow()
  })

  test('each is run by a test, or says in front of it why not', () => {
    const untold = blocks.filter(
      ({ language, mark, text }) => mark === undefined && !RUN_BY_LANGUAGE.includes(language) && !examples.has(text),
    )
    const odd = blocks.filter(({ mark }) => mark !== undefined && !/^(run: [a-z0-9-]+|not run: .{10,})$/.test(mark))

    expect(untold.map(({ name, language }) => `${name} (${language})`)).toEqual([])
    expect(odd.map(({ name, mark }) => `${name}: ${mark}`)).toEqual([])
  })

  test('each that is said to be run is asked for by a test, by its page and name', () => {
    const named = blocks.filter(({ mark }) => mark?.startsWith('run: '))
    const isAskedFor = ({ page, mark = '' }: Block) =>
      testSources.some((source) => source.includes(`'${page}'`) && source.includes(`'${mark.slice('run: '.length)}'`))

    expect(named.filter((block) => !isAskedFor(block)).map(({ name, mark }) => `${name}: ${mark}`)).toEqual([])
  })

  // A new one that nobody runs has to be counted here, and its reason read.
  test('those that are not run are NOT_RUN, each for a reason', () => {
    const notRun = blocks.filter(({ mark }) => mark?.startsWith('not run: '))

    expect(notRun.map(({ page, mark }) => `${page}: ${mark}`)).toHaveLength(NOT_RUN)
  })

  test('an unmarked block, an unknown language and a fence within a list are seen', () => {
    const text =
      'x\n\n```sh\nls\n```\n\n<!-- not run: it is a sample -->\n\n```text\na\n```\n\n- y\n\n  ```js\n  1\n  ```\n'

    expect(blocksIn('x.md', text).map(({ language, mark }) => [language, mark])).toEqual([
      ['sh', undefined],
      ['text', 'not run: it is a sample'],
      ['js', undefined],
    ])
  })
})

describe('docs/frameworks.md', () => {
  const page = read('docs/frameworks.md')
  const shown = new Map(
    [...page.matchAll(/\]\(examples\/(\S+)\):\n\n```\w+\n([\s\S]*?)^```$/gm)].map(([, file = '', text]) => [
      file,
      text,
    ]),
  )

  test.each([...shown])('shows %s as it is built and tested', (file, text) => {
    expect(text).toBe(read(`docs/examples/${file}`))
  })

  test('leaves nothing of an example out but how it is mounted', () => {
    const files = readdirSync(join(root, 'docs/examples'), { recursive: true, encoding: 'utf8' })
    const sources = files.filter((file) => /\.(js|tsx?|vue|svelte)$/.test(file) && !/main\.ts$|\.d\.ts$/.test(file))
    expect(sources.filter((file) => !shown.has(file))).toEqual([])
    expect(sources.length).toBeGreaterThan(8)
  })
})

/** Whole files, built and run by test/e2e/frameworks.test.ts. */
const examples = new Set(
  readdirSync(join(root, 'docs/examples'), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.\w+$/.test(file))
    .map((file) => read(join('docs/examples', file))),
)
/** Loaded or parsed above; a drawing is for the eye. */
const RUN_BY_LANGUAGE = ['yaml', 'json', 'mermaid']
const NOT_RUN = 11
const testSources = ['unit', 'integration', 'e2e'].flatMap((folder) =>
  readdirSync(join(root, 'test', folder)).map((file) => read(join('test', folder, file))),
)

const MINIMAL = `
publicUrl: http://localhost:8080
provider: { issuer: https://id.example.com, clientId: shop, clientSecretFile: /run/secrets/client }
`

/** As GitHub makes them. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-'),
  )
}

/** The documents of this repository and their fenced blocks, each with the mark in front that says what becomes of it. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('../..', import.meta.url).pathname

export interface Block {
  readonly page: string
  readonly language: string
  readonly text: string
  /**
   * The comment in the line before: `run: NAME` (a test does, by `blockOf`) or `not run: REASON`.
   * Without one it is what its language says: yaml a configuration, json JSON, mermaid a drawing.
   */
  readonly mark: string | undefined
  /** For test titles. */
  readonly name: string
}

/** Every page, by its path from the root. */
export const pages: readonly string[] = [
  ...readdirSync(root).filter((file) => file.endsWith('.md')),
  ...['docs', 'deploy', 'bench'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.md'))
      .map((file) => join(folder, file)),
  ),
]

export function readPage(page: string): string {
  return readFileSync(join(root, page), 'utf8')
}

/** The fenced blocks of a text, in their order. */
export function blocksIn(page: string, text: string): Block[] {
  const found = text.matchAll(/(?:^<!-- (.+) -->\n\n?)?^(?: {2,4})?```(\S*)[^\n]*\n([\s\S]*?)^ *```$/gm)
  return [...found].map(([, mark, language = '', body = ''], index) => ({
    page,
    language,
    text: body,
    mark,
    name: `${page}, block ${index + 1}`,
  }))
}

/** All blocks of all pages. */
export const blocks: readonly Block[] = pages.flatMap((page) => blocksIn(page, readPage(page)))

/**
 * The code that a page shows under `<!-- run: NAME -->`, for the test that runs it.
 *
 * @throws where there is not exactly one
 */
export function blockOf(page: string, name: string): string {
  const [block, ...more] = blocks.filter((candidate) => candidate.page === page && candidate.mark === `run: ${name}`)
  if (!block || more.length > 0) throw new Error(`${page} has not one block to run that is called ${name}`)
  return block.text
}

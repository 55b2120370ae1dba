/** Where our source waits: the arguments of all `await`s, as offsets into the files without their types. */
import { readdirSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { parseAst } from 'vite'

interface Range {
  readonly start: number
  readonly end: number
}

/** By the path of the file below `src`. */
export type Awaited = Readonly<Record<string, readonly Range[]>>

const SOURCE = new URL('../../src/', import.meta.url)

export function awaitedInSource(): Awaited {
  const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return Object.fromEntries(
    files.map((file) => {
      const found: Range[] = []
      collect(parseAst(stripTypeScriptTypes(readFileSync(new URL(file, SOURCE), 'utf8'))), found)
      return [file, found]
    }),
  )
}

function collect(node: unknown, found: Range[]): void {
  if (Array.isArray(node)) {
    for (const one of node) collect(one, found)
  } else if (typeof node === 'object' && node !== null) {
    if ('type' in node && node.type === 'AwaitExpression' && 'argument' in node) {
      found.push(node.argument as Range) // every node of the parser has both
    }
    for (const child of Object.values(node)) collect(child, found)
  }
}

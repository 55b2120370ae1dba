/** The titles of all tests, read from the source: each with its suites around it, and one for each row of a table. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAst } from 'vitest/node'

/** One title as the runner would print it; what is computed when the test runs is an ellipsis. */
export interface TestTitle {
  /** From the root of the project. */
  readonly file: string
  readonly title: string
  /** The same as it stands in the source, for all rows of its table. */
  readonly template: string
}

interface Node {
  readonly type: string
  readonly [member: string]: unknown
}

const UNKNOWN = '…'
/** `support` holds suites that several files share. */
const GROUPS = { unit: '.test.ts', integration: '.test.ts', e2e: '.test.ts', support: '.ts' }

/** Titles of every test file below `test/`. */
export function readTitles(root: string): TestTitle[] {
  return Object.entries(GROUPS).flatMap(([group, ending]) => {
    const names = readdirSync(join(root, 'test', group)).filter((name) => name.endsWith(ending))
    return names.toSorted().flatMap((name) => {
      const file = `test/${group}/${name}`
      return titlesIn(readFileSync(join(root, file), 'utf8')).map((title) => ({ file, ...title }))
    })
  })
}

type Title = Omit<TestTitle, 'file'>

/** Titles in the text of one test file, in order. */
export function titlesIn(source: string): Title[] {
  const program = parseAst(source, { lang: 'ts' }) as unknown as Node // an ESTree, walked by its shape alone
  const constants = new Map<string, Node>()
  walk(program, (node) => {
    if (node.type === 'VariableDeclarator' && isNode(node['id']) && isNode(node['init']))
      constants.set(String(node['id']['name']), node['init'])
    return true
  })
  const titles: Title[] = []
  collect(program, { title: '', template: '' }, constants, titles)
  return titles
}

function collect(node: Node, suite: Title, constants: ReadonlyMap<string, Node>, into: Title[]): void {
  walk(node, (child) => {
    const call = child === node ? undefined : testCall(child, constants)
    if (!call) return true
    const template = `${suite.template} ${call.title}`.trim()
    const names = call.rows ? call.rows.map((row) => filled(call.title, row)) : [call.title]
    for (const name of names) {
      const title = `${suite.title} ${name}`.trim()
      if (call.kind === 'describe') collect(child, { title, template }, constants, into)
      else into.push({ title, template })
    }
    return false
  })
}

interface TestCall {
  readonly kind: 'test' | 'describe'
  readonly title: string
  readonly rows: readonly Node[] | undefined
}

/** `test('…', …)`, `describe('…', …)`, and both with `.each(table)`, `.skipIf(…)` or other words in between. */
function testCall(node: Node, constants: ReadonlyMap<string, Node>): TestCall | undefined {
  if (node.type !== 'CallExpression') return undefined
  const [title] = argumentsOf(node)
  if (!title || (title.type !== 'Literal' && title.type !== 'TemplateLiteral')) return undefined
  let callee = node['callee']
  let rows: readonly Node[] | undefined
  while (isNode(callee) && callee.type !== 'Identifier') {
    if (callee.type === 'CallExpression') {
      const inner = callee['callee']
      const isTable = isNode(inner) && isNode(inner['property']) && inner['property']['name'] === 'each'
      if (isTable) rows = rowsOf(argumentsOf(callee)[0], constants)
      callee = inner
    } else if (callee.type === 'MemberExpression') callee = callee['object']
    else return undefined
  }
  const kind = isNode(callee) ? callee['name'] : undefined
  if (kind !== 'test' && kind !== 'it' && kind !== 'describe') return undefined
  return { kind: kind === 'describe' ? 'describe' : 'test', title: textOf(title) ?? UNKNOWN, rows }
}

/** The rows of a table that stands in the file; a table that is computed counts as one unknown row. */
function rowsOf(table: Node | undefined, constants: ReadonlyMap<string, Node>): readonly Node[] {
  let node = withoutType(table)
  if (node?.type === 'Identifier') node = withoutType(constants.get(String(node['name'])))
  const elements = node?.type === 'ArrayExpression' ? nodesOf(node['elements']) : []
  const plain = elements.filter(({ type }) => type !== 'SpreadElement')
  return plain.length > 0 ? plain : [{ type: 'Unknown' }]
}

function withoutType(node: Node | undefined): Node | undefined {
  const isTyped = node?.type === 'TSAsExpression' || node?.type === 'TSSatisfiesExpression'
  return isTyped && isNode(node['expression']) ? withoutType(node['expression']) : node
}

/** The title with the row's values in its places: `%s` and its kin in turn, `$name` by member. */
function filled(title: string, row: Node): string {
  const values = row.type === 'ArrayExpression' ? nodesOf(row['elements']) : [row]
  let at = 0
  const members = row.type === 'ObjectExpression' ? membersOf(row) : new Map<string, Node>()
  return title
    .replaceAll(/%(?:[sdifjo]|(\d+)\$s)/g, (_, position: string | undefined) => {
      const value = values[position === undefined ? at : Number(position) - 1]
      at += 1
      return (value && textOf(value)) ?? UNKNOWN
    })
    .replaceAll(/\$([a-z]\w*)/gi, (_, name: string) => {
      const value = members.get(name)
      return (value && textOf(value)) ?? UNKNOWN
    })
}

function membersOf(row: Node): Map<string, Node> {
  const members = new Map<string, Node>()
  for (const property of nodesOf(row['properties'])) {
    const { key, value } = property
    if (isNode(key) && isNode(value)) members.set(String(key['name'] ?? key['value']), value)
  }
  return members
}

/** A text or number that stands in the source; templates with an ellipsis for each expression. */
function textOf(node: Node): string | undefined {
  if (node.type === 'Literal') return typeof node['value'] === 'string' ? node['value'] : String(node['value'])
  if (node.type !== 'TemplateLiteral') return undefined
  const parts = nodesOf(node['quasis']).map(({ value }) =>
    typeof value === 'object' && value !== null && 'cooked' in value ? String(value.cooked) : '',
  )
  return parts.join(UNKNOWN)
}

function argumentsOf(call: Node): Node[] {
  return nodesOf(call['arguments'])
}

function nodesOf(value: unknown): Node[] {
  return Array.isArray(value) ? value.filter(isNode) : []
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

/** Visits a tree from above; what is below a node only where `visit` says so. */
function walk(node: Node, visit: (node: Node) => boolean): void {
  if (!visit(node)) return
  for (const member of Object.values(node)) {
    if (isNode(member)) walk(member, visit)
    else for (const child of nodesOf(member)) walk(child, visit)
  }
}

/** The attack corpora of `test/corpus`: return addresses and raw requests, with what must become of them. */
import { readFileSync } from 'node:fs'

export interface AttackCase {
  readonly name: string
  readonly category: string
  /** Latin-1: one character is one byte; placeholders such as `{SID}` are still in it. */
  readonly raw: string
  readonly why: string
  readonly expect: {
    readonly status: readonly (number | 'close')[]
    readonly upstream: { readonly requests: number | readonly number[]; readonly path?: string }
  }
}

function read(name: string): string {
  return readFileSync(new URL(`../corpus/${name}`, import.meta.url), 'utf8')
}

/** The raw requests of `proxy-attacks.jsonl`; its first line describes the fixture. */
export function attackCases(): AttackCase[] {
  const [, ...lines] = read('proxy-attacks.jsonl').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as AttackCase) // the file is ours
}

/** Return addresses that must not survive, with the heading of their section; as they stand in the query string. */
export function openRedirects(): { section: string; sent: string }[] {
  let section = ''
  const found: { section: string; sent: string }[] = []
  for (const line of read('open-redirects.txt').split('\n')) {
    if (line.startsWith('#@')) section = line.slice(2).trim()
    else if (line !== '' && !line.startsWith('#')) found.push({ section, sent: line === '<EMPTY>' ? '' : line })
  }
  return found
}

/** Return addresses that must survive unchanged: as they stand in the query string, and what Location then holds. */
export function benignReturns(): { sent: string; location: string }[] {
  return read('return-to-benign.txt')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [sent = '', location = ''] = line.split('\t')
      return { sent, location }
    })
}

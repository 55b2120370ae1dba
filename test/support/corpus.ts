/**
 * The corpora that are kept beside the repository: return addresses and raw requests, with what must become of them.
 * A clone does not have them; tests that read them are skipped there (test/skips.json), and others hold our own cases.
 */
import { existsSync, readFileSync } from 'node:fs'

const folder = new URL('../../../shared/security/', import.meta.url)

/** Whether the corpora are there. */
export const hasCorpora = existsSync(new URL('proxy-attacks.jsonl', folder))

/** Where the raw requests of the attack corpus are. */
export const attackCorpus = new URL('proxy-attacks.jsonl', folder)

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

/** Nothing where the corpora are not. */
function read(name: string): string {
  return hasCorpora ? readFileSync(new URL(name, folder), 'utf8') : ''
}

/** The raw requests of `proxy-attacks.jsonl`; its first line describes the fixture. */
export function attackCases(): AttackCase[] {
  const [, ...lines] = read('proxy-attacks.jsonl').trim().split('\n')
  return lines.map((line) => JSON.parse(line) as AttackCase) // the file's first line says so
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

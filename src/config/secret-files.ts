/** Values that are given as `…File: PATH`. */
import { readFileSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { isRecord } from './explain.ts'
import { isSecret, keysAt, schemasAt } from './json-schema.ts'
import type { ConfigPath } from './problem.ts'

const LARGEST = 1_048_576

/** What reading the files brought, besides the values themselves. */
export interface FileFindings {
  readonly problems: { readonly path: ConfigPath; readonly message: string }[]
  readonly warnings: { readonly path: ConfigPath; readonly message: string }[]
  /** Every file that was named, absolute; also those that could not be read. */
  readonly files: string[]
}

/** Puts the content of each `xFile` beside it as `x`, in place. Relative paths start at the directory. */
export function readSecretFiles(input: unknown, directory: string): FileFindings {
  const findings: FileFindings = { problems: [], warnings: [], files: [] }
  visit(input, [], directory, findings)
  return findings
}

function visit(value: unknown, path: ConfigPath, directory: string, findings: FileFindings): void {
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) visit(item, [...path, index], directory, findings)
    return
  }
  if (!isRecord(value)) return
  const known = keysAt(path)
  for (const [key, item] of Object.entries(value)) {
    const target = key.replace(/File$/, '')
    if (target === key || typeof item !== 'string' || !known.includes(key) || !known.includes(target)) {
      visit(item, [...path, key], directory, findings)
    } else if (value[target] !== undefined) {
      findings.problems.push({ path: [...path, key], message: `stands beside ${target}: write exactly one of them` })
    } else {
      const content = readValue(item, [...path, key], [...path, target], directory, findings)
      if (content !== undefined) value[target] = content
    }
  }
}

function readValue(
  file: string,
  path: ConfigPath,
  target: ConfigPath,
  directory: string,
  findings: FileFindings,
): unknown {
  const absolute = resolve(directory, file)
  findings.files.push(absolute)
  let text: string
  try {
    const { size, mode } = statSync(absolute)
    if (size > LARGEST) throw new Error('it is larger than 1 MB')
    if (isSecret(target) && (mode & 0o004) !== 0) {
      findings.warnings.push({ path, message: 'the file can be read by everybody on this machine; chmod o-r' })
    }
    text = readFileSync(absolute, 'utf8')
      .replace(/^\uFEFF/, '')
      .replace(/[\r\n]+$/, '')
  } catch (error) {
    findings.problems.push({ path, message: `cannot read the file: ${reason(error)}` })
    return undefined
  }
  if (text.trim() === '') {
    findings.problems.push({ path, message: 'the file is empty' })
    return undefined
  }
  if (!schemasAt(target).some((schema) => schema.type === 'array')) return text
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'ENOENT') return 'there is none of this name'
  if (code === 'EACCES' || code === 'EPERM') return 'this process may not'
  if (code === 'EISDIR') return 'it is a directory'
  return error instanceof Error ? error.message : 'unknown reason'
}

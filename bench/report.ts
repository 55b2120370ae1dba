/** What a scenario found: a table for people, JSON for machines. */
import { cpus, release } from 'node:os'
import { generator } from './load.ts'
import type { Ratio } from './statistics.ts'

export interface Report {
  readonly scenario: string
  readonly title: string
  readonly columns: readonly string[]
  /** Cells are text; what they mean stands in `data` as numbers. */
  readonly rows: readonly (readonly string[])[]
  readonly notes?: readonly string[]
  readonly data: unknown
}

/** What the numbers were measured with. */
export function circumstances(): Record<string, string> {
  return {
    node: process.version,
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    kernel: release(),
    load: generator,
  }
}

/** Text with aligned columns; the first is left-aligned, numbers to the right. */
export function renderTable({ title, columns, rows, notes = [] }: Report): string {
  const widths = columns.map((column, index) => Math.max(column.length, ...rows.map((row) => row[index]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => (index === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[index] ?? 0)))
      .join('  ')
      .trimEnd()
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  return [title, '', line(columns), rule, ...rows.map(line), ...(notes.length > 0 ? ['', ...notes] : []), ''].join('\n')
}

/** `1.38 [1.31-1.42]`: the median of the pairs and their middle half. */
export function showRatio({ median, low, high }: Ratio): string {
  return `${median.toFixed(2)} [${low.toFixed(2)}-${high.toFixed(2)}]`
}

export function showNumber(value: number, digits = 0): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

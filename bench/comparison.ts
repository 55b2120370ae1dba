/** The rows of a comparison of systems that took turns under the same load. */
import type { Measured } from './interleaved.ts'
import { showNumber, showRatio } from './report.ts'

export const COMPARISON_COLUMNS = [
  'system',
  'requests/s',
  'ratio [middle half]',
  'CPU µs',
  'ratio [middle half]',
  'p50 ms',
  'p99 ms',
  'Redis/request',
]

/** Both ratios are against the first system, paired by round. */
export function comparisonRow(one: Measured): string[] {
  return [
    one.name,
    showNumber(one.requestsPerSecond),
    showRatio(one.throughputRatio),
    showNumber(one.cpuMicrosecondsPerRequest, 1),
    showRatio(one.cpuRatio),
    showNumber(one.p50Microseconds / 1_000, 2),
    showNumber(one.p99Microseconds / 1_000, 2),
    one.countPerRequest === undefined ? '' : showNumber(one.countPerRequest, 3),
  ]
}

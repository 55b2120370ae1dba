/** What the benchmark prints is computed as its README says. */
import { expect, test } from 'vitest'
import { readWrk } from '../../bench/load.ts'
import { renderTable, showRatio } from '../../bench/report.ts'
import { median, pairedRatio, quantile } from '../../bench/statistics.ts'

test.each([
  [[3, 1, 2], 0.5, 2],
  [[4, 1, 3, 2], 0.5, 2.5],
  [[10, 20, 30, 40, 50], 0.25, 20],
  [[7], 0.99, 7],
])('the quantile of %j at %d is %d', (values, share, expected) => {
  expect(quantile(values, share)).toBe(expected)
})

test('the median of nothing is not a number', () => {
  expect(median([])).toBeNaN()
})

test('a ratio pairs the rounds, so that a disturbed round disturbs no ratio', () => {
  const base = [100, 10, 100, 100]
  const other = [150, 15, 150, 150]

  expect(pairedRatio(other, base)).toEqual({ median: 1.5, low: 1.5, high: 1.5 })
})

const REPORT = `Running 1s test @ http://127.0.0.1:1/api
  Latency Distribution
     50%  980.00us
     75%    1.50ms
     90%    2.00ms
     99%    1.30s
  38039 requests in 1.00s, 46.80MB read
Requests/sec:  38001.10
Transfer/sec:     46.76MB
`

test('the report of wrk is read in its three units', () => {
  expect(readWrk(REPORT)).toEqual({
    requests: 38_039,
    requestsPerSecond: 38_001.1,
    p50Microseconds: 980,
    p99Microseconds: 1_300_000,
  })
})

test.each(['  Non-2xx or 3xx responses: 5\n', '  Socket errors: connect 0, read 3, write 0, timeout 0\n'])(
  'a run with failures measures nothing: %j',
  (line) => {
    expect(() => readWrk(REPORT + line)).toThrow('the load met failures')
  },
)

test('the table aligns names to the left and numbers to the right', () => {
  const text = renderTable({
    scenario: 's',
    title: 'Title',
    columns: ['system', 'n'],
    rows: [
      ['a', '1'],
      ['longer name', '1,000'],
    ],
    data: {},
  })

  expect(text.split('\n')).toEqual([
    'Title',
    '',
    'system           n',
    '-----------  -----',
    'a                1',
    'longer name  1,000',
    '',
  ])
})

test('a ratio shows its middle half', () => {
  expect(showRatio({ median: 1.384, low: 1.31, high: 1.42 })).toBe('1.38 [1.31-1.42]')
})

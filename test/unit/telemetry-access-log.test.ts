import fc from 'fast-check'
import { expect, test } from 'vitest'
import { AccessLog } from '../../src/telemetry/access-log.ts'
import { createLogger } from '../../src/telemetry/logger.ts'

function recorder() {
  const lines: string[] = []
  return { lines, stream: { write: (line: string) => void lines.push(line) } }
}

const line = {
  requestId: '0d3f6a1e-0000-4000-8000-000000000000',
  method: 'GET',
  path: '/api/orders',
  route: '/api',
  status: 200,
  durationMs: 1.5,
  ip: '192.0.2.1',
  sessionRef: 'abcdefghijklmnop',
}

test('a line is the one that the logger would write, whatever the path holds (R69)', () => {
  const arbitrary = fc.record({
    path: fc.string({ unit: 'binary', maxLength: 600 }),
    route: fc.string({ maxLength: 40 }),
    ip: fc.option(fc.string({ maxLength: 40 }), { nil: undefined }),
    sessionRef: fc.constantFrom(undefined, 'abcdefghijklmnop'),
    traceId: fc.constantFrom(undefined, '4bf92f3577b34da6a3ce929d0e0e4736'),
    status: fc.integer({ min: 100, max: 999 }),
  })

  fc.assert(
    fc.property(arbitrary, (changes) => {
      const [byHand, byLogger] = [recorder(), recorder()]
      new AccessLog(createLogger({ level: 'info' }, byHand.stream), true).write([{ ...line, ...changes }])
      createLogger({ level: 'info' }, byLogger.stream).info({ ...line, ...changes }, 'request')

      const [written, expected] = [byHand, byLogger].map(
        ({ lines }) => JSON.parse(lines[0] ?? '') as Record<string, unknown>,
      )
      // The configured route and the address are ours: only what a client sends is cleaned.
      expect({ ...written, time: '', route: '', ip: '' }).toEqual({ ...expected, time: '', route: '', ip: '' })
      expect(byHand.lines[0]?.split('\n')).toHaveLength(2)
    }),
  )
})

test('below the level nothing is written, and a terminal gets the logger’s form', () => {
  const quiet = recorder()
  new AccessLog(createLogger({ level: 'warn' }, quiet.stream), true).write([line])
  const terminal = recorder()
  new AccessLog(createLogger({ level: 'info' }, terminal.stream), false).write([line])

  expect(quiet.lines).toEqual([])
  expect(JSON.parse(terminal.lines[0] ?? '')).toMatchObject({ msg: 'request', path: '/api/orders' })
})

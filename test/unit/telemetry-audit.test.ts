import { expect, test } from 'vitest'
import { Audit, subjectHash } from '../../src/telemetry/audit.ts'
import type { Log } from '../../src/telemetry/log.ts'

function recorder() {
  const lines: { level: string; fields: object; message: string }[] = []
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, fields, message })
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return { log, lines }
}

test('an event carries its name, 16 characters of the ref and the subject as a hash (CF-06)', () => {
  const { log, lines } = recorder()

  new Audit(log, { hashSubject: true }).record('session.ended', {
    sessionRef: 'abcdefghijklmnopqrstuvwxyz',
    sub: 'alice',
    reason: 'logout',
  })

  expect(lines).toEqual([
    {
      level: 'info',
      fields: { event: 'session.ended', sessionRef: 'abcdefghijklmnop', sub: subjectHash('alice'), reason: 'logout' },
      message: 'session ended',
    },
  ])
  expect(JSON.stringify(lines)).not.toContain('alice')
})

test('the subject is in clear where the configuration says so', () => {
  const { log, lines } = recorder()

  new Audit(log, { hashSubject: false }).record('login.succeeded', { sub: 'alice' })

  expect(lines[0]?.fields).toMatchObject({ sub: 'alice' })
})

test.each(['login.failed', 'refresh.failed', 'csrf.rejected'] as const)('%s is a warning', (event) => {
  const { log, lines } = recorder()

  new Audit(log, { hashSubject: true }).record(event, { reason: 'state_unknown' })

  expect(lines[0]).toMatchObject({ level: 'warn', fields: { event, reason: 'state_unknown' } })
})

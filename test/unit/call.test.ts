import type { IncomingMessage, ServerResponse } from 'node:http'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import { DirectCall } from '../../src/http/call.ts'
import { Pages } from '../../src/http/pages.ts'
import { SecurityHeaders } from '../../src/http/security-headers.ts'

const config = {
  publicUrl: 'https://app.example',
  basePath: '/bff',
  headers: { csp: undefined, hsts: true, frameAncestors: "'none'" },
} as const

/** A call whose answer cannot be written, or has begun. */
function call(response: { headersSent: boolean }) {
  const state = { isDestroyed: false }
  const lines: string[] = []
  const broken = {
    ...response,
    writeHead: () => {
      throw new TypeError('a field that Node does not write')
    },
    destroy: () => {
      state.isDestroyed = true
    },
  }
  const raw = { method: 'GET', url: '/api', headers: {} }
  const failing = new DirectCall(raw as IncomingMessage, broken as unknown as ServerResponse, 'an-id', {
    log: pino({}, { write: (line: string) => void lines.push(line) }),
    failures: {
      publicUrl: new URL(config.publicUrl),
      basePath: config.basePath,
      pages: new Pages(config),
      security: new SecurityHeaders(config),
    },
  })
  return { failing, state, lines }
}

test('a failure that cannot be answered is logged and ends the connection, and nothing else', () => {
  const { failing, state, lines } = call({ headersSent: false })

  failing.fail(new BffError('upstream_unavailable', 'gone'))

  expect(state.isDestroyed).toBe(true)
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
    'request failed',
    'a failure could not be answered',
  ])
})

test('a failure after the head breaks the answer off', () => {
  const { failing, state, lines } = call({ headersSent: true })

  failing.fail(new BffError('internal', 'too late'))

  expect(state.isDestroyed).toBe(true)
  expect(lines).toHaveLength(1)
})

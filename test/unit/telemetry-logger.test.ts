import { Writable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { prettyLines } from '../../src/telemetry/pretty-lines.ts'
import { cleanText } from '../../src/telemetry/redaction.ts'

function capture(settings: Partial<Parameters<typeof createLogger>[0]> = {}) {
  const written: string[] = []
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString())
      done()
    },
  })
  const log = createLogger({ level: 'trace', ...settings }, stream)
  return {
    log,
    stream,
    text: () => written.join(''),
    line: () => JSON.parse(written.at(-1) ?? '{}') as Record<string, unknown>,
  }
}

test('a line is one JSON object with a UTC time, the level in words and the message (CF-06)', () => {
  const { log, line } = capture()

  log.info({ route: '/api' }, 'request completed')

  expect(line()).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    route: '/api',
    msg: 'request completed',
  })
})

test('a line break in a field cannot begin a new line, and a terminal escape does not arrive (CF-06)', () => {
  const { log, text, line } = capture()

  log.warn({ reason: 'a\r\n{"event":"login.succeeded"}\u001b[2J' }, 'refused')

  expect(text().trimEnd()).not.toContain('\n')
  expect(line().reason).toBe('a {"event":"login.succeeded"} [2J')
})

test.each([
  [{ accessToken: 'opaque-token-value' }],
  [{ refresh_token: 'opaque-token-value' }],
  [{ headers: { Cookie: 'opaque-token-value' } }],
  [{ headers: { 'set-cookie': ['opaque-token-value'] } }],
  [{ session: { tokens: { idToken: 'opaque-token-value' } } }],
  [{ code: 'Opaque-token-value-0' }],
  [{ detail: 'answered {"access_token": 1} for Bearer opaque-token-value' }],
  [{ url: 'https://app.example/bff/callback?code=opaque-token-value' }],
  [{ url: 'redis://user:opaque-token-value@redis:6379' }],
  [{ list: [{ client_secret: 'opaque-token-value' }] }],
  [{ sessionCookie: 'opaque-token-value' }],
  [{ headers: { 'x-auth-token': 'opaque-token-value', 'Set-Cookie': 'opaque-token-value' } }],
  [{ ticket: 'opaque-token-value' }],
  [{ err: new Error('answered:\n    at Bearer opaque-token-value') }],
  [{ headers: Object.assign(Object.create(null), { cookie: 'opaque-token-value' }) as object }],
  [
    {
      response: new (class {
        readonly accessToken = 'opaque-token-value'
      })(),
    },
  ],
  [{ cause: Object.assign(new Error('no'), { command: { args: ['opaque-token-value'] } }) }],
  [{ body: Buffer.from('opaque-token-value') }],
  [{ keys: new Map([['token', 'opaque-token-value']]) }],
  [{ address: new URL('https://user:opaque-token-value@app.example/?code=opaque-token-value') }],
  [{ detail: 'GET /done?access-token=opaque-token-value;refresh-token=opaque-token-value' }],
  [{ url: 'redis://user:pass@opaque-token-value@redis:6379' }],
])('the second net catches a secret in %j (TK-09)', (fields) => {
  const { log, text } = capture()

  log.info(fields, 'something happened')

  expect(text()).not.toMatch(/opaque-token-value/i)
})

test('a failure code is shown although the field is called code', () => {
  const { log, line } = capture()

  log.info({ code: 'login_failed' }, 'refused')

  expect(line().code).toBe('login_failed')
})

test('an error is logged with its message, code and causes, and nothing that a library hung on it', () => {
  const { log, line } = capture()
  const inner = Object.assign(new Error('connect ECONNREFUSED'), {
    code: 'ECONNREFUSED',
    body: { access_token: 'secret-at' },
  })
  const error = new BffError('provider_unavailable', 'discovery failed', { cause: inner })

  log.error({ err: error }, 'discovery failed')

  expect(line().err).toEqual({
    type: 'BffError',
    message: 'discovery failed',
    code: 'provider_unavailable',
    causes: [{ type: 'Error', message: 'connect ECONNREFUSED', code: 'ECONNREFUSED', stack: expect.any(Array) }],
  })
  expect(JSON.stringify(line())).not.toContain('secret-at')
})

test('causes that go round in a circle end', () => {
  const { log, line } = capture()
  const error = new Error('outer')
  error.cause = new Error('inner', { cause: error })

  log.error({ err: error }, 'failed')

  expect(line().err).toMatchObject({ message: 'outer', causes: [{ message: 'inner' }] })
})

test('a request is logged without its query (TK-09)', () => {
  const { log, line } = capture()

  log.info(
    { req: { method: 'GET', url: '/bff/callback?code=abc&state=def', ip: '192.0.2.1', headers: { cookie: 'a=b' } } },
    'in',
  )

  expect(line().req).toEqual({ method: 'GET', path: '/bff/callback', remoteAddress: '192.0.2.1' })
})

test('texts are cut at 256 characters', () => {
  const { log, line } = capture()

  log.info({ reason: 'x'.repeat(10_000) }, 'long')

  expect(line().reason).toHaveLength(256)
})

test('no text keeps a control character or grows', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(0x30ff), { maxLength: 400 }), (units) => {
      const text = String.fromCharCode(...units)
      const cleaned = cleanText(text)
      expect(cleaned.length).toBeLessThanOrEqual(256)
      expect(cleaned).not.toMatch(/\p{Cc}/u)
    }),
  )
})

test('the pretty format is readable lines and passes through the same nets', async () => {
  const { stream, text } = capture()
  const log = createLogger({ level: 'trace' }, await prettyLines(stream))

  log.info({ accessToken: 'opaque-token-value', route: '/api' }, 'request completed')

  expect(text()).toContain('request completed')
  expect(text()).toContain('route: "/api"')
  expect(text()).not.toContain('opaque-token-value')
})

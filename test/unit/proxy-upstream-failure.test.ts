import { describe, expect, test } from 'vitest'
import { BffError } from '../../src/errors.ts'
import { failureOf, isConnectFailure } from '../../src/proxy/upstream-failure.ts'

function errorOf(code: string): Error {
  return Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:3000'), { code })
}

describe('what a client learns of an upstream’s failure', () => {
  test.each([
    ['UND_ERR_CONNECT_TIMEOUT', 'upstream_timeout'],
    ['ETIMEDOUT', 'upstream_timeout'],
    ['ECONNREFUSED', 'upstream_unavailable'],
    ['ENOTFOUND', 'upstream_unavailable'],
    ['UND_ERR_SOCKET', 'upstream_unavailable'],
    ['HPE_INVALID_CONSTANT', 'upstream_unavailable'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'upstream_unavailable'],
  ])('%s is %s, without an address in it (R52)', (code, expected) => {
    const failure = failureOf(errorOf(code))

    expect(failure.code).toBe(expected)
    expect(failure.message + failure.title).not.toContain('10.0.0.7')
    expect(failure.cause).toBeInstanceOf(Error)
  })

  test('a failure of our own stays what it is', () => {
    const own = new BffError('payload_too_large')

    expect(failureOf(own)).toBe(own)
  })

  test('only what happened before there was a connection may be tried again (R56)', () => {
    expect(isConnectFailure(errorOf('ECONNREFUSED'))).toBe(true)
    expect(isConnectFailure(new AggregateError([errorOf('ECONNREFUSED'), errorOf('EHOSTUNREACH')]))).toBe(true)
    expect(isConnectFailure(errorOf('UND_ERR_SOCKET'))).toBe(false)
    expect(isConnectFailure(errorOf('UND_ERR_CONNECT_TIMEOUT'))).toBe(false)
    expect(isConnectFailure(new Error('x'))).toBe(false)
  })
})

import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KeyRing } from '../../src/session/key-ring.ts'

const newCookie = () => randomBytes(32).toString('base64url')
const [a, b, c] = [KeyRing.generateKey(), KeyRing.generateKey(), KeyRing.generateKey()]

function sealed(ring: KeyRing, cookie: string, version = 1, json = '{"sub":"alice"}') {
  return { version, ...ring.sealSession(cookie, 'ref', version, json) }
}

test('a session opens with its own cookie, ref and version, and with nothing else (TK-10)', () => {
  const ring = new KeyRing([a])
  const cookie = newCookie()
  const record = sealed(ring, cookie)

  expect(ring.openSession(cookie, 'ref', record)).toEqual({ json: '{"sub":"alice"}' })
  expect(ring.openSession(newCookie(), 'ref', record)).toEqual({ failure: 'unreadable' })
  expect(ring.openSession(cookie, 'other', record)).toEqual({ failure: 'unreadable' })
  expect(ring.openSession(cookie, 'ref', { ...record, version: 2 })).toEqual({ failure: 'unreadable' })
  expect(new KeyRing([b]).openSession(cookie, 'ref', record)).toEqual({ failure: 'unknown_key' })
  expect(new KeyRing([b]).openSession(cookie, 'ref', { ...record, keyId: new KeyRing([b]).keyId })).toEqual({
    failure: 'unreadable',
  })
})

test('every changed, missing or added byte of a sealed session is noticed (R39)', () => {
  const ring = new KeyRing([a])
  const cookie = newCookie()
  const record = sealed(ring, cookie)
  for (let i = 0; i < record.sealed.length; i++) {
    const changed = Buffer.from(record.sealed)
    changed[i] = (changed[i] ?? 0) ^ 1
    expect(ring.openSession(cookie, 'ref', { ...record, sealed: changed })).toEqual({ failure: 'unreadable' })
    const cut = record.sealed.subarray(0, i)
    expect(ring.openSession(cookie, 'ref', { ...record, sealed: cut })).toEqual({ failure: 'unreadable' })
  }
  const longer = Buffer.concat([record.sealed, Buffer.of(0)])
  expect(ring.openSession(cookie, 'ref', { ...record, sealed: longer })).toEqual({ failure: 'unreadable' })
})

test('the first key seals, all open; a key that leaves takes with it what only it had sealed (R28)', () => {
  const cookie = newCookie()
  const ring = new KeyRing([a])
  const old = sealed(ring, cookie)
  ring.update([a, b])
  expect(ring.keyId).toBe(old.keyId)
  ring.update([b, a])
  const fresh = sealed(ring, cookie)
  expect(fresh.keyId).not.toBe(old.keyId)
  expect(ring.openSession(cookie, 'ref', old)).toHaveProperty('json')
  ring.update([b])

  expect(ring.openSession(cookie, 'ref', old)).toEqual({ failure: 'unknown_key' })
  expect(ring.openSession(cookie, 'ref', fresh)).toHaveProperty('json')
  expect(ring.has(old.keyId)).toBe(false)
})

test('a ring that does not parse changes nothing and names no value', () => {
  const ring = new KeyRing([a])
  const secret = 'not a key but perhaps a password'
  for (const bad of [[], [''], [secret], [a, `${b}AAAA`], [a.slice(1)], [`${a.slice(0, 42)}+`]]) {
    expect(() => ring.update(bad)).toThrow(TypeError)
    expect(() => new KeyRing(bad)).toThrow(/keygen|at least one/)
    try {
      ring.update(bad)
    } catch (error) {
      expect(String(error)).not.toContain(secret)
    }
  }
  expect(ring.keyId).toBe(new KeyRing([a]).keyId)
  expect(() => new KeyRing([` ${a}\n`])).not.toThrow()
})

test('what is sealed for one purpose opens for no other', () => {
  const ring = new KeyRing([a, b])
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.uint8Array(), (purpose, other, plain) => {
      const text = ring.seal(purpose, Buffer.from(plain))
      expect(text).toMatch(/^[A-Za-z0-9_-]+$/)
      expect(ring.open(purpose, text)).toEqual(Buffer.from(plain))
      if (other !== purpose) expect(ring.open(other, text)).toBeUndefined()
      expect(new KeyRing([c]).open(purpose, text)).toBeUndefined()
    }),
    { numRuns: 200 },
  )
})

test('opening takes any text without failing, and finds nothing in it', () => {
  const ring = new KeyRing([a])
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String(), fc.string({ unit: 'binary' })), (text) => {
      expect(ring.open('cookie', text)).toBeUndefined()
      expect(ring.open('cookie', ring.keyId + text)).toBeUndefined()
      expect(ring.openFor('secret', 'cookie', ring.keyId + text)).toBeUndefined()
    }),
    { numRuns: 500 },
  )
})

test('what is sealed for a holder opens only with the secret', () => {
  const ring = new KeyRing([a])
  const secret = newCookie()
  const text = ring.sealFor(secret, 'logout address', 'https://id.example/logout?id_token_hint=x')

  expect(ring.openFor(secret, 'logout address', text)?.toString()).toBe('https://id.example/logout?id_token_hint=x')
  expect(ring.openFor(newCookie(), 'logout address', text)).toBeUndefined()
  expect(ring.openFor(secret, 'another', text)).toBeUndefined()
  expect(ring.open('logout address', text)).toBeUndefined()
})

test('hashes for keys of the store depend on ring, purpose and value, and older keys are tried as well', () => {
  const ring = new KeyRing([b, a])
  const hashes = ring.keyedHashes('user', 'alice')

  expect(hashes[0]).toBe(ring.keyedHash('user', 'alice'))
  expect(hashes[1]).toBe(new KeyRing([a]).keyedHash('user', 'alice'))
  expect(ring.keyedHash('userx', 'alice')).not.toBe(ring.keyedHash('user', 'xalice'))
  expect(new Set([...hashes, ring.keyedHash('user', 'bob'), ring.keyedHash('provider', 'alice')]).size).toBe(4)
})

test('no two seals of one text are alike', () => {
  const ring = new KeyRing([a])
  const texts = Array.from({ length: 1_000 }, () => ring.seal('cookie', 'same'))
  expect(new Set(texts).size).toBe(1_000)
})

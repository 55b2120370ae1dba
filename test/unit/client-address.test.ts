import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ClientAddresses } from '../../src/http/client-address.ts'
import { silentLog } from '../../src/telemetry/log.ts'

const trusted = ['10.0.0.0/8', '192.0.2.1', 'fd00::/8']

function from(remoteAddress: string | undefined, forwarded?: string) {
  return { socket: { remoteAddress }, headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded } }
}

const addresses = new ClientAddresses(trusted, silentLog)

test.each([
  ['no proxy, nothing said', '203.0.113.9', undefined, '203.0.113.9'],
  ['no proxy, and a lie', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
  ['a proxy that says nothing', '10.1.2.3', undefined, '10.1.2.3'],
  ['one proxy', '10.1.2.3', '203.0.113.9', '203.0.113.9'],
  ['a lie in front of what the proxy says', '10.1.2.3', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
  ['two proxies', '10.1.2.3', '203.0.113.9, 10.9.9.9', '203.0.113.9'],
  ['a lie that names a proxy', '10.1.2.3', '10.7.7.7, 203.0.113.9', '203.0.113.9'],
  ['proxies only', '10.1.2.3', '10.4.4.4, 10.5.5.5', '10.4.4.4'],
  ['something that is no address', '10.1.2.3', 'unknown', '10.1.2.3'],
  ['no address behind a proxy', '10.1.2.3', 'evil, 10.9.9.9', '10.9.9.9'],
  ['a port', '10.1.2.3', '203.0.113.9:51234', '203.0.113.9'],
  ['IPv6 with a port', '10.1.2.3', '[2001:db8::1]:443', '2001:db8::1'],
  ['IPv6 in quotes', '10.1.2.3', '"[2001:db8::1]"', '2001:db8::1'],
  ['a zone', '10.1.2.3', 'fe80::1%eth0', '10.1.2.3'],
  ['a proxy by its exact address', '192.0.2.1', '203.0.113.9', '203.0.113.9'],
  ['its neighbour', '192.0.2.2', '203.0.113.9', '192.0.2.2'],
  ['a proxy with IPv6', 'fd12::1', '203.0.113.9', '203.0.113.9'],
  ['IPv4 on a dual-stack listener', '::ffff:10.1.2.3', '203.0.113.9', '203.0.113.9'],
  ['IPv4 in a mapped hop', '10.1.2.3', '::ffff:203.0.113.9', '203.0.113.9'],
  ['the proxy beside us on a unix socket', undefined, '203.0.113.9', '203.0.113.9'],
])('the client’s address with %s (PX-09, CF-04)', (_, peer, forwarded, expected) => {
  expect(addresses.of(from(peer, forwarded))).toBe(expected)
})

test('without trustedProxies nobody’s word counts (CF-04)', () => {
  const none = new ClientAddresses([], silentLog)
  expect(none.of(from('127.0.0.1', '203.0.113.9'))).toBe('127.0.0.1')
  expect(none.isTrusted(from('127.0.0.1'))).toBe(false)
})

test('a client cannot choose its own address: what it writes in front is never reached (PX-09)', () => {
  const hop = fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ maxLength: 20 }), fc.constantFrom('10.0.0.1', 'fd00::1'))
  fc.assert(
    fc.property(fc.array(hop, { maxLength: 50 }), (lies) => {
      const chain = [...lies.map((lie) => lie.replaceAll(',', ' ')), '203.0.113.9'].join(', ')
      expect(addresses.of(from('10.1.2.3', chain))).toBe('203.0.113.9')
    }),
  )
})

test('clients behind an unknown proxy are not counted as one, and the operator is told once', () => {
  const lines: object[] = []
  const log = { ...silentLog, warn: (fields: object) => void lines.push(fields) }
  const some = new ClientAddresses(trusted, log)

  expect(some.limitKeyOf(from('203.0.113.9', '198.51.100.1'))).toBeUndefined()
  expect(some.limitKeyOf(from('203.0.113.8', '198.51.100.2'))).toBeUndefined()

  expect(some.limitKeyOf(from('203.0.113.9'))).toBe('203.0.113.9')
  expect(some.limitKeyOf(from('10.1.2.3', '198.51.100.1'))).toBe('198.51.100.1')
  expect(lines).toEqual([{ setting: 'trustedProxies' }])
})

test.each([
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
])('an IPv6 client is counted with its whole network: %s as %s', (address, key) => {
  expect(addresses.limitKeyOf(from(address))).toBe(key)
})

test.each(['10.0.0.0/33', 'fd00::/129', 'localhost', '10.0.0.0/x', '/8', ''])('"%s" is no network', (entry) => {
  expect(() => new ClientAddresses([entry], silentLog)).toThrow(TypeError)
})

/** Whose request is this? The peer's, or where a trusted proxy stands in front, whom that proxy names (PX-09, CF-04). */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import type { Log } from '../telemetry/log.ts'

type Raw = Pick<IncomingMessage, 'headers'> & { readonly socket: { readonly remoteAddress?: string | undefined } }

/** More hops than any real chain; what is further left is not looked at. */
const MOST_HOPS = 32

/** Who a connection over a unix socket comes from: whoever may open the file, which is the proxy beside us. */
const UNIX_SOCKET = 'unix'

/** Knows `trustedProxies`; made once. */
export class ClientAddresses {
  readonly #trusted = new BlockList()
  readonly #trustsNobody: boolean
  readonly #log: Log
  #hasWarned = false

  /** @param trustedProxies addresses and CIDR blocks, such as `10.0.0.0/8` or `fd00::/8` */
  constructor(trustedProxies: readonly string[], log: Log) {
    for (const entry of trustedProxies) addNetwork(this.#trusted, entry)
    this.#trustsNobody = trustedProxies.length === 0
    this.#log = log
  }

  /** Whether this request's `X-Forwarded-*` fields count. */
  isTrusted(raw: Raw): boolean {
    const peer = peerOf(raw)
    return peer === UNIX_SOCKET || this.#isProxy(peer)
  }

  /**
   * The client's address: of `X-Forwarded-For`, read from the right, the first hop that is no trusted proxy. What a
   * client wrote in front of that is never looked at.
   */
  of(raw: Raw): string {
    const peer = peerOf(raw)
    if (!this.isTrusted(raw)) return peer
    let client = peer
    for (const hop of hopsOf(raw).toReversed()) {
      const address = addressOf(hop)
      if (address === undefined) break
      client = address
      if (!this.#isProxy(address)) break
    }
    return client
  }

  /**
   * What per-address limits count by: the address, of IPv6 the network that one customer gets. `undefined` when
   * clients cannot be told apart: an unknown proxy is in front, and all would share one limit.
   */
  limitKeyOf(raw: Raw): string | undefined {
    if (raw.headers['x-forwarded-for'] !== undefined && !this.isTrusted(raw)) {
      this.#warn()
      return undefined
    }
    const address = this.of(raw)
    return isIPv6(address) ? `${groupsOf(address).slice(0, 4).join(':')}::/64` : address
  }

  #isProxy(address: string): boolean {
    return !this.#trustsNobody && isIP(address) !== 0 && this.#trusted.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
  }

  #warn(): void {
    if (this.#hasWarned) return
    this.#hasWarned = true
    this.#log.warn(
      { setting: 'trustedProxies' },
      'X-Forwarded-For arrives from a peer that is not in trustedProxies: limits per address are off for such requests',
    )
  }
}

function addNetwork(list: BlockList, entry: string): void {
  const [address = '', prefix] = entry.split('/')
  const family = isIPv4(address) ? 'ipv4' : 'ipv6'
  const longest = family === 'ipv4' ? 32 : 128
  const bits = prefix === undefined ? longest : Number(prefix)
  if (isIP(address) === 0 || !/^\d{1,3}$/.test(prefix ?? '0') || bits > longest) {
    throw new TypeError('an entry of trustedProxies is neither an address nor a CIDR block')
  }
  list.addSubnet(address, bits, family)
}

function peerOf(raw: Raw): string {
  const address = raw.socket.remoteAddress
  return address === undefined ? UNIX_SOCKET : unmapped(address)
}

/** A dual-stack listener shows IPv4 peers as `::ffff:192.0.2.1`. */
function unmapped(address: string): string {
  const ipv4 = /^::ffff:([\d.]+)$/i.exec(address)?.[1]
  return ipv4 !== undefined && isIPv4(ipv4) ? ipv4 : address
}

function hopsOf(raw: Raw): string[] {
  const field = raw.headers['x-forwarded-for']
  const text = Array.isArray(field) ? field.join(',') : (field ?? '')
  return text === '' ? [] : text.split(',').slice(-MOST_HOPS)
}

/** A hop with or without port; some proxies write `192.0.2.1:443` and `[2001:db8::1]:443`. */
function addressOf(hop: string): string | undefined {
  const text = hop.trim().replace(/^"|"$/g, '')
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(text)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(text)?.[1] ?? text
  return isIP(bare) === 0 || bare.includes('%') ? undefined : unmapped(bare)
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): string[] {
  // A URL parser writes IPv6 in one form only (RFC 5952), with an embedded IPv4 as two groups.
  const host = URL.parse(`http://[${address.replace(/%.*$/, '')}]/`)?.hostname.slice(1, -1) ?? '::'
  const [head = '', tail] = host.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  return [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right]
}

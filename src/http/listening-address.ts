/** Where a server listens, as a person would write it. */
import type { Server } from 'node:http'
import { Server as TlsServer } from 'node:tls'

/** A URL, or the path of a socket; empty for one that does not listen. */
export function listeningAddress(server: Server): string {
  const address = server.address()
  if (typeof address === 'string' || address === null) return address ?? ''
  const scheme = server instanceof TlsServer ? 'https' : 'http'
  const host = address.address === '0.0.0.0' || address.address === '::' ? 'localhost' : address.address
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${address.port}`
}

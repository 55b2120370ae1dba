/** Where an upstream is and how its connections are made: http, https or a unix socket. */
import { isIP } from 'node:net'
import type { buildConnector } from 'undici'
import type { RouteConfig } from '../config/schema.ts'

/** The parts of a route's configuration that decide on connections. */
export type ConnectionConfig = Pick<RouteConfig, 'tls' | 'http2' | 'timeout'>

export interface UpstreamAddress {
  /** Scheme and authority as they are dialled; for a unix socket `http://localhost`. */
  readonly origin: string
  /** What `Host` names. */
  readonly host: string
  readonly socketPath: string | undefined
  /** The name for SNI and certificate check; empty for an IP address, which SNI cannot name; `undefined` without TLS. */
  readonly serverName: string | undefined
}

/** Reads `http://host:port`, `https://host:port` or `unix:/path`. */
export function upstreamAddress(upstream: string, config: Pick<ConnectionConfig, 'tls'>): UpstreamAddress {
  if (upstream.startsWith('unix:')) {
    return { origin: 'http://localhost', host: 'localhost', socketPath: upstream.slice(5), serverName: undefined }
  }
  const url = new URL(upstream)
  return {
    origin: url.origin,
    host: url.host,
    socketPath: undefined,
    serverName: serverNameOf(url, config.tls?.serverName),
  }
}

function serverNameOf(url: URL, configured: string | undefined): string | undefined {
  if (url.protocol !== 'https:') return undefined
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  return configured ?? (isIP(hostname) === 0 ? hostname : '')
}

/**
 * Options of undici's connector. Certificates are always verified: @fastify/reply-from and a bare undici pool made by
 * it would turn that off.
 */
export function connectOptions(address: UpstreamAddress, config: ConnectionConfig): buildConnector.BuildOptions {
  const { ca, cert, key } = config.tls ?? {}
  return {
    timeout: config.timeout.connect,
    ...(address.socketPath !== undefined && { socketPath: address.socketPath }),
    ...(address.serverName !== undefined && {
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && key !== undefined && { cert, key }),
    }),
  }
}

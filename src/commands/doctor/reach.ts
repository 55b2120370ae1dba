/** Name, connection and certificate of a server, one after the other: each failure has its own cause and remedy. */
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Findings } from './finding.ts'

const PATIENCE_MS = 5_000
/** Some servers in clear wait for the rest of what they take for a request. */
const TLS_PATIENCE_MS = 2_500
const DAY_MS = 86_400_000

export interface TlsSettings {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly serverName?: string | undefined
}

/** What to do about a certificate, in the words of the one who asks. */
export interface TlsAdvice {
  /** Its authority is not known. */
  readonly authority: string
  /** The key that takes the name which the certificate carries, where there is one. */
  readonly serverName?: string
}

/** The process's own trust, for servers that have no `tls` of their own in the configuration. */
export const PROCESS_TRUST: TlsAdvice = {
  authority: 'start the gateway with NODE_EXTRA_CA_CERTS=FILE, a file with the certificate of its authority',
}

/** Whether the server of this URL can be reached and, with https or rediss, be trusted. */
export async function reach(url: URL, findings: Findings, advice: TlsAdvice, tls: TlsSettings = {}): Promise<boolean> {
  const { host, port, secure } = addressOf(url)
  try {
    await lookup(host)
  } catch {
    findings.fail(
      `${host} is not known to DNS here`,
      'check the name; in a container, check that it is in the same network as the server',
    )
    return false
  }
  let socket: Socket
  try {
    socket = await opened(connect({ host, port }))
  } catch (error) {
    const refused = codeOf(error) === 'ECONNREFUSED'
    findings.fail(
      `${host}:${port} ${refused ? 'refuses connections' : `cannot be reached (${codeOf(error)})`}`,
      refused
        ? 'start the server, or correct the port'
        : 'check the address, firewalls and network policies between here and there',
    )
    return false
  }
  if (!secure) {
    socket.destroy()
    findings.ok(`${host}:${port} can be reached`)
    return true
  }
  return checkTls(socket, { host, port, advice, tls }, findings)
}

/** Whether TLS comes about at an address that is spoken to in clear; whose certificate it is does not matter here. */
export async function speaksTls(url: URL): Promise<boolean> {
  const { host, port } = addressOf(url)
  const socket = connectTls({ host, port, rejectUnauthorized: false })
  try {
    await opened(socket, 'secureConnect')
    return true
  } catch {
    return false // whatever it is, it is no TLS
  } finally {
    socket.destroy()
  }
}

function addressOf(url: URL): { host: string; port: number; secure: boolean } {
  const secure = url.protocol === 'https:' || url.protocol === 'rediss:'
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(url.port) || (url.protocol.startsWith('redis') ? 6_379 : secure ? 443 : 80),
    secure,
  }
}

async function checkTls(
  socket: Socket,
  { host, port, advice, tls }: { host: string; port: number; advice: TlsAdvice; tls: TlsSettings },
  findings: Findings,
): Promise<boolean> {
  const { ca, cert, key } = tls
  const secured = connectTls({
    socket,
    host,
    servername: tls.serverName ?? (/^[\d.:]+$/.test(host) ? '' : host),
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && key !== undefined && { cert, key }),
  })
  let validTo: string
  try {
    await opened(secured, 'secureConnect')
    validTo = secured.getPeerCertificate().valid_to
  } catch (error) {
    const code = codeOf(error)
    findings.fail(`${host}:${port}: ${tlsProblem(code)} (${code})`, tlsRemedy(code, advice))
    return false
  } finally {
    secured.destroy()
  }
  const daysLeft = Math.floor((Date.parse(validTo) - Date.now()) / DAY_MS)
  if (daysLeft < 14)
    findings.warn(
      `the certificate of ${host} expires in ${daysLeft} days`,
      'renew it, or see why its renewal does not work',
    )
  else findings.ok(`${host}:${port} can be reached, and its certificate is trusted`)
  return true
}

function opened<S extends Socket>(socket: S, event: 'connect' | 'secureConnect' = 'connect'): Promise<S> {
  const { promise, resolve, reject } = Promise.withResolvers<S>()
  const timer = setTimeout(
    () => {
      socket.destroy()
      reject(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' }))
    },
    event === 'connect' ? PATIENCE_MS : TLS_PATIENCE_MS,
  )
  socket.once(event, () => resolve(socket))
  socket.once('error', reject)
  socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
  return promise.finally(() => clearTimeout(timer))
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
}

function tlsProblem(code: string): string {
  if (code === 'CERT_HAS_EXPIRED') return 'the certificate has expired'
  if (code === 'CERT_NOT_YET_VALID') return 'the certificate is not valid yet'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'the certificate is for another name'
  if (code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    return 'the certificate is not signed by an authority that is trusted here, or comes without the intermediate one'
  if (isUntrusted(code)) return 'the certificate is not signed by an authority that is trusted here'
  return 'TLS does not come about'
}

function tlsRemedy(code: string, advice: TlsAdvice): string {
  if (code === 'CERT_HAS_EXPIRED') return 'renew the certificate of the server'
  if (code === 'CERT_NOT_YET_VALID') return 'check the clock of this machine'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `use the name that is in the certificate, or get one for this name${advice.serverName === undefined ? '' : `; or write the one that is in it into ${advice.serverName}`}`
  if (code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    return `${advice.authority}; with a public authority, let the server send the whole chain (often fullchain.pem)`
  if (isUntrusted(code)) return advice.authority
  return 'is it a server without TLS? then the address begins with http:// or redis://'
}

function isUntrusted(code: string): boolean {
  return /SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|CERT_UNTRUSTED|INVALID_CA/.test(code)
}

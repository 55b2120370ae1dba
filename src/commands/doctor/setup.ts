/** What can be told from the configuration and the files it names: parts that do not fit each other. */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { LoadedConfig } from '../../config/load.ts'
import { isLoopback } from '../../config/network.ts'
import { formatPath } from '../../config/problem.ts'
import type { Config } from '../../config/schema.ts'
import { cookieNames, sessionSameSite } from '../../http/cookies.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'

const SOON_MS = 14 * 86_400_000

/** The configuration by itself. */
export function examineSetup({ config, file, warnings }: LoadedConfig): Finding[] {
  const findings = new Findings('configuration')
  findings.ok(`${file} can be used`)
  for (const { path, message, line } of warnings) findings.warn(`${formatPath(path)}: ${message}`, `${file}:${line}`)
  examineFront(config, findings)
  examineCookies(config, findings)
  if (config.listen.tls) examineCertificate(config, config.listen.tls, findings)
  if (!config.store.redis) {
    findings.warn(
      'sessions are in memory: they end with the process, and a second replica would not know them',
      'write store.redis before there are two replicas',
    )
  }
  for (const route of config.routes) examineRoute(config, route, findings)
  return findings.list
}

function examineFront(config: Config, findings: Findings): void {
  const url = new URL(config.publicUrl)
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  if (isLoopback(url.hostname) && config.listen.socket === undefined && port !== config.listen.port) {
    findings.warn(
      `publicUrl names port ${port}, but the gateway listens on ${config.listen.port}`,
      `write listen: { port: ${port} }, unless something stands in front`,
    )
  }
  if (url.protocol === 'https:' && !config.listen.tls && config.trustedProxies.length === 0) {
    findings.warn(
      'publicUrl is https and the gateway speaks http: a proxy in front ends TLS, but none is trusted, so every client has the address of the proxy',
      'write trustedProxies with the address or network of the proxy',
    )
  }
  if (url.protocol === 'http:' && config.listen.tls) {
    findings.fail(
      'the gateway speaks TLS (listen.tls), but publicUrl begins with http://: browsers would be sent to the wrong place',
      `write publicUrl: ${config.publicUrl.replace(/^http:/, 'https:')}`,
    )
  }
}

function examineCookies(config: Config, findings: Findings): void {
  const { insecure } = config.session.cookie
  const { session } = cookieNames(config)
  if (insecure) {
    findings.warn(
      `the session cookie ${session} is without Secure and its prefix`,
      'write session: { cookie: { insecure: false } }, unless it is developed with Safari: other browsers take Secure on localhost',
    )
  } else findings.ok(`session cookie ${session}; SameSite=${sessionSameSite(config)}`)
}

/** The listener's own certificate: for the name that browsers use, with its key, and for a while yet. */
function examineCertificate(config: Config, tls: NonNullable<Config['listen']['tls']>, findings: Findings): void {
  const { hostname } = new URL(config.publicUrl)
  const renew = 'renew it, and write its file into listen.tls.certFile: it is read again when it changes'
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(tls.cert ?? '')
    if (!certificate.checkPrivateKey(createPrivateKey(tls.key ?? ''))) {
      findings.fail('listen.tls.key is not the key of listen.tls.cert', 'write the pair that was issued together')
      return
    }
  } catch {
    // The reason may quote the key.
    findings.fail(
      'listen.tls.cert or listen.tls.key cannot be read',
      'write PEM files: the certificate chain and its key',
    )
    return
  }
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  if ((isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) === undefined) {
    const names = (certificate.subjectAltName ?? '').replaceAll(/DNS:|IP Address:/g, '').slice(0, 200)
    findings.fail(
      `the certificate of the listener is for ${names}, and publicUrl names ${host}`,
      `get a certificate for ${host}, or correct publicUrl`,
    )
    return
  }
  const left = Date.parse(certificate.validTo) - Date.now()
  if (left < 0) findings.fail('the certificate of the listener has expired', renew)
  else if (left < SOON_MS)
    findings.warn(`the certificate of the listener expires in ${Math.floor(left / 86_400_000)} days`, renew)
  else findings.ok(`the certificate of the listener is for ${host}`)
}

function examineRoute(config: Config, { path, upstream, spa }: Config['routes'][number], findings: Findings): void {
  if (upstream !== undefined && URL.parse(upstream)?.origin === config.publicUrl) {
    findings.fail(
      `route ${path} leads to publicUrl, the gateway itself: requests go round in a circle`,
      'write the address of the application behind the gateway',
    )
  }
  if (spa?.directory === undefined) return
  if (existsSync(join(spa.directory, spa.fallback))) findings.ok(`route ${path} has its ${spa.fallback}`)
  else
    findings.fail(
      `route ${path}: there is no ${spa.fallback} in ${spa.directory}`,
      'build the app, or correct spa.directory',
    )
}

/** The servers behind the routes: there, trusted, and of the protocol that the route names. */
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import type { Config } from '../../config/schema.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'
import { PROCESS_TRUST, reach, speaksTls } from './reach.ts'

const PATIENCE_MS = 5_000
const ADVICE = {
  authority: 'put the certificate of its authority into tls.caFile of the route',
  serverName: 'tls.serverName of the route',
}

type Route = Config['routes'][number]

/** Whether the upstream of a route would answer. It is asked for nothing but a HEAD of its start, without a token. */
export async function examineUpstream(route: Route): Promise<Finding[]> {
  const findings = new Findings(`route ${route.path}`)
  const address = route.upstream ?? route.spa?.devServer ?? route.spa?.indexUrl
  if (address?.startsWith('unix:')) await examineSocket(address, findings)
  const url = address === undefined || address.startsWith('unix:') ? null : URL.parse(address)
  if (url && (await reach(url, findings, ADVICE, route.tls))) await examineAnswer(route, url, findings)
  const issuer = route.bearer && URL.parse(route.bearer.issuer)
  if (issuer) await reach(issuer, findings, PROCESS_TRUST)
  return findings.list
}

async function examineSocket(address: string, findings: Findings): Promise<void> {
  // As undici takes it: unix:/path or unix:///path.
  const path = address.replace(/^unix:(?:\/\/)?/, '')
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    findings.ok(`${path} can be reached`)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown reason'
    findings.fail(
      `the socket ${path} cannot be opened (${code})`,
      code === 'EACCES'
        ? 'let the user of this process read and write it'
        : 'start the server that makes it, or correct the path in upstream',
    )
  } finally {
    socket.destroy()
  }
}

async function examineAnswer({ tls }: Route, url: URL, findings: Findings): Promise<void> {
  const answer = await head(url, tls)
  const secure = `write upstream: ${url.origin.replace('http:', 'https:')}${url.pathname === '/' ? '' : url.pathname}`
  // Go and nginx answer 400 in clear where TLS is due, Node closes.
  const maybeTls = url.protocol === 'http:' && (answer === undefined || answer.statusCode === 400)
  if (maybeTls && (await speaksTls(url))) {
    findings.fail(`${url.host} speaks TLS, and the route speaks to it in clear`, secure)
    return
  }
  if (!answer) {
    findings.warn(
      `${url.host} takes connections and answers no HTTP`,
      'check that the port is the one of its web server',
    )
    return
  }
  const target = URL.parse(answer.headers.location ?? '')
  const isRedirect = answer.statusCode !== undefined && answer.statusCode >= 300 && answer.statusCode < 400
  if (isRedirect && url.protocol === 'http:' && target?.protocol === 'https:' && target.hostname === url.hostname) {
    findings.fail(
      `${url.host} answers http with a redirect to https: callers of the route would be sent past the gateway`,
      `write upstream: ${target.origin}, or switch that redirect off there`,
    )
  }
}

async function head(url: URL, tls: Route['tls']): Promise<IncomingMessage | undefined> {
  const { promise, resolve } = Promise.withResolvers<IncomingMessage | undefined>()
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  const request = send(
    url,
    {
      method: 'HEAD',
      agent: false,
      timeout: PATIENCE_MS,
      ...(url.protocol === 'https:' && {
        ...(tls?.ca !== undefined && { ca: tls.ca }),
        ...(tls?.cert !== undefined && tls.key !== undefined && { cert: tls.cert, key: tls.key }),
        ...(tls?.serverName !== undefined && { servername: tls.serverName }),
      }),
    },
    resolve,
  )
  request.on('error', () => resolve(undefined))
  request.on('timeout', () => request.destroy())
  request.end()
  const answer = await promise
  request.destroy()
  return answer
}

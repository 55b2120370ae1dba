/** What the keys of the gateway itself mean to each other; each message says what to write instead. */
import { isLoopback, isNetwork, isSameSite } from './network.ts'
import type { Report } from './problem.ts'
import type { ConfigValues } from './shape.ts'

const DEFAULT_PORTS: Readonly<Record<string, number>> = { listen: 8_080, management: 9_090, admin: 9_091 }

/** Public URL, listeners, proxies in front, origins, cookie: everything but providers, routes and store. */
export function checkGateway(config: ConfigValues, report: Report): void {
  checkPublicUrl(config, report)
  checkListeners(config, report)
  checkTrustedProxies(config, report)
  checkOrigins(config, report)
  checkCookie(config, report)
}

function checkPublicUrl(config: ConfigValues, report: Report): void {
  const url = new URL(config.publicUrl)
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    report(
      ['publicUrl'],
      'must begin with https://; http:// is for a loopback address such as http://localhost:8080 only (RFC 9700 §2.6)',
    )
  }
  if (config.basePath === '/')
    report(['basePath'], 'cannot be /: the application lives there; write a path such as /bff')
}

function checkListeners(config: ConfigValues, report: Report): void {
  const { listen, management, admin, forwardAuth } = config
  checkPair(listen.tls, ['listen', 'tls'], report)
  if (admin && admin.token === undefined && admin.tokenFile === undefined) {
    report(['admin', 'token'], 'is missing: the admin listener ends sessions, so write token or tokenFile')
  }
  const taken: { key: string; host: string; port: number }[] = []
  const claim = (key: string, address: { host: string; port: number; socket?: string | undefined } | undefined) => {
    if (!address || address.socket !== undefined || address.port === 0) return
    const { host, port } = address
    const other = taken.find((one) => one.port === port && (one.host === host || isEvery(one.host) || isEvery(host)))
    if (other) {
      // The one that was moved is the one to move again; the other may not even be in the file.
      const [moved, stays] = port === DEFAULT_PORTS[key] ? [other.key, key] : [key, other.key]
      report([moved, 'port'], `${port} is taken by ${stays} already: each listener needs its own`)
    }
    taken.push({ key, host, port })
  }
  claim('listen', listen)
  claim('management', management)
  claim('admin', admin)
  claim('forwardAuth', forwardAuth)
}

function isEvery(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function checkTrustedProxies(config: ConfigValues, report: Report): void {
  for (const [index, entry] of config.trustedProxies.entries()) {
    if (!isNetwork(entry)) {
      report(
        ['trustedProxies', index],
        'expected an IP address or a network such as 10.0.0.0/8; names and numbers of hops can be forged (CF-04)',
      )
    } else if (entry.endsWith('/0')) {
      report(['trustedProxies', index], 'would trust every address: write the networks of the proxies in front')
    }
  }
}

function checkOrigins(config: ConfigValues, report: Report): void {
  const publicUrl = new URL(config.publicUrl)
  for (const [index, origin] of config.cors.origins.entries()) {
    if (!isSameSite(new URL(origin), publicUrl)) {
      report(
        ['cors', 'origins', index],
        'is not of the same site as publicUrl: browsers would not send the session cookie from there; serve it below the same domain, or through this gateway',
      )
    }
  }
  for (const [index, origin] of config.login.returnOrigins.entries()) {
    if (!config.cors.origins.includes(origin) && origin !== publicUrl.origin) {
      report(
        ['login', 'returnOrigins', index],
        'is not in cors.origins: a login returns to this gateway or to those origins only; add it there too',
      )
    }
  }
}

function checkCookie(config: ConfigValues, report: Report): void {
  const { sameSite, insecure } = config.session.cookie
  if (insecure && !isLoopback(new URL(config.publicUrl).hostname)) {
    report(
      ['session', 'cookie', 'insecure'],
      'is refused unless publicUrl is a loopback address: without Secure the cookie would cross the network in clear',
    )
  }
  if (sameSite === 'strict') {
    const index = config.routes.findIndex((route) => route.session === 'login' || route.session === 'optional')
    const route = config.routes[index]
    if (route) {
      report(
        ['session', 'cookie', 'sameSite'],
        `strict does not go with routes[${index}], which is ${route.session}: after a sign-in form a browser sends no Strict cookie on the way back, so the login would begin anew; write lax, or make that route required`,
      )
    }
  }
}

/** A certificate without its key, or a key without its certificate, is half a credential. */
export function checkPair(
  tls:
    | {
        cert?: string | undefined
        certFile?: string | undefined
        key?: string | undefined
        keyFile?: string | undefined
      }
    | undefined,
  path: readonly (string | number)[],
  report: Report,
): void {
  if (!tls) return
  const cert = tls.cert ?? tls.certFile
  const key = tls.key ?? tls.keyFile
  if (cert !== undefined && key === undefined)
    report([...path, 'key'], 'is missing: a certificate needs its key; write key or keyFile')
  if (key !== undefined && cert === undefined)
    report([...path, 'cert'], 'is missing: a key needs its certificate; write cert or certFile')
}

/** What host names and addresses say about who can reach them. */
import { isIP } from 'node:net'

/** Whether a URL's host can only be this machine: `localhost`, names below it, 127.0.0.0/8, `[::1]`. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  if (host === 'localhost' || host.endsWith('.localhost') || host === '::1') return true
  return isIP(host) === 4 && host.startsWith('127.')
}

/** Whether a URL is safe to carry secrets: https, or http that does not leave this machine. */
export function isProtected(url: string): boolean {
  const parsed = URL.parse(url)
  return (
    parsed !== null && (parsed.protocol === 'https:' || (parsed.protocol === 'http:' && isLoopback(parsed.hostname)))
  )
}

/** Whether the text is an IP address or a network such as 10.0.0.0/8. */
export function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  if (prefix === undefined) return true
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128)
}

/**
 * Second-level labels under which country registries sell names, and hosts that give each customer a name below theirs:
 * the part of the Public Suffix List that gateways meet. The browser, which has the whole list, has the last word.
 */
const REGISTRY_LABELS = new Set([
  'ac',
  'co',
  'com',
  'edu',
  'gob',
  'gov',
  'go',
  'gouv',
  'ltd',
  'me',
  'ne',
  'net',
  'nhs',
  'or',
  'org',
  'plc',
  'sch',
])
const SHARED_HOSTS = new Set([
  'amazonaws.com',
  'amplifyapp.com',
  'appspot.com',
  'azurecontainerapps.io',
  'azureedge.net',
  'azurestaticapps.net',
  'azurewebsites.net',
  'blogspot.com',
  'cloudapp.net',
  'cloudfront.net',
  'deno.dev',
  'firebaseapp.com',
  'fly.dev',
  'github.io',
  'gitlab.io',
  'herokuapp.com',
  'netlify.app',
  'ngrok.app',
  'ngrok.io',
  'onrender.com',
  'pages.dev',
  'run.app',
  'surge.sh',
  'trycloudflare.com',
  'vercel.app',
  'web.app',
  'workers.dev',
])

/** Whether two origins are one site for a browser (same scheme, same registrable domain), as far as can be told here. */
export function isSameSite(one: URL, other: URL): boolean {
  if (one.protocol !== other.protocol) return false
  if (one.hostname === other.hostname) return true
  if (isIP(bare(one.hostname)) !== 0 || isIP(bare(other.hostname)) !== 0) return false
  const site = registrableDomain(one.hostname)
  return site !== undefined && site === registrableDomain(other.hostname)
}

function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}

function registrableDomain(hostname: string): string | undefined {
  const labels = hostname.split('.')
  const [second = '', top = ''] = labels.slice(-2)
  const shared = SHARED_HOSTS.has(`${second}.${top}`) || (top.length === 2 && REGISTRY_LABELS.has(second))
  const count = shared ? 3 : 2
  return labels.length < count ? undefined : labels.slice(-count).join('.')
}

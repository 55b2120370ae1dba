/** The kinds of single values that the configuration is made of. */
import { z } from 'zod'

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS = { b: 1, kb: 1_024, mb: 1_048_576, gb: 1_073_741_824 } as const
const RATE_UNITS = { s: 1_000, min: 60_000, h: 3_600_000 } as const
/** Node's timers hold 31 bits of milliseconds; cookies are capped at 400 days by browsers (RFC 6265bis §5.5). */
const LONGEST_MS = 400 * DURATION_UNITS.d

/** `30s`, `15m`, `10h` → milliseconds. */
export const duration = (minimumMs = 0) =>
  z
    .string({ error: 'expected a duration such as 30s, 15m or 10h' })
    .regex(/^\d{1,9}(ms|s|m|h|d)$/, { error: 'expected a duration such as 30s, 15m or 10h', abort: true })
    // The pattern above guarantees the unit.
    .transform(
      (text) => Number.parseInt(text, 10) * DURATION_UNITS[text.replace(/^\d+/, '') as keyof typeof DURATION_UNITS],
    )
    .refine((ms) => ms >= minimumMs, {
      error: `expected at least ${minimumMs >= 1_000 ? `${minimumMs / 1_000}s` : `${minimumMs}ms`}`,
    })
    .refine((ms) => ms <= LONGEST_MS, { error: 'expected at most 400d' })

/** `32kb`, `1mb` → bytes. */
export const size = z
  .string({ error: 'expected a size such as 32kb or 1mb' })
  .regex(/^\d{1,9}(b|kb|mb|gb)$/, { error: 'expected a size such as 32kb or 1mb', abort: true })
  // The pattern above guarantees the unit.
  .transform((text) => Number.parseInt(text, 10) * SIZE_UNITS[text.replace(/^\d+/, '') as keyof typeof SIZE_UNITS])

/** `20/min` → how many in how many milliseconds; `off` → undefined. */
export const rate = z
  .string({ error: 'expected a rate such as 20/min (units s, min, h), or off' })
  .regex(/^([1-9]\d{0,8}\/(s|min|h)|off)$/, {
    error: 'expected a rate such as 20/min (units s, min, h), or off',
    abort: true,
  })
  .transform((text) => {
    if (text === 'off') return undefined
    // The pattern above guarantees both parts.
    const [count, unit] = text.split('/') as [string, keyof typeof RATE_UNITS]
    return { limit: Number(count), windowMs: RATE_UNITS[unit] }
  })

export const text = z.string().min(1, { error: 'expected a text that is not empty' })
export const port = z.number().int().min(0).max(65_535)

/** A secret: given in place or as `…File`; both arrive here as text, since the loader reads the file. Never printed. */
export const secret = (description: string) => text.optional().meta({ description, writeOnly: true })
/** A certificate: given in place or as `…File`, like a secret, but no secret. */
export const pem = (description: string) => text.optional().meta({ description })
/** The path of a file that holds the value of the key beside it; read again when it changes. */
export const file = (key: string) =>
  text.optional().meta({
    description: `File that holds \`${key}\`; relative to the configuration file, read again when it changes.`,
  })

/** A URL with one of these schemes, without credentials: those have keys of their own. */
export const absoluteUrl = (...schemes: string[]) =>
  z.string().check((ctx) => {
    const url = URL.parse(ctx.value)
    const wanted = schemes.map((scheme) => `${scheme}://`).join(' or ')
    const message =
      !url || !schemes.includes(url.protocol.slice(0, -1)) || url.host === ''
        ? `expected a URL that begins with ${wanted}`
        : url.username !== '' || url.password !== ''
          ? 'expected a URL without user name and password'
          : undefined
    if (message) ctx.issues.push({ code: 'custom', message, input: '', continue: false })
  })

/** An origin: scheme, host, port and nothing else; arrives without a trailing slash and default port. */
export const origin = absoluteUrl('https', 'http')
  .check((ctx) => {
    const url = URL.parse(ctx.value)
    if (url && (url.pathname !== '/' || url.search !== '' || url.hash !== '' || /[?#*]/.test(ctx.value))) {
      ctx.issues.push({
        code: 'custom',
        message: `expected an origin only, without path, query or *: such as ${url.protocol}//app.example.com`,
        input: '',
        continue: false,
      })
    }
  })
  .transform((value) => new URL(value).origin)

/** An absolute URI without fragment, as RFC 8707 §2 wants of a resource. */
export const resource = z.string().refine((value) => URL.parse(value) !== null && !value.includes('#'), {
  error: 'expected an absolute URI without # (RFC 8707 §2)',
})

export const headerName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, { error: 'expected a header field name' })
export const headerValue = z
  .string()
  .regex(/^[\t\x20-\x7e\x80-\xff]*$/, { error: 'expected a header value: no line breaks, no control characters' })
export const scope = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, {
  error: 'expected one scope without spaces or quotes (RFC 6749 §3.3); several are a list',
})
export const providerName = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, {
  error: 'expected a name of lower-case letters, digits and hyphens, at most 32',
})

/** A path as it is matched, byte for byte. */
export const urlPath = z.string().check((ctx) => {
  const message = pathProblem(ctx.value)
  if (message) ctx.issues.push({ code: 'custom', message, input: '', continue: false })
})

function pathProblem(path: string): string | undefined {
  if (!path.startsWith('/')) return 'expected a path that begins with /'
  if (path.includes('*')) return 'expected a path without *: it stands for itself and everything below it'
  if (!/^[A-Za-z0-9\-._~!$&'()+,;=:@/]*$/.test(path))
    return "expected a path of letters, digits and -._~!$&'()+,;=:@/ only"
  if (path.includes('//')) return 'expected a path without empty segments (//)'
  if (/\/\.{1,2}(\/|;|$)/.test(path)) return 'expected a path without . and .. segments'
  return undefined
}

/** Where requests are sent: `http://orders:3000`, `https://…`, or a unix socket `unix:/run/app.sock`. */
export const upstream = z.string().check((ctx) => {
  const message = upstreamProblem(ctx.value)
  if (message) ctx.issues.push({ code: 'custom', message, input: '', continue: false })
})

function upstreamProblem(value: string): string | undefined {
  if (/^unix:\/[^\s?#]+$/.test(value)) return undefined
  const url = URL.parse(value)
  if (!url || !['http:', 'https:'].includes(url.protocol))
    return 'expected http://host:port, https://host:port or unix:/path/to.sock'
  if (url.username !== '' || url.password !== '') return 'expected a URL without user name and password'
  if (url.hostname.includes('*'))
    return 'expected one host: a wildcard would let the request choose where its token goes'
  if (/[?#]/.test(value)) return 'expected a URL without ? and #'
  return undefined
}

/** The second net under the rule that no secret is logged: names that are never shown, texts that are cleaned. */

const LIMIT = 256
const DEEPEST = 3

/** Field names whose value is never logged, at any depth that is looked at. */
const SECRET_NAMES = new Set([
  'authorization',
  'proxyauthorization',
  'cookievalue',
  'dpop',
  'dpopkey',
  'privatekey',
  'apikey',
  'code',
  'codeverifier',
  'state',
  'nonce',
  'idtokenhint',
  'ticket',
])
/** Whatever it is a token, secret or cookie of: `refresh_token`, `x-auth-token`, `clientSecret`, `Set-Cookie`. */
const SECRET_ENDS = /(?:token|secret|password|cookie|assertion)s?$/

/** Failure codes (`login_failed`, `ECONNRESET`): the one kind of `code` that may be seen. */
const PUBLIC_CODE = /^(?:[a-z_]{1,48}|[A-Z][A-Z0-9_]{1,47})$/

const HARMLESS = /^[A-Za-z0-9_.,:;/[\]-]*$/

/** Whether a field of this name may not be shown. `code` stands for OAuth codes and for failure codes: the value tells. */
function isSecret(name: string, value: unknown): boolean {
  const kind = kindOf(name)
  if (kind === 'plain') return false
  if (kind === 'code') return !(typeof value === 'number' || (typeof value === 'string' && PUBLIC_CODE.test(value)))
  // `token: 'user'` would be a rule, `tokens: 3` a count: numbers and booleans hold no secret.
  return typeof value !== 'number' && typeof value !== 'boolean'
}

type Kind = 'plain' | 'secret' | 'code'

const MOST_REMEMBERED = 500
const kinds = new Map<string, Kind>()

/** Field names are few and come again with every line: each is looked at once. */
function kindOf(name: string): Kind {
  let kind = kinds.get(name)
  if (kind === undefined) {
    const plain = name.replaceAll(/[-_]/g, '').toLowerCase()
    kind = plain === 'code' ? 'code' : SECRET_NAMES.has(plain) || SECRET_ENDS.test(plain) ? 'secret' : 'plain'
    if (kinds.size < MOST_REMEMBERED) kinds.set(name, kind)
  }
  return kind
}

/**
 * A text fit for a log line: no control characters (a terminal obeys them), nothing that looks like a token, a query
 * or credentials in a URL, at most 256 characters.
 */
export function cleanText(text: string): string {
  // Most fields are short names, paths and ids without anything that could be cleaned.
  if (text.length <= LIMIT && HARMLESS.test(text) && !text.includes('eyJ')) return text
  const cleaned = text
    .slice(0, 4 * LIMIT)
    // oxlint-disable-next-line no-control-regex -- control characters are what this line is about
    .replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
    .replaceAll(/eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}/g, '[token]')
    .replaceAll(/\b(Bearer|DPoP|Basic) +[A-Za-z0-9._~+/=-]{8,}/gi, '$1 [removed]')
    .replaceAll(/(\/\/)[^\s/]{1,256}@/g, '$1[removed]@')
    .replaceAll(/([?&#;][\w.%-]{1,64}=)[^\s&#"']+/g, '$1[removed]')
  return cleaned.length > LIMIT ? `${cleaned.slice(0, LIMIT - 1)}…` : cleaned
}

/** Fields that have serializers of their own, on the first level of a line (`logger.ts`). */
const SERIALIZED = new Set(['err', 'error', 'req', 'res'])

/** The fields of one log line with secret names masked and long texts cut; looks three levels deep. */
export function cleanFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const cleaned: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields))
    cleaned[name] = SERIALIZED.has(name) ? value : cleanField(name, value, DEEPEST)
  return cleaned
}

function cleanField(name: string, value: unknown, depth: number): unknown {
  return isSecret(name, value) ? '[removed]' : cleanValue(value, depth)
}

function cleanValue(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return cleanText(value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value))
    return depth === 0 ? `[${value.length}]` : value.slice(0, 50).map((item) => cleanValue(item, depth - 1))
  if (value instanceof Date) return value
  if (value instanceof URL) return cleanText(value.href)
  // Libraries hang answers and commands on their errors: of one that stands elsewhere only what it says is told.
  if (value instanceof Error) return cleanText(`${value.name}: ${value.message}`)
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth === 0) return '[object]'
  // Whatever class it is of: what JSON would show of it are its own enumerable members.
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, cleanField(name, member, depth - 1)]))
}

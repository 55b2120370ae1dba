/** Failures in the OpenAPI document, from the one table of `src/errors.ts`. */
import { BffError, type FailureCode, failureCodes } from '../../src/errors.ts'
import type { Json } from './operation.ts'

/** `public`: with the gateway's own field, and a page where a person looks. `operator`: a problem document alone. */
export type FailureKind = 'public' | 'check' | 'operator'

/** The responses of an operation that may fail so: one for each status, shared by all that have the same codes. */
export function failureResponses(codes: ReadonlySet<FailureCode>, kind: FailureKind): Record<string, Json> {
  const byStatus = Map.groupBy(
    failureCodes.filter((code) => codes.has(code)),
    statusOf,
  )
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [String(status), { $ref: `#/components/responses/${nameOf(some, kind)}` }]),
  )
}

/** The components that the document's operations refer to. */
export function failureComponents(document: Json): Record<string, Json> {
  const names = new Set(
    [...JSON.stringify(document).matchAll(/#\/components\/responses\/(\w+)/g)].map(([, name]) => name),
  )
  const kinds: readonly FailureKind[] = ['public', 'check', 'operator']
  const all = kinds.flatMap((kind) => subsets().map((codes) => [nameOf(codes, kind), responseOf(codes, kind)] as const))
  return Object.fromEntries(all.filter(([name]) => names.has(name)).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** Every choice of codes with one status. */
function subsets(): FailureCode[][] {
  return [...Map.groupBy(failureCodes, statusOf).values()].flatMap((codes) =>
    Array.from({ length: 2 ** codes.length - 1 }, (_, bits) =>
      codes.filter((_code, at) => ((bits + 1) >> at) % 2 === 1),
    ),
  )
}

function statusOf(code: FailureCode): number {
  return new BffError(code).statusCode
}

/** As `LoginRequiredOrSessionExpired`. */
function nameOf(codes: readonly FailureCode[], kind: FailureKind): string {
  const words = codes.map((code) => code.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase()))
  return `${kind === 'public' ? '' : kind === 'check' ? 'Check' : 'Operator'}${words.join('Or')}`
}

function responseOf(codes: readonly FailureCode[], kind: FailureKind): Json {
  const status = statusOf(codes[0] ?? 'internal')
  const isOurs = kind !== 'operator'
  // To nginx every refusal but 401 is a 403, whatever its code is.
  const isAnyRefusal = kind === 'check' && status === 403
  const named = isAnyRefusal ? failureCodes : codes
  const schema = {
    $ref: `#/components/schemas/${isOurs ? 'Problem' : 'OperatorProblem'}`,
    ...(!isAnyRefusal && { properties: { status: { const: status }, code: { enum: codes } } }),
  }
  return {
    description: codes.map((code) => `\`${code}\`: ${new BffError(code).title}.`).join(' '),
    headers: {
      'Cache-Control': { $ref: '#/components/headers/Cache-Control' },
      ...(isOurs && { 'Sidegate-Error': { required: true, schema: { enum: named } } }),
      ...([429, 503].includes(status) && { 'Retry-After': { $ref: '#/components/headers/Retry-After' } }),
      ...(status === 405 && { Allow: { $ref: '#/components/headers/Allow' } }),
      ...(kind === 'operator' &&
        status === 401 && { 'WWW-Authenticate': { $ref: '#/components/headers/WWW-Authenticate' } }),
    },
    content: {
      'application/problem+json': { schema },
      ...(isOurs && { 'text/html': {} }),
    },
  }
}

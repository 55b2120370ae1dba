/** The public endpoints as path items: path, method and failures from the gateway's own table, words from ours. */
import type { FailureCode } from '../../src/errors.ts'
import type { Policy } from '../../src/http/policy.ts'
import { endpoints } from '../../src/routes/endpoints.ts'
import { failureResponses } from './failures.ts'
import { headObject, type Json, operationObject } from './operation.ts'
import { publicOperations } from './public-operations.ts'

/** The documented `basePath`, which is the default. */
export const BASE_PATH = '/bff'

/** What any request to the public listener may come to, before an endpoint is asked. */
const COMMON: readonly FailureCode[] = [
  'invalid_request',
  'payload_too_large',
  'uri_too_long',
  'misdirected_request',
  'headers_too_large',
  'internal',
  'overloaded',
]

/** @throws Error where the table of endpoints and that of words do not have the same entries */
export function publicPaths(): Record<string, Json> {
  const left = new Set(
    Object.entries(publicOperations).flatMap(([name, operations]) =>
      Object.keys(operations).map((one) => `${name} ${one}`),
    ),
  )
  const paths = new Map<string, Record<string, Json>>()
  for (const [path, policy] of endpoints) {
    const key = `${BASE_PATH}${path.replace('*', '{ref}')}`
    const item = paths.get(key) ?? { options: preflight(key) }
    for (const method of policy.methods ?? []) {
      if (method === 'HEAD') continue
      const operation = publicOperations[policy.name]?.[method]
      if (!operation) throw new Error(`no words for ${policy.name} ${method}`)
      left.delete(`${policy.name} ${method}`)
      const isFile = policy.name === 'client_js' || policy.name === 'jwks'
      const object = operationObject(operation, {
        operationId:
          method === 'GET' || policy.methods?.size === 1 ? policy.name : `${policy.name}_${method.toLowerCase()}`,
        tag: 'public',
        security: securityOf(policy),
        failures: failuresOf(policy, method),
        failureKind: 'public',
        headers: [['Cache-Control', isFile ? 'Revalidated' : 'Cache-Control']],
        pathParameters: key.includes('{ref}') ? [ref] : [],
      })
      item[method.toLowerCase()] = object
      if (method === 'GET' && policy.methods?.has('HEAD')) item['head'] = headObject(object)
    }
    paths.set(key, item)
  }
  if (left.size > 0) throw new Error(`words for what is no endpoint: ${[...left].join(', ')}`)
  return Object.fromEntries(paths)
}

const ref: Json = {
  name: 'ref',
  in: 'path',
  required: true,
  description: 'As `GET sessions` shows it.',
  schema: { type: 'string' },
}

/** What the judge, which knows the policy, refuses (`src/http/judge.ts`). */
function failuresOf(policy: Policy, method: string): ReadonlySet<FailureCode> {
  const judged: FailureCode[] = [...COMMON]
  if (policy.csrf === 'rule') judged.push('csrf_rejected')
  if (policy.rateLimit) judged.push('rate_limited')
  if (policy.session === 'required') judged.push('login_required', 'session_expired')
  if (policy.session !== 'none') judged.push('store_unavailable')
  // The endpoints take forms and JSON; a body of another type is refused, wanted or not (`src/http/form.ts`).
  if (method === 'POST' || method === 'DELETE') judged.push('unsupported_media_type')
  return new Set(judged)
}

function securityOf({ session, csrf }: Policy): Json[] {
  if (session === 'required') return [{ session: [] }]
  return session === 'optional' || csrf === 'rule' ? [{}, { session: [] }] : []
}

/** A browser's question before another origin's request; it allows something where `cors.origins` lists that origin. */
function preflight(path: string): Json {
  return {
    operationId: `preflight${path.slice(BASE_PATH.length).replaceAll(/\W+/g, '_').replace(/_$/, '')}`,
    tags: ['public'],
    summary: 'A preflight (Fetch §3.2.2)',
    security: [],
    parameters: ['Origin', 'Access-Control-Request-Method'].map((name) => ({
      name,
      in: 'header',
      required: true,
      schema: { type: 'string' },
    })),
    responses: {
      204: {
        description: 'Allows what `cors.origins` allows.',
        headers: {
          Vary: { $ref: '#/components/headers/Vary' },
          'Cache-Control': { $ref: '#/components/headers/Cache-Control' },
        },
      },
      ...failureResponses(
        new Set([...COMMON.filter((code) => code !== 'payload_too_large'), 'method_not_allowed']),
        'public',
      ),
    },
  }
}

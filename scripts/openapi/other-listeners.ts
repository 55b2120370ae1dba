/** Management, admin and forward-auth: listeners of their own, which no browser reaches. */
import { z } from 'zod'
import { type FailureCode, failureCodes } from '../../src/errors.ts'
import { headObject, type Json, type Operation, operationObject, type OperationContext } from './operation.ts'

interface Listener {
  readonly server: Json
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly context: Omit<OperationContext, 'operationId'>
  /** Whether HEAD is answered wherever GET is. */
  readonly takesHead: boolean
}

const management: Listener = {
  server: { url: 'http://localhost:9090', description: 'The management listener (`management`).' },
  context: {
    tag: 'management',
    security: [],
    failures: new Set(['invalid_request', 'headers_too_large', 'internal']),
    failureKind: 'operator',
  },
  takesHead: true,
  paths: {
    '/healthz': {
      GET: {
        summary: 'Whether the process turns',
        description: 'Asks no dependency. For liveness.',
        answers: {
          200: { description: 'It does.', content: { 'application/json': 'Health' }, headers: ['Cache-Control'] },
        },
      },
    },
    '/readyz': {
      GET: {
        summary: 'Whether this instance should get requests',
        description: 'For startup and readiness.',
        answers: {
          200: {
            description: 'It should; `degraded` names what is down.',
            content: { 'application/json': 'Readiness' },
            headers: ['Cache-Control'],
          },
          503: {
            description: 'It should not, and why: it drains, or the store was never good.',
            content: { 'application/json': 'Readiness' },
            headers: ['Cache-Control'],
          },
        },
      },
    },
    '/metrics': {
      GET: {
        summary: 'Metrics, as Prometheus text',
        answers: { 200: { description: 'All of them.', content: { 'text/plain': undefined } } },
      },
    },
  },
}

const whom: Operation['query'] = {
  ref: {
    description: 'A session, by the 16 characters that logs and lists show.',
    schema: z.string().regex(/^[\w-]{16,43}$/),
  },
  sub: { description: 'A user, by the subject at the issuer.' },
  sid: { description: 'What the authorization server calls its session.' },
  issuer: { description: 'With `sub` or `sid`, where several providers are configured.' },
}

const admin: Listener = {
  server: { url: 'http://127.0.0.1:9091', description: 'The admin listener (`admin`), off unless configured.' },
  context: {
    tag: 'admin',
    security: [{ adminToken: [] }],
    failures: new Set(['invalid_request', 'headers_too_large', 'login_required', 'store_unavailable', 'internal']),
    failureKind: 'operator',
    headers: ['Cache-Control'],
  },
  takesHead: true,
  paths: {
    '/sessions': {
      GET: {
        summary: 'Finds sessions',
        description: 'Exactly one of `ref`, `sub` and `sid`.',
        query: whom,
        answers: { 200: { description: 'Those that live.', content: { 'application/json': 'AdminSessions' } } },
      },
      DELETE: {
        summary: 'Ends sessions',
        description: 'Exactly one of `ref`, `sub`, `sid` and `all`.',
        query: { ...whom, all: { description: '`true`: everybody’s.' } },
        answers: { 200: { description: 'So many.', content: { 'application/json': 'Ended' } } },
        failures: ['payload_too_large', 'unsupported_media_type'],
      },
    },
  },
}

/** Not of a check: our own endpoints' and the upstream's. */
const NOT_JUDGED = new Set<FailureCode>([
  'login_failed',
  'unsupported_media_type',
  'upstream_unavailable',
  'upstream_timeout',
  'loop_detected',
])

const forwardAuth: Listener = {
  server: {
    url: 'http://127.0.0.1:9092',
    description: 'The forward-auth listener (`forwardAuth`), off unless configured; the port is the operator’s.',
  },
  context: {
    tag: 'forwardAuth',
    security: [{}, { session: [] }],
    failures: new Set(failureCodes.filter((code) => !NOT_JUDGED.has(code))),
    failureKind: 'check',
    headers: ['Cache-Control'],
  },
  takesHead: false,
  paths: {
    '/': {
      GET: {
        summary: 'Whether the request that a proxy describes may pass',
        description:
          'For nginx `auth_request`, and `forward_auth` of Caddy and Traefik. The fields of the request are passed on with ' +
          'the check. To a check with `X-Original-URI` every refusal but 401 is 403: nginx takes no other.',
        fields: {
          'X-Forwarded-Method': { description: 'The method of the request; nginx: `X-Original-Method`.' },
          'X-Forwarded-Uri': { description: 'Its target; nginx: `X-Original-URI`.' },
        },
        answers: {
          200: {
            description: 'It may, with these fields; without them for nobody, or where the route has no token.',
            headers: ['Authorization'],
          },
          302: {
            description: 'A navigation without a session to a `login` route: to the sign-in.',
            headers: ['Location'],
          },
        },
      },
    },
  },
}

/** Path item objects (OpenAPI 3.1 §4.8.9) of all three. */
export function otherPaths(): Record<string, Json> {
  return Object.fromEntries(
    [management, admin, forwardAuth].flatMap(({ server, paths, context, takesHead }) =>
      Object.entries(paths).map(([path, operations]): [string, Json] => {
        const objects = Object.entries(operations).map(([method, operation]) => {
          const operationId = `${context.tag}_${method.toLowerCase()}${path.replace('/', '_').replace(/_$/, '')}`
          return [method.toLowerCase(), operationObject(operation, { ...context, operationId })] as const
        })
        const get = objects.find(([method]) => method === 'get')?.[1]
        return [
          path,
          { servers: [server], ...Object.fromEntries(objects), ...(takesHead && get && { head: headObject(get) }) },
        ]
      }),
    ),
  )
}

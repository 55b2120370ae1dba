/**
 * Every JSON answer of our own, described once: the code's types are taken from here, `docs/openapi.yaml` is made of
 * it, and a test holds real answers against that. While serving nothing is checked, and this file is not loaded.
 */
import { z } from 'zod'
import { failureCodes } from '../errors.ts'
import { endReasons } from '../session/session.ts'

// In words of JSON Schema: zod's own check would add a pattern of two lines to each.
const time = z.string().meta({ format: 'date-time' })
const seconds = z.int().min(0)
const path = z.string().meta({ format: 'uri-reference' })
const shortRef = z
  .string()
  .regex(/^[\w-]{16}$/)
  .meta({ description: 'The first 16 characters of the session’s ref: tells sessions apart and opens none.' })

/** What is shown of a user. */
export const Claims = z
  .record(z.string(), z.unknown())
  .meta({ description: 'The claims that `session.claims` names, and no others.' })

const Anonymous = z.strictObject({ authenticated: z.literal(false), loginUrl: path })

const SignedIn = z.strictObject({
  authenticated: z.literal(true),
  user: Claims,
  createdAt: time,
  expiresAt: time.meta({ description: 'The absolute end.' }),
  expiresInSeconds: seconds,
  idleExpiresInSeconds: seconds,
  accessToken: z.strictObject({ expiresInSeconds: seconds }),
  logoutUrl: path.meta({ description: 'A link that ends this session and no other.' }),
})

/** `GET session`, `POST session/refresh`, and the events `session` and `refreshed`. */
export const SessionAnswer = z
  .discriminatedUnion('authenticated', [Anonymous, SignedIn])
  .meta({ description: 'Exactly these members: a token has no place among them.' })

/** `GET user`; `null` with `?anonymous=200`. */
export const UserAnswer = Claims.nullable()

/** `GET sessions`. */
export const SessionsAnswer = z.strictObject({
  sessions: z.array(
    z.strictObject({
      ref: shortRef,
      device: z.string().meta({ description: 'As “Firefox on Windows”.' }),
      createdAt: time,
      lastSeenAt: time,
      expiresAt: time,
      current: z.boolean(),
    }),
  ),
})

/** What has ended sessions says how many. */
export const EndedAnswer = z.strictObject({ ended: z.int().min(0) })

/** `POST logout` for script. */
export const LogoutAnswer = z.strictObject({
  redirectUrl: path.meta({ description: 'A one-use address of ours, good for 60 s; navigate there.' }),
})

/** The event `expiring`. */
export const ExpiringEvent = z.strictObject({ expiresInSeconds: seconds })

/** The event `ended`. */
export const EndedEvent = z.strictObject({ reason: z.enum(endReasons) })

/** `GET jwks.json` (RFC 7517 §5): public members only. */
export const JwkSet = z.strictObject({
  keys: z.array(
    z.looseObject({
      kty: z.enum(['RSA', 'EC', 'OKP']),
      ...Object.fromEntries(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map((name) => [name, z.never().optional()])),
    }),
  ),
})

/** Failures (RFC 9457), on the public listener and as answers to checks of forward-auth. */
export const Problem = z.strictObject({
  status: z.int(),
  title: z.string(),
  code: z.enum(failureCodes),
  requestId: z.string().meta({ description: 'Finds the log line that says which check failed.' }),
  loginUrl: path.optional().meta({ description: 'With 401, and where a sign-in has failed: what begins a new one.' }),
  acr_values: z.string().optional().meta({ description: 'With `step_up_required` (RFC 9470).' }),
  max_age: z.int().min(0).optional().meta({ description: 'With `step_up_required` (RFC 9470).' }),
})

/** Failures on the management and the admin listener. */
export const OperatorProblem = Problem.pick({ status: true, title: true, code: true })

/** `GET /healthz`. */
export const HealthAnswer = z.strictObject({ status: z.literal('ok') })

/** `GET /readyz`. */
export const ReadinessAnswer = z.strictObject({
  status: z.enum(['ready', 'unready']),
  reasons: z
    .array(z.enum(['store', 'draining']))
    .optional()
    .meta({ description: 'With `unready`.' }),
  degraded: z
    .array(z.enum(['store', 'provider']))
    .optional()
    .meta({ description: 'With `ready`, during an outage.' }),
})

/** `GET /sessions` of the admin listener. */
export const AdminSessionsAnswer = z.strictObject({
  sessions: z.array(
    z.strictObject({
      ref: shortRef,
      createdAt: time,
      expiresAt: time,
      lastSeenAt: time.optional(),
      userAgent: z.string().optional().meta({ description: 'What the browser called itself at the login.' }),
    }),
  ),
})

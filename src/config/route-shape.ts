/** The keys of `routes`. */
import { z } from 'zod'
import { parameters } from './provider-shape.ts'
import { peerTls } from './tls-shape.ts'
import {
  absoluteUrl,
  duration,
  headerName,
  headerValue,
  resource,
  scope,
  size,
  text,
  upstream,
  urlPath,
} from './values.ts'

const claimRule = z.union([text, z.array(text).min(1)], { error: 'expected a text or a list of texts' })
const tokenScopes = z.array(scope).min(1).optional().meta({ description: 'Scopes to ask for.' })

const token = z.union([
  z.enum(['user', 'none']),
  z.strictObject({
    resource: resource.optional().meta({ description: 'Resource indicator (RFC 8707).' }),
    scopes: tokenScopes,
  }),
  z.strictObject({
    exchange: z
      .strictObject({ audience: text.optional().meta({ description: 'Audience to ask for.' }), scopes: tokenScopes })
      .meta({ description: 'Token exchange (RFC 8693).' }),
  }),
  z.strictObject({
    clientCredentials: z
      .strictObject({
        resource: resource.optional().meta({ description: 'Resource indicator (RFC 8707).' }),
        scopes: tokenScopes,
      })
      .meta({ description: 'A token of the gateway itself, without a user.' }),
  }),
])

const spa = z.strictObject({
  directory: text.optional().meta({ description: 'Directory of the built app; relative to the configuration file.' }),
  fallback: text
    .default('index.html')
    .meta({ description: 'File that answers navigations to paths that are no file.' }),
  devServer: absoluteUrl('http', 'https')
    .optional()
    .meta({ description: 'Development server to pass everything to, its WebSocket included.' }),
  indexUrl: absoluteUrl('http', 'https')
    .optional()
    .meta({ description: 'Where index.html is fetched from, with assets on a content delivery network.' }),
})

/** One of `routes`. */
export const route = z.strictObject({
  path: urlPath.meta({ description: 'The path and everything below it; of several routes the longest path wins.' }),
  upstream: upstream
    .optional()
    .meta({ description: 'Server that answers: http://, https:// or unix:; a path in it goes before the request’s.' }),
  spa: spa.optional().meta({ description: 'A single-page app in place of an upstream.' }),
  rewrite: urlPath.optional().meta({ description: 'What takes the place of `path` in the request to the upstream.' }),
  session: z.enum(['required', 'optional', 'none', 'login']).default('required').meta({
    description:
      'required: 401 without a session. optional: anonymous requests go on without a token. none: the cookie is not looked at. login: as required, but a navigation begins the login.',
  }),
  methods: z
    .array(
      z
        .string()
        .regex(/^[A-Z][A-Z-]*$/, { error: 'expected a method in capitals', abort: true })
        .refine((method) => method !== 'TRACE' && method !== 'CONNECT', {
          error: 'TRACE and CONNECT are never proxied',
        }),
    )
    .min(1)
    .optional()
    .meta({ description: 'Methods that are let through; left out: all but TRACE and CONNECT.' }),
  websocket: z.boolean().default(true).meta({ description: 'Let WebSockets through.' }),
  cookies: z.boolean().default(true).meta({ description: 'Pass cookies other than the gateway’s own, both ways.' }),
  slides: z.boolean().default(true).meta({ description: 'Requests keep the session alive; false for polling.' }),
  navigable: z
    .boolean()
    .default(false)
    .meta({ description: 'A link or a typed address may open it although it needs a session: downloads.' }),
  preserveHost: z
    .boolean()
    .default(false)
    .meta({ description: 'Send publicUrl’s host to the upstream in place of the upstream’s own.' }),
  token: token.optional().meta({
    description:
      'Which token goes upstream: the user’s, none, one for a resource, an exchanged one, or the gateway’s own. Left out: user, or none with session: none.',
  }),
  bearer: z
    .strictObject({
      issuer: absoluteUrl('https', 'http').meta({ description: 'Issuer of the tokens.' }),
      audience: text.meta({ description: 'Audience that they must name.' }),
    })
    .optional()
    .meta({ description: 'Take native apps’ own bearer tokens, on requests without the session cookie.' }),
  allow: z.record(text, claimRule).optional().meta({
    description:
      'Claims that the user must have: a name or dotted path, and the values of which one is enough. From the ID token, or with access_token: or userinfo: in front.',
  }),
  acr: z
    .union([text, z.array(text).min(1)])
    .optional()
    .meta({ description: 'Authentication contexts of which the login must have had one.' }),
  maxAge: duration().optional().meta({ description: 'How long ago the user may have signed in at most.' }),
  identityHeaders: z
    .record(headerName, text)
    .optional()
    .meta({ description: 'Header fields for the upstream and the claims they carry.' }),
  timeout: z
    .strictObject({
      connect: duration(1).prefault('3s').meta({ description: 'To connect to the upstream.' }),
      firstByte: duration(1)
        .prefault('30s')
        .meta({ description: 'From the last byte of the request to the first of the answer.' }),
      idle: duration(1)
        .optional()
        .meta({ description: 'Between two parts of a body or a WebSocket; left out: no limit.' }),
    })
    .prefault({})
    .meta({ description: 'How long to wait for the upstream.' }),
  bodyLimit: size.optional().meta({ description: 'Largest request body; left out: no limit.' }),
  headers: z
    .strictObject({
      set: z
        .record(headerName, headerValue)
        .optional()
        .meta({ description: 'Header fields to set on requests to the upstream.', writeOnly: true }),
      remove: z
        .array(headerName)
        .optional()
        .meta({ description: 'Header fields to take out of requests to the upstream.' }),
    })
    .optional()
    .meta({ description: 'Changes to the header of requests to the upstream.' }),
  tls: peerTls.optional().meta({ description: 'TLS to an https upstream; its certificate is always verified.' }),
  http2: z.boolean().default(false).meta({ description: 'Speak HTTP/2 to an https upstream that offers it.' }),
  maxInFlight: z
    .number()
    .int()
    .min(1)
    .default(256)
    .meta({ description: 'Requests that may be open at this upstream at once; more wait for a moment, then get 503.' }),
  login: parameters.optional().meta({
    description:
      'Parameters of the login that a `login` route starts; of several providers, `provider` names the one. A `required` route takes that alone: its 401 leads there.',
  }),
})

export type RouteConfig = z.output<typeof route>
export type TokenRule = z.output<typeof token>

/**
 * Every key of the configuration with its kind, default and meaning. Property names are the YAML keys; durations
 * become milliseconds, sizes bytes. What the keys mean to each other is in the files of rules.
 */
import { z } from 'zod'
import {
  absoluteUrl,
  duration,
  file,
  headerName,
  headerValue,
  origin,
  pem,
  port,
  providerName,
  rate,
  resource,
  scope,
  secret,
  size,
  text,
  upstream,
  urlPath,
} from './values.ts'

const PROXIES =
  'expected a list of IP addresses and networks such as 10.0.0.0/8: a number of hops can be forged (CF-04)'

const serverTls = z.strictObject({
  cert: pem('Certificate chain, PEM.'),
  certFile: file('cert'),
  key: secret('Private key, PEM.'),
  keyFile: file('key'),
})

const clientTls = z.strictObject({
  cert: pem('Client certificate, PEM.'),
  certFile: file('cert'),
  key: secret('Private key of the client certificate, PEM.'),
  keyFile: file('key'),
})

const peerTls = z.strictObject({
  ca: pem('Certificates of the authority that signed the server’s certificate, PEM; in place of the built-in ones.'),
  caFile: file('ca'),
  cert: pem('Client certificate, PEM.'),
  certFile: file('cert'),
  key: secret('Private key of the client certificate, PEM.'),
  keyFile: file('key'),
  serverName: text
    .optional()
    .meta({ description: 'Name that the server’s certificate must carry, where it is not the host’s.' }),
})

const logout = z.strictObject({
  style: z.enum(['oidc', 'auth0', 'cognito', 'none']).default('oidc').meta({
    description:
      'How the authorization server is told of a logout: by OpenID Connect’s end_session_endpoint, in Auth0’s or Cognito’s own way, or not at all (Google has none).',
  }),
  revoke: z
    .boolean()
    .default(true)
    .meta({ description: 'Revoke the refresh token at logout (RFC 7009), where the server has an endpoint for it.' }),
})

const parameters = z.record(
  text,
  z.union([z.string(), z.array(z.string()).min(1)], { error: 'expected a text or a list of texts' }),
)

const provider = z
  .strictObject({
    issuer: absoluteUrl('https', 'http').meta({
      description:
        'Issuer of the authorization server, character for character as its discovery document says it, trailing slash included. https, or http on a loopback address.',
    }),
    clientId: text.meta({ description: 'Identifier of this client at the authorization server.' }),
    scopes: z.array(scope).default(['openid']).meta({
      description: 'Scopes to ask for, exactly these. Many servers give a refresh token only for offline_access.',
    }),
    clientSecret: secret('Secret of this client.'),
    clientSecretFile: file('clientSecret'),
    clientSecrets: z.array(text).min(1).optional().meta({
      description:
        'Current and next secret, while one takes the other’s place: the next is tried when the first is refused.',
      writeOnly: true,
    }),
    clientSecretsFile: file('clientSecrets').meta({
      description: 'File that holds `clientSecrets`, one a line; read again when it changes.',
    }),
    privateKey: secret('Private key of this client, PEM or JWK, for private_key_jwt and signed request objects.'),
    privateKeyFile: file('privateKey'),
    tls: clientTls
      .optional()
      .meta({ description: 'Client certificate for mutual TLS with the authorization server (RFC 8705).' }),
    clientAuthentication: z
      .enum([
        'client_secret_basic',
        'client_secret_post',
        'client_secret_jwt',
        'private_key_jwt',
        'tls_client_auth',
        'self_signed_tls_client_auth',
      ])
      .default('client_secret_basic')
      .meta({ description: 'How this client proves who it is, as registered at the authorization server.' }),
    basicEncoding: z.enum(['rfc6749', 'raw']).default('rfc6749').meta({
      description:
        'With client_secret_basic: form-encode identifier and secret as RFC 6749 §2.3.1 wants, or send them raw to servers that do not decode.',
    }),
    metadataUrl: absoluteUrl('https', 'http')
      .optional()
      .meta({ description: 'Where the discovery document is, if not below the issuer.' }),
    metadata: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'Members that are added to, or replace those of, the discovery document.' }),
    backchannelBaseUrl: absoluteUrl('https', 'http').optional().meta({
      description:
        'Address at which the gateway reaches the authorization server, where it is not the browser’s. http only while publicUrl is a loopback address.',
    }),
    authorizationParams: parameters
      .optional()
      .meta({ description: 'Further parameters of the authorization request, such as `audience` for Auth0.' }),
    resource: z
      .union([resource, z.array(resource).min(1)])
      .optional()
      .meta({ description: 'Resource indicators (RFC 8707) of every login.' }),
    authorizationDetails: z
      .array(
        z.looseObject({
          type: text.meta({ description: 'Type of the authorization asked for; its other members stand beside it.' }),
        }),
      )
      .min(1)
      .optional()
      .meta({ description: 'Rich authorization requests (RFC 9396) of every login.' }),
    claims: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'The `claims` parameter (OpenID Connect Core §5.5).' }),
    loginParams: z
      .array(z.enum(['prompt', 'login_hint', 'acr_values', 'max_age', 'ui_locales']))
      .default(['prompt', 'login_hint', 'acr_values', 'max_age', 'ui_locales'])
      .meta({ description: 'Parameters that a request to `login` may pass on; every other one is ignored.' }),
    pushedAuthorization: z.enum(['auto', 'required', 'never']).default('auto').meta({
      description: 'Pushed authorization requests (RFC 9126): where the server offers them, always, or never.',
    }),
    requestObject: z
      .boolean()
      .default(false)
      .meta({ description: 'Sign the authorization request (RFC 9101) with privateKey.' }),
    responseMode: z.enum(['query', 'form_post', 'jwt', 'query.jwt', 'form_post.jwt']).default('query').meta({
      description: 'How the answer of a login comes back; the ones with jwt are signed (JARM).',
    }),
    dpop: z.boolean().default(false).meta({ description: 'Bind tokens to a key of each session (RFC 9449).' }),
    userinfo: z
      .boolean()
      .default(false)
      .meta({ description: 'Ask the UserInfo endpoint at login and after each refresh.' }),
    profile: z.enum(['fapi2']).optional().meta({
      description: 'Hold this provider to the FAPI 2.0 Security Profile; what contradicts it stops the start.',
    }),
    idTokenSignedResponseAlg: z
      .enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'], {
        error: 'expected a signature algorithm such as RS256, PS256 or ES256; never none',
      })
      .optional()
      .meta({
        description:
          'The one algorithm with which ID tokens and logout tokens must be signed: RS256, or PS256 with profile fapi2.',
        default: 'RS256',
      }),
    clockTolerance: duration()
      .prefault('30s')
      .meta({ description: 'How far the clocks of gateway and authorization server may be apart: at most 60s.' }),
    timeout: duration(1)
      .prefault('10s')
      .meta({ description: 'Longest wait for one answer of the authorization server.' }),
    allowedTenants: z.array(text).min(1).optional().meta({
      description: 'Tenant ids whose users may sign in; required with an issuer of Entra ID that serves many tenants.',
    }),
    logout: logout.prefault({}).meta({ description: 'What a logout does at the authorization server.' }),
  })
  // FAPI 2.0 §5.4.1 takes no RS256.
  .transform((value) => ({
    ...value,
    idTokenSignedResponseAlg:
      value.idTokenSignedResponseAlg ?? (value.profile === 'fapi2' ? ('PS256' as const) : ('RS256' as const)),
  }))

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

const route = z.strictObject({
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
  login: parameters.optional().meta({ description: 'Parameters of the login that a `login` route starts.' }),
})

const redis = z.strictObject({
  url: secret('Address, as rediss://user:password@host:6379/0.'),
  urlFile: file('url'),
  sentinels: z
    .array(
      z.strictObject({
        host: text.meta({ description: 'Host of a Sentinel.' }),
        port: port.default(26_379).meta({ description: 'Its port.' }),
      }),
    )
    .min(1)
    .optional()
    .meta({ description: 'Sentinels that know the master.' }),
  masterName: text.optional().meta({ description: 'Name of the master that the Sentinels watch.' }),
  cluster: z
    .array(
      z.strictObject({
        host: text.meta({ description: 'Host of a node.' }),
        port: port.default(6_379).meta({ description: 'Its port.' }),
      }),
    )
    .min(1)
    .optional()
    .meta({ description: 'Some nodes of a Redis Cluster; the others are found.' }),
  username: text.optional().meta({ description: 'ACL user.' }),
  password: secret('Password of the user.'),
  passwordFile: file('password'),
  tls: peerTls
    .optional()
    .meta({ description: 'TLS to Redis: a private authority, a client certificate. With url, write rediss://.' }),
  prefix: z
    .string()
    .regex(/^[^\s{}*?[\]\\]{1,64}$/, {
      error: 'expected at most 64 characters without spaces, braces, brackets, *, ? and \\',
    })
    .optional()
    .meta({ description: 'What every key begins with; left out: `{name}:` with the gateway’s name.' }),
  commandTimeout: duration(1).prefault('500ms').meta({ description: 'Longest wait for one answer of Redis.' }),
})

/** The whole file, key by key. */
export const ConfigShape = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,31}$/, { error: 'expected lower-case letters, digits and hyphens, at most 32' })
    .default('sidegate')
    .meta({
      description:
        'Part of cookie names and of the Redis prefix and channel: several gateways on one host or one Redis need several names.',
    }),
  publicUrl: origin.meta({
    description:
      'The one origin that browsers see; redirect URIs are built from it and nothing else. https, or http on a loopback address.',
  }),
  basePath: urlPath
    .transform((path) => (path === '/' ? path : path.replace(/\/$/, '')))
    .prefault('/bff')
    .meta({ description: 'Where the gateway’s own endpoints are.' }),
  listen: z
    .strictObject({
      host: text.default('0.0.0.0').meta({ description: 'Address of the public listener; `::` for both families.' }),
      port: port.default(8_080).meta({ description: 'Port of the public listener.' }),
      socket: text.optional().meta({ description: 'A unix socket in place of host and port.' }),
      tls: serverTls.optional().meta({ description: 'Speak TLS on the public listener.' }),
      maxHeaderSize: size.prefault('32kb').meta({ description: 'Largest request header; a larger one is 431.' }),
    })
    .prefault({})
    .meta({ description: 'The public listener.' }),
  management: z
    .strictObject({
      host: text.default('0.0.0.0').meta({ description: 'Address of the management listener.' }),
      port: port.default(9_090).meta({ description: 'Its port.' }),
    })
    .prefault({})
    .meta({ description: 'The listener of /healthz, /readyz and /metrics.' }),
  admin: z
    .strictObject({
      host: text.default('127.0.0.1').meta({ description: 'Address of the admin listener.' }),
      port: port.default(9_091).meta({ description: 'Its port.' }),
      socket: text.optional().meta({ description: 'A unix socket in place of host and port.' }),
      token: secret('Bearer token that callers must present.'),
      tokenFile: file('token'),
    })
    .optional()
    .meta({ description: 'The listener on which operators list and end sessions; off unless configured.' }),
  forwardAuth: z
    .strictObject({ host: text.meta({ description: 'Its address.' }), port: port.meta({ description: 'Its port.' }) })
    .optional()
    .meta({
      description: 'The listener for nginx auth_request, Traefik and Caddy forward_auth; off unless configured.',
    }),
  trustedProxies: z
    .array(z.string({ error: PROXIES }), { error: PROXIES })
    .default([])
    .meta({ description: 'Addresses and networks of the proxies in front whose X-Forwarded-* count.' }),
  shutdown: z
    .strictObject({
      delay: duration()
        .prefault('5s')
        .meta({ description: 'How long everything is still served after SIGTERM, while load balancers notice.' }),
      grace: duration().prefault('20s').meta({ description: 'How long requests in flight may then take to finish.' }),
    })
    .prefault({})
    .meta({ description: 'How the process ends.' }),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .meta({ description: 'Least level that is logged.' }),
      format: z
        .enum(['json', 'pretty'])
        .optional()
        .meta({ description: 'Left out: readable on a terminal, JSON lines elsewhere.' }),
      hashSubject: z.boolean().default(true).meta({ description: 'Log a hash in place of the user’s subject.' }),
    })
    .prefault({})
    .meta({ description: 'The log, on stdout.' }),
  provider: provider.optional().meta({ description: 'The authorization server and this client’s registration there.' }),
  providers: z
    .record(providerName, provider)
    .optional()
    .meta({ description: 'Several of them by name, in place of `provider`.' }),
  login: z
    .strictObject({
      allowCrossSite: z
        .boolean()
        .default(false)
        .meta({ description: 'Let other sites’ links start a login straight away, without the page with the button.' }),
      returnOrigins: z
        .array(origin)
        .prefault([])
        .meta({ description: 'Other origins to which a login may return; each must be in cors.origins too.' }),
    })
    .prefault({})
    .meta({ description: 'What may start a login and where it may return.' }),
  session: z
    .strictObject({
      idleTimeout: duration(1_000)
        .prefault('30m')
        .meta({ description: 'A session that is not used for so long ends.' }),
      maxLifetime: duration(1_000)
        .prefault('10h')
        .meta({ description: 'A session ends so long after the login, whatever happens.' }),
      refreshMargin: duration()
        .prefault('30s')
        .meta({ description: 'Tokens are refreshed so long before they expire.' }),
      keys: z.array(text).min(1).optional().meta({
        description:
          'Keys that seal sessions, as `sidegate keygen` prints them: 32 bytes, base64url. The first seals, all open. Left out with the memory store: random.',
        writeOnly: true,
      }),
      keysFile: file('keys').meta({ description: 'File that holds `keys`, one a line; read again when it changes.' }),
      claims: z
        .array(text)
        .default(['sub', 'name', 'email', 'picture'])
        .meta({ description: 'Claims that `session` and `user` show to the browser.' }),
      limit: z
        .strictObject({
          perUser: z
            .number()
            .int()
            .min(1)
            .optional()
            .meta({ description: 'Sessions that one user may have; left out: no limit.' }),
          onExceed: z
            .enum(['endOldest', 'refuse'])
            .default('endOldest')
            .meta({ description: 'What happens at a login beyond the limit.' }),
        })
        .prefault({})
        .meta({ description: 'How many sessions a user may have.' }),
      outageGrace: duration().prefault('0s').meta({
        description:
          'How long cached sessions with a valid token go on, for safe methods, while the store cannot be reached.',
      }),
      cache: z
        .strictObject({
          maxEntries: z
            .number()
            .int()
            .min(0)
            .default(10_000)
            .meta({ description: 'Sessions that are kept in the process; 0 turns the cache off.' }),
          ttl: duration().prefault('30s').meta({ description: 'For how long.' }),
        })
        .prefault({})
        .meta({ description: 'The cache in front of the store.' }),
      cookie: z
        .strictObject({
          sameSite: z.enum(['strict', 'lax']).optional().meta({
            description: 'Left out: strict where every route is required or none, lax where one is login or optional.',
          }),
          persistent: z
            .boolean()
            .default(false)
            .meta({ description: 'Keep the cookie over a restart of the browser, until the session’s absolute end.' }),
          insecure: z
            .boolean()
            .default(false)
            .meta({ description: 'For Safari on http://localhost only: no prefix, no Secure.' }),
        })
        .prefault({})
        .meta({ description: 'The session cookie.' }),
    })
    .prefault({})
    .meta({ description: 'Sessions.' }),
  store: z
    .strictObject({
      redis: redis.optional().meta({ description: 'Redis or Valkey: one server, Sentinels or a cluster.' }),
    })
    .prefault({})
    .meta({ description: 'Where sessions live; left out: in memory, for one process.' }),
  csrf: z
    .strictObject({
      requireHeader: z
        .boolean()
        .default(false)
        .meta({ description: 'Ask for X-CSRF: 1 on every API call besides (RFC 10017 §6.1.3.3.2).' }),
    })
    .prefault({})
    .meta({ description: 'Cross-site request forgery.' }),
  cors: z
    .strictObject({
      origins: z
        .array(origin)
        .prefault([])
        .meta({ description: 'Further origins, of the same site, whose pages may call.' }),
    })
    .prefault({})
    .meta({ description: 'Cross-origin requests.' }),
  rateLimits: z
    .strictObject({
      login: rate.prefault('20/min').meta({ description: 'Logins started, per client address.' }),
      refresh: rate.prefault('6/min').meta({ description: 'Calls of session/refresh, per session.' }),
      api: rate
        .prefault('off')
        .meta({ description: 'Proxied requests, per session, or per client address without one.' }),
    })
    .prefault({})
    .meta({ description: 'Rate limits.' }),
  headers: z
    .strictObject({
      csp: headerValue.optional().meta({
        description: 'Content-Security-Policy of the hosted app; the gateway’s own pages keep their strict one.',
      }),
      hsts: z
        .union([z.boolean(), duration()], { error: 'expected true, false or a duration such as 365d' })
        .prefault(true)
        .meta({ description: 'Strict-Transport-Security with an https publicUrl: true is one year.' }),
      frameAncestors: headerValue
        .default("'none'")
        .meta({ description: 'Who may frame the pages (CSP frame-ancestors).' }),
    })
    .prefault({})
    .meta({ description: 'Security headers.' }),
  readiness: z
    .strictObject({
      requireStore: z
        .boolean()
        .default(false)
        .meta({ description: '/readyz answers 503 while the store cannot be reached.' }),
    })
    .prefault({})
    .meta({ description: 'What /readyz means.' }),
  routes: z
    .array(route)
    .min(1, { error: 'expected at least one route' })
    .meta({ description: 'What is served: APIs and the app.' }),
})

export type ConfigValues = z.output<typeof ConfigShape>
export type ProviderConfig = z.output<typeof provider>
export type RouteConfig = z.output<typeof route>
export type RedisConfig = z.output<typeof redis>
export type TokenRule = z.output<typeof token>

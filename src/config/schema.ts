/**
 * The single source of the configuration: types, defaults, messages and `config/schema.json`.
 * Property names are the YAML keys; durations become milliseconds, sizes bytes.
 */
import { z } from 'zod'

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS = { b: 1, kb: 1_024, mb: 1_048_576, gb: 1_073_741_824 } as const
const RATE_UNITS = { s: 1_000, min: 60_000, h: 3_600_000 } as const

/** `30s`, `15m`, `10h` → milliseconds. */
const duration = (minimumMs = 0) =>
  z
    .string()
    .regex(/^\d+(ms|s|m|h|d)$/, 'expected a duration such as 30s, 15m or 10h')
    .transform((text) => Number.parseInt(text, 10) * DURATION_UNITS[text.replace(/^\d+/, '') as keyof typeof DURATION_UNITS])
    .refine((ms) => ms >= minimumMs, { error: `expected at least ${minimumMs / 1_000}s` })

/** `32kb`, `1mb` → bytes. */
const size = z
  .string()
  .regex(/^\d+(b|kb|mb|gb)$/, 'expected a size such as 32kb or 1mb')
  .transform((text) => Number.parseInt(text, 10) * SIZE_UNITS[text.replace(/^\d+/, '') as keyof typeof SIZE_UNITS])

/** `20/min` → how many in how many milliseconds; `off` → undefined. */
const rate = z
  .string()
  .regex(/^([1-9]\d*\/(s|min|h)|off)$/, 'expected a rate such as 20/min, or off')
  .transform((text) => {
    if (text === 'off') return undefined
    const [count, unit] = text.split('/') as [string, keyof typeof RATE_UNITS]
    return { limit: Number(count), windowMs: RATE_UNITS[unit] }
  })

/** A secret: given in place or as `…File`; both arrive here as text (the loader reads the file). */
const secret = z.string().min(1)
const port = z.number().int().min(0).max(65_535)
const absoluteUrl = (...schemes: string[]) =>
  z.string().check((ctx) => {
    const url = URL.parse(ctx.value)
    if (!url || !schemes.includes(url.protocol.slice(0, -1)) || url.username || url.password) {
      ctx.issues.push({ code: 'custom', message: `expected a URL that begins with ${schemes.map((s) => `${s}://`).join(' or ')}`, input: '' })
    }
  })
const headerName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'expected a header field name')
const urlPath = z.string().regex(/^\/(?!\/)[A-Za-z0-9\-._~!$&'()*+,;=:@/]*$/, 'expected a path that begins with one / and holds no % ? #')

const clientTls = z.strictObject({
  cert: secret.optional(),
  certFile: z.string().optional(),
  key: secret.optional(),
  keyFile: z.string().optional(),
})

const logoutOptions = z.strictObject({
  style: z.enum(['oidc', 'auth0', 'cognito', 'none']).default('oidc'),
  revoke: z.boolean().default(true),
})

const parameters = z.record(z.string(), z.union([z.string(), z.array(z.string())]))

const provider = z.strictObject({
  issuer: absoluteUrl('https', 'http'),
  clientId: z.string().min(1),
  scopes: z.array(z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'expected a scope token (RFC 6749 §3.3)')).default(['openid']),
  clientSecret: secret.optional(),
  clientSecretFile: z.string().optional(),
  clientSecrets: z.array(secret).min(1).optional(),
  clientSecretsFile: z.string().optional(),
  privateKey: secret.optional(),
  privateKeyFile: z.string().optional(),
  tls: clientTls.optional(),
  clientAuthentication: z
    .enum(['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'])
    .default('client_secret_basic'),
  basicEncoding: z.enum(['rfc6749', 'raw']).default('rfc6749'),
  metadataUrl: absoluteUrl('https', 'http').optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  backchannelBaseUrl: absoluteUrl('https', 'http').optional(),
  authorizationParams: parameters.optional(),
  resource: z.union([z.string(), z.array(z.string())]).optional(),
  authorizationDetails: z.array(z.looseObject({ type: z.string() })).optional(),
  claims: z.record(z.string(), z.unknown()).optional(),
  loginParams: z
    .array(z.enum(['prompt', 'login_hint', 'acr_values', 'max_age', 'ui_locales']))
    .default(['prompt', 'login_hint', 'acr_values', 'max_age', 'ui_locales']),
  pushedAuthorization: z.enum(['auto', 'required', 'never']).default('auto'),
  requestObject: z.boolean().default(false),
  responseMode: z.enum(['query', 'form_post', 'jwt', 'query.jwt', 'form_post.jwt']).default('query'),
  dpop: z.boolean().default(false),
  userinfo: z.boolean().default(false),
  profile: z.enum(['fapi2']).optional(),
  idTokenSignedResponseAlg: z
    .enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'])
    .default('RS256'),
  clockTolerance: duration().prefault('30s'),
  timeout: duration(1).prefault('10s'),
  allowedTenants: z.array(z.string()).optional(),
  logout: logoutOptions.prefault({}),
})

const claimRule = z.union([z.string(), z.array(z.string()).min(1)])

const token = z.union([
  z.enum(['user', 'none']),
  z.strictObject({ resource: z.string().optional(), scopes: z.array(z.string()).optional() }),
  z.strictObject({ exchange: z.strictObject({ audience: z.string().optional(), scopes: z.array(z.string()).optional() }) }),
  z.strictObject({ clientCredentials: z.strictObject({ resource: z.string().optional(), scopes: z.array(z.string()).optional() }) }),
])

const route = z.strictObject({
  path: urlPath,
  upstream: z.string().optional(),
  spa: z
    .strictObject({
      directory: z.string().optional(),
      fallback: z.string().default('index.html'),
      devServer: absoluteUrl('http', 'https').optional(),
      indexUrl: absoluteUrl('http', 'https').optional(),
    })
    .optional(),
  rewrite: urlPath.optional(),
  session: z.enum(['required', 'optional', 'none', 'login']).default('required'),
  methods: z.array(z.string().regex(/^[A-Z-]+$/, 'expected a method in capitals')).min(1).optional(),
  websocket: z.boolean().default(true),
  cookies: z.boolean().default(true),
  slides: z.boolean().default(true),
  navigable: z.boolean().default(false),
  preserveHost: z.boolean().default(false),
  token: token.optional(),
  bearer: z.strictObject({ issuer: absoluteUrl('https', 'http'), audience: z.string() }).optional(),
  allow: z.record(z.string(), claimRule).optional(),
  acr: z.union([z.string(), z.array(z.string()).min(1)]).optional(),
  maxAge: duration().optional(),
  identityHeaders: z.record(headerName, z.string()).optional(),
  timeout: z
    .strictObject({ connect: duration(1).prefault('3s'), firstByte: duration(1).prefault('30s'), idle: duration(1).optional() })
    .prefault({}),
  bodyLimit: size.optional(),
  headers: z.strictObject({ set: z.record(headerName, z.string()).optional(), remove: z.array(headerName).optional() }).optional(),
  tls: z
    .strictObject({
      ca: secret.optional(),
      caFile: z.string().optional(),
      cert: secret.optional(),
      certFile: z.string().optional(),
      key: secret.optional(),
      keyFile: z.string().optional(),
      serverName: z.string().optional(),
    })
    .optional(),
  http2: z.boolean().default(false),
  maxInFlight: z.number().int().min(1).default(256),
  login: parameters.optional(),
})

const redis = z.strictObject({
  url: secret.optional(),
  urlFile: z.string().optional(),
  sentinels: z.array(z.strictObject({ host: z.string(), port: port.default(26_379) })).min(1).optional(),
  masterName: z.string().optional(),
  cluster: z.array(z.strictObject({ host: z.string(), port: port.default(6_379) })).min(1).optional(),
  username: z.string().optional(),
  password: secret.optional(),
  passwordFile: z.string().optional(),
  tls: z
    .strictObject({
      ca: secret.optional(),
      caFile: z.string().optional(),
      cert: secret.optional(),
      certFile: z.string().optional(),
      key: secret.optional(),
      keyFile: z.string().optional(),
      serverName: z.string().optional(),
    })
    .optional(),
  prefix: z.string().optional(),
  commandTimeout: duration(1).prefault('500ms'),
})

export const Config = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'expected lower-case letters, digits and hyphens, at most 32').default('sidegate'),
  publicUrl: absoluteUrl('https', 'http'),
  basePath: urlPath.default('/bff'),
  listen: z
    .strictObject({
      host: z.string().default('0.0.0.0'),
      port: port.default(8_080),
      socket: z.string().optional(),
      tls: z
        .strictObject({ cert: secret.optional(), certFile: z.string().optional(), key: secret.optional(), keyFile: z.string().optional() })
        .optional(),
      maxHeaderSize: size.prefault('32kb'),
    })
    .prefault({}),
  management: z.strictObject({ host: z.string().default('0.0.0.0'), port: port.default(9_090) }).prefault({}),
  admin: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: port.default(9_091),
      socket: z.string().optional(),
      token: secret.optional(),
      tokenFile: z.string().optional(),
    })
    .optional(),
  forwardAuth: z.strictObject({ host: z.string(), port }).optional(),
  trustedProxies: z.array(z.string()).default([]),
  shutdown: z.strictObject({ delay: duration().prefault('5s'), grace: duration().prefault('20s') }).prefault({}),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
      format: z.enum(['json', 'pretty']).optional(),
      hashSubject: z.boolean().default(true),
    })
    .prefault({}),
  provider: provider.optional(),
  providers: z.record(z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/), provider).optional(),
  login: z
    .strictObject({ allowCrossSite: z.boolean().default(false), returnOrigins: z.array(absoluteUrl('https', 'http')).default([]) })
    .prefault({}),
  session: z
    .strictObject({
      idleTimeout: duration(1_000).prefault('30m'),
      maxLifetime: duration(1_000).prefault('10h'),
      refreshMargin: duration().prefault('30s'),
      keys: z.array(secret).min(1).optional(),
      keysFile: z.string().optional(),
      claims: z.array(z.string()).default(['sub', 'name', 'email', 'picture']),
      limit: z
        .strictObject({ perUser: z.number().int().min(1).optional(), onExceed: z.enum(['endOldest', 'refuse']).default('endOldest') })
        .prefault({}),
      outageGrace: duration().prefault('0s'),
      cache: z.strictObject({ maxEntries: z.number().int().min(0).default(10_000), ttl: duration().prefault('30s') }).prefault({}),
      cookie: z
        .strictObject({
          sameSite: z.enum(['strict', 'lax']).optional(),
          persistent: z.boolean().default(false),
          insecure: z.boolean().default(false),
        })
        .prefault({}),
    })
    .prefault({}),
  store: z.strictObject({ redis: redis.optional() }).prefault({}),
  csrf: z.strictObject({ requireHeader: z.boolean().default(false) }).prefault({}),
  cors: z.strictObject({ origins: z.array(absoluteUrl('https', 'http')).default([]) }).prefault({}),
  rateLimits: z
    .strictObject({ login: rate.prefault('20/min'), refresh: rate.prefault('6/min'), api: rate.prefault('off') })
    .prefault({}),
  headers: z
    .strictObject({ csp: z.string().optional(), hsts: z.union([z.boolean(), duration()]).default(true), frameAncestors: z.string().default("'none'") })
    .prefault({}),
  readiness: z.strictObject({ requireStore: z.boolean().default(false) }).prefault({}),
  routes: z.array(route).min(1),
})

export type Config = z.output<typeof Config>
export type ProviderConfig = z.output<typeof provider>
export type RouteConfig = z.output<typeof route>
export type RedisConfig = z.output<typeof redis>
export type TokenRule = z.output<typeof token>

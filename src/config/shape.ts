/**
 * Every key of the configuration with its kind, default and meaning; the larger parts have files of their own.
 * Property names are the YAML keys; durations become milliseconds, sizes bytes. What the keys mean to each other is in
 * the files of rules.
 */
import { z } from 'zod'
import { admin, forwardAuth, listen, management } from './listener-shape.ts'
import { provider } from './provider-shape.ts'
import { route } from './route-shape.ts'
import { session } from './session-shape.ts'
import { redis } from './store-shape.ts'
import { duration, headerValue, origin, providerName, rate, urlPath } from './values.ts'

const PROXIES =
  'expected a list of IP addresses and networks such as 10.0.0.0/8: a number of hops can be forged (CF-04)'

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
  listen,
  management,
  admin,
  forwardAuth,
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
  session,
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

/** The keys of `store.redis`. */
import { z } from 'zod'
import { peerTls } from './tls-shape.ts'
import { duration, file, port, secret, text } from './values.ts'

/** One server, Sentinels or a cluster. */
export const redis = z.strictObject({
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

export type RedisConfig = z.output<typeof redis>

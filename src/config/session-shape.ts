/** The keys of `session`. */
import { z } from 'zod'
import { duration, file, text } from './values.ts'

/** How long sessions last, what seals them, what the browser sees of them. */
export const session = z
  .strictObject({
    idleTimeout: duration(1_000).prefault('30m').meta({ description: 'A session that is not used for so long ends.' }),
    maxLifetime: duration(1_000)
      .prefault('10h')
      .meta({ description: 'A session ends so long after the login, whatever happens.' }),
    refreshMargin: duration().prefault('30s').meta({ description: 'Tokens are refreshed so long before they expire.' }),
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
  .meta({ description: 'Sessions.' })

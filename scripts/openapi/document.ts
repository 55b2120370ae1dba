/** `docs/openapi.yaml` as it is to be: from the table of endpoints, that of failures, and the schemas of the answers. */
import { stringify } from 'yaml'
import type { z } from 'zod'
import * as answers from '../../src/http/answers.ts'
import { failureComponents } from './failures.ts'
import { type Json, schemaObject } from './operation.ts'
import { otherPaths } from './other-listeners.ts'
import { publicPaths } from './public-paths.ts'

/** Where it lies, from the root. */
export const DOCUMENT = 'docs/openapi.yaml'

const DESCRIPTION = `\
What Sidegate itself answers, on all its listeners. Nothing serves this document; a test holds the real answers against it.

\`/bff\` is the default of \`basePath\`, \`sidegate\` in names that of \`name\`. Under \`basePath\` any other path is 404
\`not_found\`, any other method 405 \`method_not_allowed\` with \`Allow\`; on the other listeners, both are 404, but for 405 of
forward-auth. Unknown query parameters are ignored, a known one given twice is 400.

The configured routes answer as their applications do. What fails on the way is a \`Problem\` there too, known by the field
\`Sidegate-Error\`; \`docs/errors.md\` says what each code means. A navigation gets a page in place of a problem document.

An operation with \`session\` among its security is judged by the rule of \`docs/security.md\`: a request that carries the
cookie must come from the app, by \`Sec-Fetch-Site: same-origin\`, by \`Origin\`, or with \`X-CSRF: 1\`.
`

const schemas: Readonly<Record<string, z.ZodType>> = {
  Session: answers.SessionAnswer,
  User: answers.UserAnswer,
  Sessions: answers.SessionsAnswer,
  Ended: answers.EndedAnswer,
  Logout: answers.LogoutAnswer,
  Expiring: answers.ExpiringEvent,
  SessionEnded: answers.EndedEvent,
  JwkSet: answers.JwkSet,
  Problem: answers.Problem,
  OperatorProblem: answers.OperatorProblem,
  Health: answers.HealthAnswer,
  Readiness: answers.ReadinessAnswer,
  AdminSessions: answers.AdminSessionsAnswer,
}

const header = (description: string, schema: Json): Json => ({ description, required: true, schema })
const text: Json = { type: 'string' }

/** All header fields that answers have for their callers' use. */
const headers: Record<string, Json> = {
  Allow: header('The methods that the path takes.', text),
  Authorization: header('For the application: its access token.', { type: 'string', pattern: '^(Bearer|DPoP) ' }),
  'Cache-Control': header('Stored nowhere.', { const: 'no-store' }),
  ETag: header('Of what the body is.', { type: 'string', pattern: '^"[\\w-]{22}"$' }),
  Location: header('Where to go.', { type: 'string', format: 'uri-reference' }),
  'Retry-After': header('Whole seconds.', { type: 'string', pattern: '^[1-9][0-9]*$' }),
  Revalidated: header('Kept, but asked for anew each time.', { const: 'no-cache' }),
  'Set-Cookie': header('Cookies, one field each.', text),
  Vary: header('What the answer depends on.', text),
  'WWW-Authenticate': header('The way to authenticate.', { const: 'Bearer' }),
}

/** The whole document (OpenAPI 3.1). */
export function openApiDocument(): Record<string, Json> {
  const paths = { ...publicPaths(), ...otherPaths() }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Sidegate',
      version: '1',
      summary: 'A backend-for-frontend gateway',
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'https://app.example.com', description: 'The public listener, at `publicUrl`.' }],
    tags: [
      { name: 'public', description: 'For browsers, and the authorization server’s logout requests.' },
      { name: 'management', description: 'For the platform: nothing that changes anything or names a user.' },
      { name: 'admin', description: 'For operators, with the bearer token.' },
      { name: 'forwardAuth', description: 'For other proxies.' },
    ],
    paths,
    components: {
      schemas: Object.fromEntries(Object.entries(schemas).map(([name, type]) => [name, schemaObject(type)])),
      headers,
      responses: failureComponents(paths),
      securitySchemes: {
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: '__Host-Http-sidegate',
          description: 'The session cookie, which a sign-in sets; page script cannot read it.',
        },
        adminToken: { type: 'http', scheme: 'bearer', description: '`admin.token`.' },
      },
    },
  }
}

/** The text of the file. */
export function openApiText(): string {
  const preface =
    '# Made by `npm run openapi` from src/routes/endpoints.ts, src/errors.ts, src/http/answers.ts and scripts/openapi.\n'
  return (
    preface +
    stringify(openApiDocument(), {
      lineWidth: 120,
      aliasDuplicateObjects: false,
      singleQuote: true,
      blockQuote: 'literal',
    })
  )
}

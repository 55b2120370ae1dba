/** The endpoints under `basePath`, by the name of their policy and the method. What HEAD answers follows from GET. */
import { z } from 'zod'
import { loginParamPatterns } from '../../src/routes/login-params.ts'
import { RETURN_TO_NAMES } from '../../src/routes/login.ts'
import type { Answer, Operation, Parameter } from './operation.ts'

const json = (schema: string, description: string): Answer => ({ description, content: { 'application/json': schema } })
const page = (description: string): Answer => ({ description, content: { 'text/html': undefined } })
const onward = (description: string, ...headers: string[]): Answer => ({
  description,
  headers: ['Location', ...headers],
})

const returnTo: Parameter = {
  description: 'Where to go after the sign-in: a path of ours. Anything else is replaced by `/` and logged.',
}

const loginQuery: Record<string, Parameter> = {
  ...Object.fromEntries(
    RETURN_TO_NAMES.map((name) => [
      name,
      name === 'returnTo' ? returnTo : { description: 'Another name of `returnTo`.' },
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(loginParamPatterns).map(([name, pattern]) => [
      name,
      { description: 'Passed on, where `provider.loginParams` allows it.', schema: z.string().regex(pattern) },
    ]),
  ),
  provider: { description: 'The name under `providers`, where there are several.' },
  mode: { description: 'Ends on a page that tells its opener and closes itself.', schema: z.enum(['popup']) },
}

const callbackQuery: Record<string, Parameter> = {
  state: { description: 'Names the login, which must be one of this browser.' },
  code: { description: 'The authorization code.' },
  iss: { description: 'The authorization server’s own name (RFC 9207).' },
  error: { description: 'In place of a code: the server has refused.' },
  response: { description: 'In place of all these: a signed answer (JARM).' },
}

const finished = onward('Signed in, or sent back by a refused `prompt=none`; on to `returnTo`.')
const ticketed = 'To a one-use address of ours that leads on to the authorization server’s logout.'

const file = (type: string, schema?: string): Operation['answers'] => ({
  200: { description: 'The same for everybody.', content: { [type]: schema }, headers: ['ETag'] },
  304: { description: 'As in `If-None-Match`.', headers: ['ETag'] },
})

/** `policy.name` → method → operation. */
export const publicOperations: Readonly<Record<string, Readonly<Record<string, Operation>>>> = {
  login: {
    GET: {
      summary: 'Starts a sign-in',
      description: 'A top-level navigation only: a frame, a `fetch` or a prefetch is 400.',
      query: loginQuery,
      answers: {
        200: page('From another site: one “sign in” button. Where several providers are: one link for each.'),
        302: onward('To the authorization server, with a cookie for this one sign-in.', 'Set-Cookie'),
        303: onward('With `prompt=none`, where a provider would have to be chosen: back.'),
      },
      failures: ['provider_unavailable', 'store_unavailable'],
    },
  },
  login_done: { GET: { summary: 'Where a sign-in in a popup ends', answers: { 200: page('Closes itself.') } } },
  callback: {
    GET: {
      summary: 'Finishes a sign-in',
      description: 'The redirect URI to register. The same one again in the same browser is sent on, too.',
      query: callbackQuery,
      answers: { 303: finished },
      failures: ['login_failed', 'forbidden', 'provider_unavailable', 'store_unavailable'],
    },
    POST: {
      summary: 'Finishes a sign-in, with `provider.responseMode: form_post`',
      form: callbackQuery,
      answers: { 303: finished },
      failures: ['login_failed', 'forbidden', 'provider_unavailable', 'store_unavailable'],
    },
  },
  session: {
    GET: {
      summary: 'Who is signed in, and for how long',
      description: 'Never slides the idle timeout.',
      answers: { 200: json('Session', 'Signed in or not.') },
    },
  },
  user: {
    GET: {
      summary: 'The user’s claims',
      query: {
        anonymous: { description: '`200`: who is not signed in gets `null` in place of 401.', schema: z.enum(['200']) },
      },
      answers: { 200: json('User', 'The claims; `null` for nobody, where that was asked for.') },
      failures: ['login_required'],
    },
  },
  session_refresh: {
    POST: {
      summary: 'Refreshes the tokens now',
      answers: { 200: json('Session', 'As `GET session`.') },
      failures: ['provider_unavailable'],
    },
  },
  session_events: {
    GET: {
      summary: 'What happens to the session, as it happens',
      description:
        'Server-Sent Events: `session` on connect and `refreshed` carry `Session`; `expiring` carries `Expiring`; ' +
        '`ended` carries `SessionEnded`, and the stream ends.',
      answers: { 200: { description: 'The stream.', content: { 'text/event-stream': undefined } } },
      failures: ['rate_limited'],
    },
  },
  sessions: {
    GET: { summary: 'The user’s sessions', answers: { 200: json('Sessions', 'Last seen first.') } },
    DELETE: {
      summary: 'Ends all the user’s other sessions',
      query: {
        others: { description: 'Says that it is meant.', schema: z.enum(['true']), required: true },
      },
      answers: { 200: json('Ended', 'So many.') },
    },
  },
  sessions_ref: {
    DELETE: {
      summary: 'Ends one of the user’s sessions',
      answers: { 200: json('Ended', 'One, as a rule.') },
      failures: ['not_found'],
    },
  },
  your_sessions: {
    GET: {
      summary: 'The user’s sessions as a page',
      description: 'A top-level navigation only.',
      answers: { 200: page('The list, with a button for each.') },
    },
  },
  your_sessions_form: {
    POST: {
      summary: 'A button of that page',
      form: {
        ref: { description: 'Ends this session.' },
        others: { description: '`true`: ends all others.' },
      },
      answers: { 303: onward('To the page, which tells what is left.') },
    },
  },
  logout: {
    POST: {
      summary: 'Ends the session, clears the cookie, revokes the refresh token',
      query: { local: { description: '`true`: no trip to the authorization server.' } },
      answers: {
        200: json('Logout', 'For script: where to navigate next.'),
        204: { description: 'With `local=true`.' },
        303: onward(`For a form: ${ticketed}`),
      },
    },
  },
  logout_link: {
    GET: {
      summary: 'The same by a link',
      query: { t: { description: 'This session’s own, from `logoutUrl` of `GET session`.' } },
      answers: {
        200: page('Without the matching cookie and `t`: a page that changes nothing.'),
        303: onward(ticketed),
      },
    },
  },
  logout_continue: {
    GET: {
      summary: 'On to the authorization server’s logout',
      query: { ticket: { description: 'Good once, for 60 s.' } },
      answers: { 303: onward('With a spent or unknown ticket: to the signed-out page.') },
      failures: ['store_unavailable'],
    },
  },
  logout_callback: {
    GET: {
      summary: 'The return from the authorization server’s logout',
      description: 'The post-logout redirect URI to register.',
      answers: { 200: page('Signed out.') },
    },
  },
  backchannel_logout: {
    POST: {
      summary: 'OpenID Connect Back-Channel Logout',
      form: { logout_token: { description: 'Checked like an ID token, and taken once.', required: true } },
      answers: { 200: { description: 'The sessions that it names have ended.' } },
    },
  },
  frontchannel_logout: {
    GET: {
      summary: 'OpenID Connect Front-Channel Logout',
      query: {
        iss: { description: 'A configured issuer.' },
        sid: { description: 'The authorization server’s session.' },
      },
      answers: { 200: page('Whether there was a session to end or not.') },
      failures: ['store_unavailable'],
    },
  },
  client_js: { GET: { summary: 'The browser client as an ES module', answers: file('text/javascript') } },
  jwks: { GET: { summary: 'The public keys of this client', answers: file('application/jwk-set+json', 'JwkSet') } },
}

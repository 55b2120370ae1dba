/** What the specifications ask of a gateway in our place, in our words, and which function keeps it. */

export type Level = 'MUST' | 'SHOULD' | 'EXTRA'

/** One line that can be tested. */
export interface Requirement {
  readonly id: string
  readonly level: Level
  readonly text: string
  /** `file#name`: where it is kept; the name stands in that file. */
  readonly guards: readonly string[]
  /** Why nothing keeps it; only where there is no guard. */
  readonly open?: string
}

/** The groups in the order of a request's life, by the first two letters of their ids. */
export const groups: Readonly<Record<string, string>> = {
  AR: 'Authorization request',
  CB: 'Callback',
  TK: 'Token requests, tokens and UserInfo',
  ID: 'ID token',
  SC: 'Session and cookies',
  CS: 'Cross-site requests',
  PX: 'Proxying',
  RF: 'Refresh',
  LO: 'Logout',
  AS: 'Metadata and keys of the authorization server',
  CF: 'Configuration and operation',
  F2: 'FAPI 2.0 (`profile: fapi2`)',
}

type Line = readonly [id: string, level: Level, text: string, guards: string, open?: string]

// Guards are separated by spaces; `src/` is left out.
const lines: readonly Line[] = [
  [
    'AR-01',
    'MUST',
    'A login asks for a code and nothing else; no configuration reaches another grant.',
    'oidc/authorization-request.ts#authorizationParameters config/provider-rules.ts#OWN_PARAMETERS',
  ],
  [
    'AR-02',
    'MUST',
    'Each login has a fresh verifier of 256 bits and sends its S256 challenge.',
    'oidc/login-transaction.ts#codeVerifierOf oidc/authorization-request.ts#authorizationParameters',
  ],
  [
    'AR-03',
    'MUST',
    'PKCE is sent whether or not the metadata lists S256; `plain` is never sent.',
    'oidc/authorization-request.ts#authorizationParameters',
  ],
  [
    'AR-04',
    'MUST',
    'Each login has a fresh state that nobody can guess, good once and in its own browser only.',
    'oidc/login-transaction.ts#stateOf routes/callback.ts#transactionOf session/login-ledger.ts#claim',
  ],
  [
    'AR-05',
    'MUST',
    'Each login has a fresh nonce of at most 64 characters, kept for the check of the ID token.',
    'oidc/login-transaction.ts#nonceOf',
  ],
  [
    'AR-06',
    'MUST',
    'The scope is the configured list; a browser cannot widen it.',
    'oidc/authorization-request.ts#RESERVED routes/login-params.ts#readLoginParams',
  ],
  [
    'AR-07',
    'MUST',
    'The redirect URI is the configured address byte for byte, never built from a request.',
    'oidc/providers.ts#redirectUri oidc/connection.ts#withExactRedirectUri',
  ],
  [
    'AR-08',
    'MUST',
    'What a login needs later is kept for ten minutes, bound to its browser, apart for each tab.',
    'http/login-cookies.ts#openTransactions oidc/login-transaction.ts#encodeTransaction',
  ],
  [
    'AR-09',
    'SHOULD',
    'A login starts by a top-level navigation; one from another site stops at a page with a button.',
    'routes/login.ts#judgeLoginRequest',
  ],
  [
    'AR-10',
    'MUST',
    'A return address is a path of our own in every reading, or the start page takes its place.',
    'http/return-to.ts#parseReturnTo',
  ],
  [
    'AR-11',
    'MUST',
    'Where pushed requests are asked for, all parameters are pushed, authenticated, and the browser gets the reference alone.',
    'oidc/authorization-request.ts#usesPushedRequest',
  ],
  [
    'AR-12',
    'MUST',
    'A push that fails is a failed login, never a plain request.',
    'oidc/authorization-request.ts#pushed',
  ],
  [
    'AR-13',
    'EXTRA',
    'A signed request is typed, names client and issuer, lives for a minute and is never unsigned.',
    'oidc/authorization-request.ts#signed',
  ],
  [
    'AR-14',
    'SHOULD',
    'A browser sets only parameters of the login that are allowed and of their type.',
    'routes/login-params.ts#readLoginParams oidc/authorization-request.ts#RESERVED',
  ],
  [
    'AR-15',
    'EXTRA',
    'Resources and authorization details come from the configuration alone.',
    'oidc/authorization-request.ts#authorizationParameters',
  ],
  [
    'AR-16',
    'MUST',
    'A call without a session is answered 401 as data; only a navigation begins a login.',
    'http/judge.ts#judge',
  ],
  [
    'AR-17',
    'EXTRA',
    'A login that another party starts names a configured issuer.',
    '',
    'not built: a link to `login` serves other sites, by a page with a button',
  ],

  [
    'CB-01',
    'MUST',
    'Without a state of this very browser, unused and in time, no token request is made.',
    'routes/callback.ts#transactionOf http/login-cookies.ts#openTransactions session/login-ledger.ts#claim',
  ],
  [
    'CB-02',
    'MUST',
    'One code is traded once, however often and wherever its callback arrives.',
    'session/login-ledger.ts#claim',
  ],
  [
    'CB-03',
    'MUST',
    'The cookie of a login returns with the answer: `Lax`, or `None` where the answer is posted.',
    'http/cookies.ts#isPosted',
  ],
  [
    'CB-04',
    'MUST',
    'An `iss` that was promised must be there, and one that is there must be this issuer, before the code leaves.',
    'oidc/code-grant.ts#grantRequest',
  ],
  [
    'CB-05',
    'MUST',
    'With several authorization servers each answer says whose it is; what cannot say it is refused.',
    'oidc/code-grant.ts#refuseForeignResponse oidc/authorization-request.ts#authorizationUrl config/provider-rules.ts#checkMixUp',
  ],
  [
    'CB-06',
    'MUST',
    'An error answer ends the login without a token request, and its words are not shown.',
    'oidc/code-grant.ts#refusedResponse http/pages.ts#failure',
  ],
  ['CB-07', 'MUST', 'After a failed callback nothing starts by itself.', 'routes/callback.ts#failed'],
  [
    'CB-08',
    'MUST',
    'Parameters of an answer that come twice are refused, unknown ones ignored.',
    'routes/callback.ts#readState oidc/code-grant.ts#refuseOddResponse',
  ],
  [
    'CB-09',
    'MUST',
    'Only the configured response mode is taken, and no answer that carries a token.',
    'routes/callback.ts#judgeResponseMode routes/endpoints.ts#callbackPolicy oidc/code-grant.ts#refuseOddResponse',
  ],
  [
    'CB-10',
    'MUST',
    'A callback ends on the wanted page by 303, with nothing of the login in the address, unstored and without referrer.',
    'routes/callback.ts#finishLogin routes/callback.ts#goTo',
  ],
  [
    'CB-11',
    'EXTRA',
    'A signed response is verified in full; an unsigned or plain one is refused where it is due.',
    'oidc/code-grant.ts#keysOfResponse oidc/code-grant.ts#refuseOddResponse',
  ],

  ['TK-01', 'MUST', 'Every token, push and revocation request is authenticated.', 'oidc/connection.ts#attempt'],
  [
    'TK-02',
    'MUST',
    'One authentication method a request: the configured one, which the server lists.',
    'oidc/client-authentication.ts#authenticationMethods oidc/metadata.ts#checkMetadata',
  ],
  [
    'TK-03',
    'MUST',
    'HTTP Basic encodes id and secret as a form does.',
    'oidc/client-authentication.ts#authenticationMethods',
  ],
  [
    'TK-04',
    'MUST',
    'A client assertion names client and issuer, is used once and lives for a minute.',
    'oidc/client-authentication.ts#authenticationMethods',
  ],
  [
    'TK-05',
    'MUST',
    'A token request repeats the redirect URI and brings the verifier of its login.',
    'oidc/code-grant.ts#grantRequest oidc/connection.ts#withExactRedirectUri',
  ],
  [
    'TK-06',
    'MUST',
    'Calls of servers are https with a verified certificate, bounded in time and size, and follow no redirect.',
    'oidc/back-channel.ts#BackChannel oidc/metadata.ts#checkMetadata config/provider-rules.ts#checkAddresses proxy/upstream-address.ts#connectOptions',
  ],
  [
    'TK-07',
    'MUST',
    'The token type is compared without case; an unknown one, or a plain one where a bound one is due, is refused.',
    'oidc/token-response.ts#tokenSetOf',
  ],
  [
    'TK-08',
    'MUST',
    'Of a token answer unknown members are ignored, a missing lifetime has a default, a scope is kept as granted.',
    'oidc/token-response.ts#clampedLifetimeSeconds oidc/token-response.ts#tokenSetOf',
  ],
  [
    'TK-09',
    'MUST',
    'No token, code, verifier or secret is in any byte that a browser, a log or a metric shows.',
    'routes/session.ts#describeSession telemetry/redaction.ts#cleanText http/failure-answer.ts#describeFailure',
  ],
  [
    'TK-10',
    'SHOULD',
    'Stored tokens are sealed under keys that rotate, bound to their session.',
    'session/key-ring.ts#sealSession',
  ],
  [
    'TK-11',
    'MUST',
    'UserInfo is asked by header, is about the very subject of the ID token, and where signed is verified.',
    'oidc/userinfo.ts#fetchUserinfo',
  ],
  [
    'TK-12',
    'EXTRA',
    'A route’s own token is checked for its type and kept apart; a failure sends no other token.',
    'oidc/route-token.ts#byGrant session/route-tokens.ts#RouteTokens',
  ],

  ['ID-01', 'MUST', '`iss` is the configured issuer, character by character.', 'oidc/id-token.ts#checkIssuer'],
  ['ID-02', 'MUST', '`aud` names this client; with other audiences `azp` must, too.', 'oidc/id-token.ts#checkAudience'],
  [
    'ID-03',
    'SHOULD',
    'The signature is verified although TLS could stand in for it.',
    'oidc/id-token.ts#verifyIdToken',
  ],
  ['ID-04', 'MUST', '`alg` is the one configured, never `none`.', 'oidc/issuer-keys.ts#verified'],
  [
    'ID-05',
    'MUST',
    '`exp`, `nbf` and `iat` fit our clock within one tolerance of at most a minute.',
    'oidc/id-token.ts#checkTimes',
  ],
  ['ID-06', 'MUST', '`nonce` is that of this login.', 'oidc/id-token.ts#checkIdToken'],
  ['ID-07', 'MUST', 'A token answer without an ID token signs nobody in.', 'oidc/code-grant.ts#identify'],
  [
    'ID-08',
    'MUST',
    '`sub` is 1 to 255 ASCII characters; a user is issuer and subject, never an e-mail address.',
    'oidc/id-token.ts#checkIdToken session/session-index.ts#SessionIndex',
  ],
  [
    'ID-09',
    'MUST',
    'Where `max_age` was sent, `auth_time` is there and fresh.',
    'oidc/id-token.ts#checkAuthentication http/access.ts#judgeAccess',
  ],
  [
    'ID-10',
    'SHOULD',
    'Where `acr_values` were sent, `acr` is one of them.',
    'oidc/id-token.ts#checkAuthentication http/access.ts#judgeAccess',
  ],
  ['ID-11', 'SHOULD', 'An `at_hash` is that of the access token beside it.', 'oidc/id-token.ts#checkAccessTokenHash'],
  [
    'ID-12',
    'MUST',
    'Keys come from the issuer’s set alone; keys or extensions named in a token are not believed, strange keys do no harm.',
    'oidc/issuer-keys.ts#verified oidc/issuer-keys.ts#IssuerKeys',
  ],
  [
    'ID-13',
    'MUST',
    'No ID token goes to an API, and no access token is taken for an identity.',
    'oidc/id-token.ts#OTHER_TYPES proxy/credentials.ts#Credentials',
  ],
  ['ID-14', 'EXTRA', 'Encrypted ID tokens.', '', 'not built: such a token is refused as one that cannot be verified'],
  [
    'ID-15',
    'MUST',
    'A failed check leaves no session, no cookie and no further call; the tokens are revoked and one audit line is written.',
    'oidc/code-grant.ts#exchangeCode routes/callback.ts#finishLogin',
  ],

  ['SC-01', 'MUST', 'The session cookie is `Secure` and `HttpOnly`.', 'http/cookies.ts#CookieJar'],
  [
    'SC-02',
    'SHOULD',
    'It is `SameSite=Strict` unless a route is opened from elsewhere.',
    'http/cookies.ts#sessionSameSite',
  ],
  [
    'SC-03',
    'SHOULD',
    'It is for the whole path, for no domain, and its name is host-bound.',
    'http/cookies.ts#cookieNames',
  ],
  ['SC-04', 'MUST', 'Cookies stay below what browsers take, in size and in time.', 'http/cookies.ts#CookieJar'],
  [
    'SC-05',
    'MUST',
    'An unknown, malformed or doubled session id is no session.',
    'http/cookies.ts#sessionOf session/manager.ts#resolve',
  ],
  [
    'SC-06',
    'MUST',
    'A cookie without prefix and `Secure` needs an explicit setting and a loopback address.',
    'config/rules.ts#checkCookie',
  ],
  [
    'SC-07',
    'MUST',
    'A session id has 256 random bits and is stored as its hash.',
    'session/manager.ts#create session/session.ts#sessionRef',
  ],
  [
    'SC-08',
    'MUST',
    'Each login has a new session id, and the session before it ends.',
    'session/manager.ts#create routes/callback.ts#startSession',
  ],
  [
    'SC-09',
    'MUST',
    'Sessions end when unused and when too old; nothing but a user’s use moves the first, nothing the second.',
    'session/manager.ts#alive',
  ],
  ['SC-10', 'SHOULD', 'A session does not outlive what its refresh token is good for.', 'session/manager.ts#withToken'],
  [
    'SC-11',
    'MUST',
    'Asking for the session tells allowed claims only, is never stored, is judged like a call, and keeps nothing alive.',
    'routes/session.ts#describeSession routes/endpoints.ts#endpoints',
  ],
  [
    'SC-12',
    'MUST',
    'Without the store there is 503, no anonymous pass and no crash; it heals by itself.',
    'http/judge.ts#judgeSession',
  ],
  [
    'SC-13',
    'SHOULD',
    'Sessions are listed and ended one by one or all at once, and limited in number for each user.',
    'routes/sessions.ts#registerSessions management/admin.ts#buildAdmin session/manager.ts#endBeyondLimit',
  ],
  ['SC-14', 'EXTRA', 'Sessions kept in cookies are encrypted.', '', 'not built: sessions are kept on the server'],

  [
    'CS-01',
    'MUST',
    'Whatever comes with the session cookie is judged, reads and handshakes included.',
    'http/csrf.ts#judgeCsrf http/judge.ts#judgeCsrf',
  ],
  [
    'CS-02',
    'MUST',
    'With `csrf.requireHeader` every call carries the header, or is refused before anything is touched.',
    'http/csrf.ts#judgeCsrf',
  ],
  [
    'CS-03',
    'MUST',
    'Only listed origins may read answers, by name; preflights are answered here.',
    'http/cors.ts#corsHeaders http/cors.ts#preflightHeaders',
  ],
  ['CS-04', 'SHOULD', '`Sec-Fetch-Site` decides where it is there.', 'http/csrf.ts#judgeSource'],
  [
    'CS-05',
    'SHOULD',
    'An `Origin` that is there is ours or a listed one; `null` never is.',
    'http/csrf.ts#judgeSource',
  ],
  ['CS-06', 'MUST', '`SameSite` is not the only defence: a sibling origin is refused.', 'http/csrf.ts#judgeSource'],
  [
    'CS-07',
    'MUST',
    'State changes by an unsafe method that is judged, or by a link with a token of the session.',
    'routes/logout.ts#registerLogout routes/endpoints.ts#endpoints',
  ],
  ['CS-08', 'MUST', 'A WebSocket handshake comes from an origin that may.', 'http/csrf.ts#judgeSource'],
  [
    'CS-09',
    'SHOULD',
    'Answers are neither sniffed nor embedded elsewhere.',
    'http/security-headers.ts#SecurityHeaders proxy/response-headers.ts#ResponseHeaders',
  ],

  [
    'PX-01',
    'MUST',
    'Requests go to configured places only; nothing in a request chooses the host.',
    'proxy/route-table.ts#target proxy/request-headers.ts#RequestHeaders',
  ],
  [
    'PX-02',
    'MUST',
    'No spelling of a path leaves its prefix or host; what tries is a 4xx.',
    'http/request-path.ts#parseRequestTarget proxy/route-table.ts#match',
  ],
  ['PX-03', 'SHOULD', 'Methods are allowed by route; TRACE and CONNECT never are.', 'http/judge.ts#judgeMethod'],
  [
    'PX-04',
    'MUST',
    'The gateway’s cookies reach no upstream, by WebSocket neither.',
    'http/cookies.ts#stripOwnCookies',
  ],
  [
    'PX-05',
    'MUST',
    'Fields of one connection stay there, in both directions, and naming a field strips nothing of ours.',
    'proxy/field-names.ts#HOP_BY_HOP proxy/request-headers.ts#build proxy/response-headers.ts#build',
  ],
  [
    'PX-06',
    'MUST',
    'What a browser says of tokens and identity is dropped; the token goes in `Authorization` alone.',
    'proxy/field-names.ts#isReservedUpwards',
  ],
  [
    'PX-07',
    'MUST',
    'Each request says `Via`, and one that has been here is a loop.',
    'proxy/request-headers.ts#addOwn',
  ],
  ['PX-08', 'MUST', '`Host` is the upstream’s.', 'proxy/request-headers.ts#build'],
  [
    'PX-09',
    'MUST',
    'Forwarding fields of strangers are dropped and written anew; no address of ours is built from them.',
    'http/client-address.ts#ClientAddresses proxy/delivery.ts#forwardedFor',
  ],
  [
    'PX-10',
    'MUST',
    'Messages whose end two servers could see differently are refused; bodies are framed anew and flow both ways.',
    'http/framing.ts#checkFraming http/request-line.ts#readLine proxy/request-body.ts#RequestBody',
  ],
  ['PX-11', 'MUST', 'What may have been received is not sent again.', 'proxy/exchange.ts#mayRetry'],
  ['PX-12', 'MUST', 'Without a session there is 401 and no call of the upstream.', 'http/judge.ts#judge'],
  [
    'PX-13',
    'SHOULD',
    'A refused token is refreshed and tried once at most; no challenge opens a password window.',
    'proxy/delivery.ts#refused proxy/response-headers.ts#opensNoWindow',
  ],
  [
    'PX-14',
    'EXTRA',
    'An API’s wish for a stronger sign-in reaches the application.',
    'routes/step-up.ts#stepUpFor http/access.ts#stepUpRequired',
  ],
  [
    'PX-15',
    'MUST',
    'Answers to signed-in requests are kept by no shared cache, our own by none.',
    'proxy/response-headers.ts#privateCacheControl routes/own-endpoints.ts#registerOwnEndpoints',
  ],
  [
    'PX-16',
    'MUST',
    'A token goes to its upstream only, redirects are not followed, and no upstream writes our cookies.',
    'proxy/credentials.ts#for http/cookies.ts#upstreamSetCookieAllowed proxy/exchange.ts#onHeaders',
  ],
  [
    'PX-17',
    'SHOULD',
    'Each upstream has its times, places and circuit; failures are 502 and 504 without details, and it learns the client’s address.',
    'proxy/upstream.ts#Upstream proxy/upstream-failure.ts#failureOf',
  ],
  [
    'PX-18',
    'EXTRA',
    'Bound tokens travel with a proof for each request.',
    'proxy/credentials.ts#fields oidc/dpop.ts#createDpopProof',
  ],
  [
    'PX-19',
    'MUST',
    'Streams and WebSockets are judged when they open and end with their session.',
    'proxy/open-streams.ts#OpenStreams routes/events.ts#EventStream',
  ],

  [
    'RF-01',
    'MUST',
    'A token that has expired or soon will is refreshed before the call goes on.',
    'session/refresh.ts#refreshDueAt session/manager.ts#withToken',
  ],
  [
    'RF-02',
    'MUST',
    'A new refresh token replaces the old one in one write; without one the old one stays.',
    'oidc/refresh.ts#accept session/refresh.ts#write',
  ],
  [
    'RF-03',
    'MUST',
    'Any number of calls on any number of instances make one refresh; a replaced token is not sent again.',
    'session/refresh.ts#exclusively session/refresh.ts#holding',
  ],
  [
    'RF-04',
    'MUST',
    'A dead refresh token ends the session; an outage does not.',
    'oidc/refresh.ts#judgeFailure session/refresh.ts#grant',
  ],
  [
    'RF-05',
    'MUST',
    'A refreshed ID token speaks of the same sign-in of the same person, or the session ends.',
    'oidc/id-token.ts#checkContinuity',
  ],
  [
    'RF-06',
    'MUST',
    'A refresh that races a logout brings no session back.',
    'session/memory-store.ts#replace session/redis-scripts.ts#sgReplace session/refresh.ts#discard',
  ],
  ['RF-07', 'SHOULD', 'A refresh asks for no more than was granted.', 'oidc/refresh.ts#refresh'],
  [
    'RF-08',
    'EXTRA',
    'The key of bound tokens is kept with the session and used again.',
    'oidc/refresh.ts#refresh oidc/dpop.ts#dpopHandle',
  ],
  [
    'RF-09',
    'EXTRA',
    'An opaque token of an app is introspected, with authentication, and counts only while it is active.',
    'oidc/introspection.ts#introspect',
  ],

  [
    'LO-01',
    'MUST',
    'Signing out ends the session and clears its cookie first, whatever the authorization server does.',
    'routes/logout.ts#endSession',
  ],
  [
    'LO-02',
    'SHOULD',
    'Then the refresh token is revoked; nobody waits long for that.',
    'routes/logout.ts#revoke oidc/connection.ts#revoke',
  ],
  [
    'LO-03',
    'MUST',
    'The trip to the authorization server carries hint, client, registered address and state; without an endpoint the sign-out is local.',
    'oidc/end-session.ts#endSessionUrl',
  ],
  ['LO-04', 'MUST', 'Whatever state comes back, the visitor ends on our own page.', 'routes/logout.ts#registerLogout'],
  ['LO-05', 'SHOULD', 'An address that would be too long goes without its hint.', 'oidc/end-session.ts#standardUrl'],
  [
    'LO-06',
    'MUST',
    'The back channel takes a posted logout token, without cookie or header, and nothing else.',
    'routes/provider-logout.ts#registerProviderLogout routes/endpoints.ts#endpoints',
  ],
  [
    'LO-07',
    'MUST',
    'A logout token is signed as ID tokens are, is for this client, of now, with an event, a name and no nonce.',
    'oidc/logout-token.ts#checkLogoutToken oidc/provider.ts#verifyLogoutToken',
  ],
  [
    'LO-08',
    'MUST',
    'Its type is absent or the right one; another type is another token.',
    'oidc/logout-token.ts#isRightType',
  ],
  [
    'LO-09',
    'MUST',
    'It is answered 200, or 400 whether invalid or failed, and never stored.',
    'routes/provider-logout.ts#registerProviderLogout',
  ],
  [
    'LO-10',
    'MUST',
    'It ends all sessions of its session id, or of its subject, whatever characters those have.',
    'session/roster.ts#endIndexed session/session-index.ts#SessionIndex',
  ],
  [
    'LO-11',
    'SHOULD',
    'A logout token that was used is refused until it has expired.',
    'routes/provider-logout.ts#endByLogoutToken',
  ],
  [
    'LO-12',
    'EXTRA',
    'The front channel ends the named session without a cookie and may be framed by its issuer alone.',
    'routes/provider-logout.ts#registerProviderLogout',
  ],
  [
    'LO-13',
    'EXTRA',
    'Without issuer and session id it has no effect.',
    'routes/provider-logout.ts#registerProviderLogout',
  ],
  ['LO-14', 'EXTRA', '`session_state` does no harm.', 'oidc/code-grant.ts#ONCE'],

  [
    'AS-01',
    'MUST',
    'Metadata is read from the configured issuer, with path and slash as they are.',
    'oidc/metadata.ts#metadataUrls',
  ],
  [
    'AS-02',
    'MUST',
    'A document of another issuer, by a single character, is not used.',
    'oidc/metadata.ts#checkMetadata',
  ],
  [
    'AS-03',
    'MUST',
    'Endpoints come from that document or the configuration, with https, and nothing redirects elsewhere.',
    'oidc/metadata.ts#checkMetadata',
  ],
  [
    'AS-04',
    'SHOULD',
    'Without the server the process stays up, logins wait their turn, and sessions go on.',
    'oidc/metadata.ts#Metadata management/readiness.ts#Readiness',
  ],
  [
    'AS-05',
    'SHOULD',
    'Metadata is read again from time to time; a bad copy replaces no good one.',
    'oidc/metadata.ts#reread',
  ],
  [
    'AS-06',
    'MUST',
    'An unknown key is looked for at once, but seldom; a key that was taken out stops verifying.',
    'oidc/issuer-keys.ts#mayRefetch oidc/issuer-keys.ts#ensureFresh',
  ],
  [
    'AS-07',
    'MUST',
    'With a client certificate the addresses for certificates are used.',
    'oidc/connection.ts#configuration',
  ],
  [
    'AS-08',
    'EXTRA',
    'Our own key set holds public keys with different ids.',
    'oidc/client-authentication.ts#clientKey routes/public-files.ts#registerPublicFiles',
  ],

  [
    'CF-01',
    'MUST',
    'Unknown keys, wrong types and contradictions stop the start, each with its place.',
    'config/load.ts#loadConfig',
  ],
  [
    'CF-02',
    'MUST',
    'Secrets come from the environment or files, are never printed, have no defaults and a least length.',
    'config/store-rules.ts#checkKeys config/provider-rules.ts#checkSecretLength config/effective.ts#effectiveValues',
  ],
  [
    'CF-03',
    'MUST',
    'The public address is https except on loopback, and says so for a year.',
    'config/rules.ts#checkPublicUrl http/security-headers.ts#strictTransport',
  ],
  [
    'CF-04',
    'MUST',
    'Trusted proxies are named by address; by default there are none.',
    'config/rules.ts#checkTrustedProxies http/client-address.ts#ClientAddresses',
  ],
  [
    'CF-05',
    'SHOULD',
    'Keys and secrets rotate while running, and nobody is signed out.',
    'session/key-ring.ts#update config/source.ts#ConfigSource',
  ],
  [
    'CF-06',
    'MUST',
    'Sign-ins, refreshes and logouts are logged as one line of JSON in UTC each, without secrets, with session ids cut and hashed.',
    'telemetry/audit.ts#Audit telemetry/logger.ts#createLogger',
  ],
  [
    'CF-07',
    'SHOULD',
    'Our own pages allow what stands in them, are framed by nobody and name no version.',
    'http/security-headers.ts#page',
  ],
  [
    'CF-08',
    'SHOULD',
    'Health and metrics have a listener of their own; Redis can have TLS and a user; timeouts are written down.',
    'management/management.ts#buildManagement session/redis-client.ts#connectData',
  ],
  [
    'CF-09',
    'SHOULD',
    'SIGTERM drains, and no error of a request ends the process.',
    'service.ts#drain http/error-handler.ts#failureOf',
  ],

  [
    'F2-01',
    'MUST',
    'Clients prove themselves by key or certificate; secrets stop the start.',
    'config/provider-rules.ts#checkFapi2',
  ],
  [
    'F2-02',
    'MUST',
    'Every request is pushed.',
    'oidc/authorization-request.ts#usesPushedRequest config/provider-rules.ts#checkFapi2',
  ],
  [
    'F2-03',
    'MUST',
    'Every response names its issuer; a server that does not promise it is not used.',
    'oidc/metadata.ts#checkFapi',
  ],
  [
    'F2-04',
    'MUST',
    'Signatures are PS256, ES256 or EdDSA, with keys of full length.',
    'config/provider-rules.ts#FAPI_ALGORITHMS oidc/client-authentication.ts#algorithmOf',
  ],
  [
    'F2-05',
    'MUST',
    'Tokens are bound to a key or certificate, up to the API.',
    'config/provider-rules.ts#checkFapi2 proxy/credentials.ts#fields',
  ],
  ['F2-06', 'MUST', 'Nonces of proofs are learnt and used.', 'oidc/dpop.ts#DpopNonces'],
  [
    'F2-07',
    'MUST',
    'Rotated refresh tokens, addresses for certificates and the exact issuer are supported; nothing redirects openly.',
    'oidc/refresh.ts#accept oidc/metadata.ts#checkMetadata http/return-to.ts#parseReturnTo',
  ],
  ['F2-08', 'MUST', 'TLS is 1.2 at least.', 'proxy/upstream-address.ts#connectOptions'],
  [
    'F2-09',
    'MUST',
    'One code grant for each authorization, and a login is started by its user.',
    'session/login-ledger.ts#claim routes/login.ts#judgeLoginRequest',
  ],
  [
    'F2-10',
    'EXTRA',
    'Requests and responses can be signed.',
    'oidc/authorization-request.ts#signed oidc/code-grant.ts#keysOfResponse',
  ],
]

/** All of them, in order. */
export const requirements: readonly Requirement[] = lines.map(([id, level, text, guards, open]) => ({
  id,
  level,
  text,
  guards: guards === '' ? [] : guards.split(' ').map((guard) => `src/${guard}`),
  ...(open !== undefined && { open }),
}))

/** What has to have a test, or the build fails: the MUSTs of logins and tokens. */
export function mustHaveTest({ id, level }: Requirement): boolean {
  return level === 'MUST' && /^(?:AR|CB|TK|ID)-/.test(id)
}

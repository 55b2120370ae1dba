/** What is out of order at, or about, the authorization server. */
import { freePort } from '../free-port.ts'
import { CLIENT_SECRET, startProvider } from '../provider.ts'
import type { TestProvider } from '../provider.ts'
import { onTestFinished } from 'vitest'
import type { Told } from './retold-provider.ts'
import { RetoldProvider } from './retold-provider.ts'
import { written } from './ward.ts'
import type { Misconfiguration, State, Tree, Ward } from './ward.ts'

const PROVIDER = { about: 'provider' } as const
const GOOD_DOCUMENT = /the discovery document is good/

/** The mistake is in `provider`, and so is what mends it: what the remedy's first group says is laid over it. */
function inProvider(mistake: (ward: Ward) => Tree): Misconfiguration['state'] {
  return (ward) => {
    const config = ward.configuration({ provider: mistake(ward) })
    return {
      config,
      follow: ([, yaml]) => ward.configuration({ provider: { ...mistake(ward), ...written(yaml) } }),
    }
  }
}

/** The server says something that is out of order, until its operator does what the remedy says. */
function atServer(
  arrange: (retold: RetoldProvider) => void,
  options: { provider?: Tree; more?: (retold: RetoldProvider) => Tree; repair?: (retold: RetoldProvider) => void } = {},
): Misconfiguration['state'] {
  return async (ward) => {
    const retold = await RetoldProvider.start(ward.provider)
    arrange(retold)
    const base = { issuer: retold.issuer, ...options.provider }
    const config = ward.configuration({ provider: base, ...options.more?.(retold) })
    return {
      config,
      follow: ([, yaml]) => {
        if (!options.repair) return ward.configuration({ provider: { ...base, ...written(yaml) } })
        options.repair(retold)
        return config
      },
    }
  }
}

function without(...members: string[]): (retold: RetoldProvider) => void {
  return (retold) => {
    retold.retell = (document) =>
      Object.fromEntries(Object.entries(document).filter(([name]) => !members.includes(name)))
  }
}

function withMembers(changes: Tree): (retold: RetoldProvider) => void {
  return (retold) => {
    retold.retell = (document) => ({ ...document, ...changes })
  }
}

/** Of Basic authentication, which form-encodes it (RFC 6749 §2.3.1). */
function secretIn(authorization = ''): string {
  return decodeURIComponent(Buffer.from(authorization.replace('Basic ', ''), 'base64').toString().split(':')[1] ?? '')
}

/** Answers of a token endpoint that takes secrets in one place only. */
function takesSecretsIn(place: 'header' | 'body'): (retold: RetoldProvider) => void {
  return (retold) => {
    retold.answer = (path, { headers }) =>
      path.startsWith('/token') && (headers.authorization === undefined) !== (place === 'body') ? refusal() : undefined
  }
}

function refusal(description = 'no'): Told {
  const body = JSON.stringify({ error: 'invalid_client', error_description: description })
  return { status: 401, headers: { 'content-type': 'application/json' }, body }
}

function asItIs(retold: RetoldProvider): void {
  retold.retell = (document) => document
  retold.answer = () => undefined
}

/** The client of the configuration, registered anew at another server behind the same address. */
async function registeredAnew(ward: Ward, uris: { redirectUri?: string; postLogout?: string }): Promise<TestProvider> {
  const provider = await startProvider({
    redirectUris: [uris.redirectUri ?? `${ward.publicUrl}/bff/callback`],
    postLogoutRedirectUris: uris.postLogout === undefined ? [] : [uris.postLogout],
  })
  onTestFinished(() => provider.close())
  return provider
}

async function behindOneAddress(
  ward: Ward,
  register: (retold: RetoldProvider, uri: string) => Promise<void>,
  clientId: string,
): Promise<State> {
  const retold = await RetoldProvider.start(ward.provider)
  return {
    config: ward.configuration({ provider: { issuer: retold.issuer, clientId } }),
    follow: async ([, uri = '']) => {
      await register(retold, uri)
      return ward.configuration({ provider: { issuer: retold.issuer } })
    },
  }
}

export const atTheProvider: readonly Misconfiguration[] = [
  {
    ...PROVIDER,
    title: 'an issuer with a slash too many',
    status: 'failure',
    finding: /issuer is .*the slash at the end matters/,
    remedy: /^did you mean (issuer: \S+) \?$/,
    fine: GOOD_DOCUMENT,
    state: inProvider((ward) => ({ issuer: `${ward.provider.issuer}/` })),
  },
  {
    ...PROVIDER,
    title: 'an issuer that lacks its slash',
    status: 'failure',
    finding: /issuer is .*the slash at the end matters/,
    remedy: /^did you mean (issuer: \S+\/) \?$/,
    fine: GOOD_DOCUMENT,
    state: atServer((retold) => (retold.issuerOf = (own) => own), {
      more: (retold) => {
        const configured = retold.issuer
        retold.issuerOf = (own) => `${own}/`
        return { provider: { issuer: configured } }
      },
    }),
  },
  {
    ...PROVIDER,
    title: 'an issuer of an older Keycloak, with /auth',
    status: 'failure',
    finding: /no discovery document .*\/auth\/realms\/acme.* 404/,
    remedy: /^did you mean (issuer: \S+\/realms\/acme) \?$/,
    fine: GOOD_DOCUMENT,
    state: async (ward) => {
      const retold = await RetoldProvider.start(ward.provider, { prefix: '/realms/acme' })
      const more = { scopes: ['openid'] }
      return {
        config: ward.configuration({ provider: { ...more, issuer: `${retold.origin}/auth/realms/acme` } }),
        follow: ([, yaml]) => ward.configuration({ provider: { ...more, ...written(yaml) } }),
      }
    },
  },
  {
    ...PROVIDER,
    title: 'an issuer whose path goes too far',
    status: 'failure',
    finding: /no discovery document/,
    remedy: /^did you mean (issuer: \S+) \?$/,
    fine: GOOD_DOCUMENT,
    state: inProvider((ward) => ({ issuer: `${ward.provider.issuer}/oauth2/authorize` })),
  },
  {
    ...PROVIDER,
    title: 'an issuer whose name DNS does not know',
    status: 'failure',
    finding: /^id\.invalid is not known to DNS here$/,
    remedy: /^check the name/,
    fine: /can be reached/,
    state: (ward) => ({
      config: ward.configuration({ provider: { issuer: 'https://id.invalid' } }),
      follow: () => ward.configuration(),
    }),
  },
  {
    ...PROVIDER,
    title: 'an authorization server that is not running',
    status: 'failure',
    finding: /refuses connections/,
    remedy: /^start the server/,
    fine: /can be reached/,
    state: async (ward) => {
      const port = await freePort()
      const config = ward.configuration({ provider: { issuer: `http://127.0.0.1:${port}` } })
      return {
        config,
        follow: async () => {
          await RetoldProvider.start(ward.provider, { port })
          return config
        },
      }
    },
  },
  {
    ...PROVIDER,
    title: 'a server behind TLS that believes to be asked by http',
    status: 'failure',
    finding: /issuer is "http:\/\/id\.example\.test".* configured is "https:/,
    remedy: /^tell the server that browsers reach it by https/,
    fine: GOOD_DOCUMENT,
    state: async (ward) => {
      const retold = await RetoldProvider.start(ward.provider)
      const told = (scheme: string) => (document: Tree) =>
        written(JSON.stringify(document).replaceAll(retold.origin, `${scheme}://id.example.test`))
      retold.retell = told('http')
      // The proxy that ends TLS, as the gateway sees it.
      const provider = { issuer: 'https://id.example.test', backchannelBaseUrl: retold.origin }
      const config = ward.configuration({ provider })
      return {
        config,
        follow: () => {
          retold.retell = told('https')
          return config
        },
      }
    },
  },
  {
    ...PROVIDER,
    title: 'a clock that is off',
    status: 'failure',
    finding: /clock is 3(599|600|601) s behind the server's, more than clockTolerance allows/,
    remedy: /^synchronise the clocks/,
    fine: /^the clocks agree$/,
    state: atServer((retold) => (retold.clockOffsetMs = 3_600_000), {
      repair: (retold) => (retold.clockOffsetMs = 0),
    }),
  },
  {
    ...PROVIDER,
    title: 'a wrong secret',
    status: 'failure',
    finding: /refuses the credentials of the client: .*401 invalid_client/,
    remedy: /^check clientId and secret/,
    fine: /^the credentials are right/,
    state: (ward) => ({
      config: ward.configuration({ provider: { clientSecret: 'wrong-secret-wrong-secret-wrong-secret' } }),
      follow: () => ward.configuration({ provider: { clientSecret: CLIENT_SECRET } }),
    }),
  },
  {
    ...PROVIDER,
    title: 'the id of the secret in place of its value, at Entra ID',
    status: 'failure',
    finding: /refuses the credentials of the client: .*\(AADSTS7000215\)/,
    remedy: /^write the value of the secret, which Entra shows once, and not its id$/,
    fine: /^the credentials are right/,
    state: async (ward) => {
      const retold = await RetoldProvider.start(ward.provider)
      retold.answer = (path, { headers }) =>
        path.startsWith('/token') && secretIn(headers.authorization) !== CLIENT_SECRET
          ? refusal('AADSTS7000215: Invalid client secret provided.')
          : undefined
      return {
        config: ward.configuration({
          provider: { issuer: retold.issuer, clientSecret: '11111111-2222-3333-4444-555555555555' },
        }),
        follow: () => ward.configuration({ provider: { issuer: retold.issuer } }),
      }
    },
  },
  {
    ...PROVIDER,
    title: 'a client that is not known there',
    status: 'failure',
    finding: /^the server does not know the client$/,
    remedy: /^check clientId: nobody$/,
    fine: /^the redirect URI is registered/,
    state: (ward) => ({
      config: ward.configuration({ provider: { clientId: 'nobody' } }),
      follow: () => ward.configuration(),
    }),
  },
  {
    ...PROVIDER,
    title: 'a secret in the header that is registered for the body',
    status: 'failure',
    finding: /refuses the credentials/,
    remedy: /^did you mean (clientAuthentication: client_secret_post) \?$/,
    fine: /^the credentials are right \(client_secret_post\)$/,
    state: atServer(takesSecretsIn('body')),
  },
  {
    ...PROVIDER,
    title: 'a secret in the body that is registered for the header',
    status: 'failure',
    finding: /refuses the credentials/,
    remedy: /^did you mean (clientAuthentication: client_secret_basic) \?$/,
    fine: /^the credentials are right \(client_secret_basic\)$/,
    state: atServer(takesSecretsIn('header'), { provider: { clientAuthentication: 'client_secret_post' } }),
  },
  {
    ...PROVIDER,
    title: 'a way to authenticate that the server does not list',
    status: 'failure',
    finding: /does not list tls_client_auth/,
    remedy: /^write (clientAuthentication): one of .*(client_secret_basic)/,
    fine: /^the credentials are right/,
    state: (ward) => ({
      config: ward.configuration({
        provider: { clientAuthentication: 'tls_client_auth', clientSecret: undefined, tls: { cert: 'x', key: 'x' } },
      }),
      follow: ([, key = '', method]) => ward.configuration({ provider: { [key]: method } }),
    }),
  },
  {
    ...PROVIDER,
    title: 'a redirect URI that is not registered',
    status: 'failure',
    finding: /^the redirect URI is not registered$/,
    remedy: /^register this redirect URI at the server, character for character: (\S+)$/,
    fine: /^the redirect URI is registered/,
    state: (ward) =>
      behindOneAddress(
        ward,
        async (retold, redirectUri) => {
          retold.target = await registeredAnew(ward, {
            redirectUri,
            postLogout: `${ward.publicUrl}/bff/logout/callback`,
          })
        },
        'elsewhere',
      ),
  },
  {
    ...PROVIDER,
    title: 'a redirect URI that is not registered, at Cognito, which says so by a redirect',
    status: 'failure',
    finding: /^the redirect URI is not registered$/,
    remedy: /^register this redirect URI at the server/,
    fine: /^the redirect URI is registered/,
    state: atServer(
      (retold) => {
        retold.answer = (path) =>
          path.startsWith('/auth?')
            ? { status: 302, headers: { location: `${retold.origin}/error?error=redirect_mismatch&client_id=shop` } }
            : undefined
      },
      { repair: asItIs },
    ),
  },
  {
    ...PROVIDER,
    title: 'a post-logout redirect URI that is not registered',
    status: 'warning',
    finding: /^the post-logout redirect URI is not registered/,
    remedy: /^register it: (\S+)$/,
    fine: /^the post-logout redirect URI is taken$/,
    state: (ward) =>
      behindOneAddress(
        ward,
        async (retold, postLogout) => {
          retold.target = await registeredAnew(ward, { postLogout })
        },
        'stays',
      ),
  },
  {
    ...PROVIDER,
    title: 'a scope that the client may not ask for',
    status: 'failure',
    finding: /^the server refuses the request: invalid_scope$/,
    remedy: /^correct scopes, or allow them for this client$/,
    fine: /^the redirect URI is registered/,
    state: async (ward) => {
      const retold = await RetoldProvider.start(ward.provider)
      const callback = `${ward.publicUrl}/bff/callback`
      retold.answer = (path) =>
        path.startsWith('/auth?') && path.includes('offline_access')
          ? { status: 303, headers: { location: `${callback}?error=invalid_scope` } }
          : undefined
      const provider = { issuer: retold.issuer, pushedAuthorization: 'never' }
      return {
        config: ward.configuration({ provider }),
        follow: () => ward.configuration({ provider: { ...provider, scopes: ['openid'] } }),
      }
    },
  },
  {
    ...PROVIDER,
    title: 'a scope that is misspelt',
    status: 'warning',
    finding: /does not list these scopes: offline_acess/,
    remedy: /^check their spelling/,
    state: (ward) => ({
      config: ward.configuration({ provider: { scopes: ['openid', 'offline_acess'] } }),
      follow: () => ward.configuration(),
    }),
  },
  {
    ...PROVIDER,
    title: 'offline_access that is missing',
    status: 'warning',
    finding: /^offline_access is not asked for: there may be no refresh token/,
    remedy: /^add (offline_access) to scopes/,
    state: (ward) => ({
      config: ward.configuration({ provider: { scopes: ['openid'] } }),
      follow: ([, scope]) => ward.configuration({ provider: { scopes: ['openid', scope] } }),
    }),
  },
  {
    ...PROVIDER,
    title: 'a signature algorithm that the server does not have',
    status: 'failure',
    finding: /^the server does not sign ID tokens with ES512$/,
    remedy: /^write (idTokenSignedResponseAlg: )one of ([^,]+)/,
    fine: /^the server has a key for RS256$/,
    state: (ward) => ({
      config: ward.configuration({ provider: { idTokenSignedResponseAlg: 'ES512' } }),
      follow: ([, key, algorithm]) => ward.configuration({ provider: written(`${key}${algorithm}`) }),
    }),
  },
  {
    ...PROVIDER,
    title: 'a signature algorithm for which the server has no key',
    status: 'failure',
    finding: /^the server has no key for ES256$/,
    remedy: /^write (idTokenSignedResponseAlg: RS256), as it is set/,
    fine: /^the server has a key for RS256$/,
    state: atServer(withMembers({ id_token_signing_alg_values_supported: ['RS256', 'ES256'] }), {
      provider: { idTokenSignedResponseAlg: 'ES256' },
    }),
  },
  {
    ...PROVIDER,
    title: 'a key set that is not where the server says',
    status: 'failure',
    finding: /^the keys of the server cannot be read: the jwks endpoint answered 404$/,
    remedy: /write the right one into (metadata: \{ jwks_uri: )… \}$/,
    fine: /^the server has a key for RS256$/,
    state: async (ward) => {
      const retold = await RetoldProvider.start(ward.provider)
      retold.retell = (document) => ({ ...document, jwks_uri: `${retold.origin}/nowhere` })
      return {
        config: ward.configuration({ provider: { issuer: retold.issuer } }),
        follow: ([, begin]) =>
          ward.configuration({ provider: { issuer: retold.issuer, ...written(`${begin}"${retold.origin}/jwks" }`) } }),
      }
    },
  },
  {
    ...PROVIDER,
    title: 'pushed requests that the server demands, and that are switched off',
    status: 'failure',
    finding: /^the server demands pushed authorization requests$/,
    remedy: /^write (pushedAuthorization: auto)$/,
    fine: /^the redirect URI is registered/,
    state: atServer(withMembers({ require_pushed_authorization_requests: true }), {
      provider: { pushedAuthorization: 'never' },
    }),
  },
  {
    ...PROVIDER,
    title: 'pushed requests that are required, and that the server does not know',
    status: 'failure',
    finding: /^the server has no endpoint for pushed authorization requests$/,
    remedy: /^write (pushedAuthorization: auto)$/,
    fine: /^the redirect URI is registered/,
    state: atServer(without('pushed_authorization_request_endpoint'), {
      provider: { pushedAuthorization: 'required' },
    }),
  },
  {
    ...PROVIDER,
    title: 'PKCE by the plain method only',
    status: 'failure',
    finding: /^the server lists PKCE without S256/,
    remedy: /^switch on S256 there$/,
    fine: /^PKCE: S256/,
    state: atServer(withMembers({ code_challenge_methods_supported: ['plain'] }), { repair: asItIs }),
  },
  {
    ...PROVIDER,
    title: 'an answer by form that the server does not give',
    status: 'failure',
    finding: /^the server does not answer by form_post$/,
    remedy: /^write (responseMode: )one of (query)$/,
    state: async (ward) => {
      const retold = await RetoldProvider.start(ward.provider)
      retold.retell = (document) => ({ ...document, response_modes_supported: ['query', 'fragment'] })
      const { issuer } = retold
      return {
        config: ward.configuration({ provider: { issuer, responseMode: 'form_post' } }),
        follow: ([, key, mode]) => ward.configuration({ provider: { issuer, ...written(`${key}${mode}`) } }),
      }
    },
  },
  {
    ...PROVIDER,
    title: 'bound tokens that the server does not know',
    status: 'failure',
    finding: /^dpop is on, and the server does not say that it knows DPoP$/,
    remedy: /^write (dpop: false)$/,
    state: atServer(without('dpop_signing_alg_values_supported'), { provider: { dpop: true } }),
  },
  {
    ...PROVIDER,
    title: 'UserInfo that the server does not have',
    status: 'failure',
    finding: /^the server has no UserInfo endpoint$/,
    remedy: /^write (userinfo: false)$/,
    state: atServer(without('userinfo_endpoint'), { provider: { userinfo: true } }),
  },
  {
    ...PROVIDER,
    title: 'a server without a logout',
    status: 'warning',
    finding: /^the server has no end_session_endpoint/,
    remedy: /^write (logout: \{ style: none \})/,
    state: atServer(without('end_session_endpoint')),
  },
  {
    ...PROVIDER,
    title: 'a server that gives no refresh tokens',
    status: 'warning',
    finding: /^the server lists no refresh_token grant/,
    remedy: /^switch on refresh tokens there/,
    state: atServer(withMembers({ grant_types_supported: ['authorization_code'] }), { repair: asItIs }),
  },
  {
    ...PROVIDER,
    title: 'token exchange that the server does not have',
    status: 'failure',
    finding: /^routes ask for token exchange, which the server does not list$/,
    remedy: /or write (token): \{ resource: … \} or (user) for those routes$/,
    state: (ward) => {
      const route = { path: '/api', upstream: ward.apiUrl }
      return {
        config: ward.configuration({ routes: [{ ...route, token: { exchange: { audience: 'orders' } } }] }),
        follow: ([, key = '', rule]) => ward.configuration({ routes: [{ ...route, [key]: rule }] }),
      }
    },
  },
  {
    title: 'one of several servers that does not name itself',
    about: 'provider other',
    status: 'failure',
    finding: /does not name itself in its answers \(RFC 9207\)/,
    remedy: /^switch that on there/,
    fine: /iss in answers: yes/,
    state: async (ward) => {
      const retold = await RetoldProvider.start(ward.provider)
      const base = ward.configuration()
      const one = base['provider'] as Tree // as the ward wrote it
      const other = { ...one, issuer: retold.issuer }
      without('authorization_response_iss_parameter_supported')(retold)
      const config = ward.configuration({ provider: undefined, providers: { one, other } })
      return {
        config,
        follow: () => {
          asItIs(retold)
          return config
        },
      }
    },
  },
]

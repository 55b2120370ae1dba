/** The keys of `provider`, and of each of `providers`. */
import { z } from 'zod'
import { clientTls } from './tls-shape.ts'
import { absoluteUrl, duration, file, resource, scope, secret, text } from './values.ts'

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

/** Parameters of an authorization request. */
export const parameters = z.record(
  text,
  z.union([z.string(), z.array(z.string()).min(1)], { error: 'expected a text or a list of texts' }),
)

/** An authorization server and this client’s registration there. */
export const provider = z
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
      .optional()
      .meta({
        description:
          'How this client proves who it is, as registered at the authorization server. With profile fapi2 the default is private_key_jwt, or tls_client_auth where there is a certificate and no key.',
        default: 'client_secret_basic',
      }),
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
    dpop: z.boolean().optional().meta({
      description:
        'Bind tokens to a key of each session (RFC 9449). With profile fapi2 it is on, unless tls binds them to a certificate.',
      default: false,
    }),
    userinfo: z
      .boolean()
      .default(false)
      .meta({ description: 'Ask the UserInfo endpoint at login and after each refresh.' }),
    profile: z.enum(['fapi2']).optional().meta({
      description:
        'Hold this provider to the FAPI 2.0 Security Profile: turns on what it asks for, and what contradicts it stops the start.',
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
  .transform((value) => {
    const { profile, privateKey, tls } = value
    // What is not written is chosen by the profile: FAPI 2.0 §5.3.3 takes no secret and no bearer token, §5.4.1 no RS256.
    const isFapi = profile === 'fapi2'
    const method = !isFapi
      ? 'client_secret_basic'
      : privateKey !== undefined
        ? 'private_key_jwt'
        : tls
          ? 'tls_client_auth'
          : 'client_secret_basic'
    return {
      ...value,
      clientAuthentication: value.clientAuthentication ?? method,
      dpop: value.dpop ?? (isFapi && !tls),
      idTokenSignedResponseAlg: value.idTokenSignedResponseAlg ?? (isFapi ? 'PS256' : 'RS256'),
    } as const
  })

export type ProviderConfig = z.output<typeof provider>

/** What is different about each authorization server, as lines of YAML: data, and no code path of its own. */

export interface Preset {
  readonly title: string
  /** What an issuer looks like there. */
  readonly issuer: string
  readonly scopes: readonly string[]
  /** Further lines below `provider`, without indent. */
  readonly provider?: readonly string[]
  /** Further lines of the route to the API, without indent; without any the user's access token goes there. */
  readonly route?: readonly string[]
  /** Where and how to register, and what to look out for. */
  readonly notes: readonly string[]
}

export const presets: Readonly<Record<string, Preset>> = {
  keycloak: {
    title: 'Keycloak',
    issuer: 'https://id.example.com/realms/acme',
    scopes: ['openid', 'profile', 'email'],
    notes: [
      'Clients > Create client: OpenID Connect, Client authentication on, Standard flow only.',
      'Until Keycloak 16 the issuer has /auth before /realms.',
      'An API finds itself in the token (aud) only with an audience mapper: Client scopes > … > Add mapper > Audience.',
      'Roles are nested claims: allow: { realm_access.roles: [admin] }.',
      'Without offline_access the session ends with the one at Keycloak, which is what a logout there should do.',
    ],
  },
  entra: {
    title: 'Microsoft Entra ID',
    issuer: 'https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0',
    scopes: ['openid', 'profile', 'email', 'offline_access', 'api://orders/access'],
    notes: [
      'App registrations > Authentication > Add a platform: Web (not: Single-page application).',
      'The tenant id stands in the issuer. With common or organizations, allowedTenants is required.',
      'Certificates & secrets: take the value of the secret, not its id.',
      'One API for each token: put its scope into scopes, or into the route: token: { scopes: [api://orders/access] }.',
      'A front-channel logout comes without iss; there is no back-channel logout.',
    ],
  },
  auth0: {
    title: 'Auth0',
    issuer: 'https://acme.eu.auth0.com/',
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    provider: [
      'authorizationParams:',
      '  audience: https://orders.example.com # without it the access token is good for nothing but /userinfo',
    ],
    notes: [
      'Applications > Create Application: Regular Web Application. The issuer ends with a slash.',
      'Refresh tokens need Allow Offline Access at the API, and the grant type Refresh Token at the application.',
      'Tenants from before November 2023 may have no end_session_endpoint: logout: { style: auth0 }.',
    ],
  },
  okta: {
    title: 'Okta',
    issuer: 'https://acme.okta.com/oauth2/default',
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    notes: [
      'Applications > Create App Integration: OIDC, Web Application; tick Refresh Token.',
      'The org server (https://acme.okta.com) gives access tokens for Okta itself only: APIs need a custom one, such as /oauth2/default.',
    ],
  },
  cognito: {
    title: 'Amazon Cognito',
    issuer: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI',
    scopes: ['openid', 'profile', 'email'],
    provider: ['logout:', '  style: cognito # its logout takes parameters of its own'],
    notes: [
      'User pool > App clients > Create: Traditional web application, with a secret; Authorization code grant.',
      'The post-logout redirect URI goes into Allowed sign-out URLs.',
      'Access tokens have no aud: APIs compare client_id, or resource servers with scopes of their own are used.',
    ],
  },
  google: {
    title: 'Google',
    issuer: 'https://accounts.google.com',
    scopes: ['openid', 'profile', 'email'],
    provider: [
      'authorizationParams:',
      '  access_type: offline # Google’s way to ask for a refresh token; it refuses offline_access',
      '  prompt: consent # or it gives one at the first login only',
      'logout:',
      '  style: none # Google has no logout for others; the session here ends, and its token is revoked',
    ],
    route: [
      'token: none # Google’s access tokens are for Google’s APIs',
      'identityHeaders: { X-User: sub, X-Email: email } # so that the API knows who it is',
    ],
    notes: [
      'Google Cloud console > APIs & Services > Credentials > OAuth client ID: Web application.',
      'Access tokens are opaque and for Google’s APIs only: your own APIs are told by header fields who it is.',
    ],
  },
  zitadel: {
    title: 'Zitadel',
    issuer: 'https://acme-abc123.zitadel.cloud',
    scopes: ['openid', 'profile', 'email', 'offline_access', 'urn:zitadel:iam:org:project:id:0123456789:aud'],
    notes: [
      'Project > New application: Web, Code with client secret (Basic); tick Refresh Token.',
      'Token settings: Auth Token Type JWT, or the APIs get opaque tokens.',
      'The scope urn:…:aud puts the project of the API into the token’s audience.',
    ],
  },
  authentik: {
    title: 'authentik',
    issuer: 'https://id.example.com/application/o/shop/',
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    notes: [
      'Applications > Create with Provider: OAuth2/OpenID, confidential. The issuer ends with a slash.',
      'Since 2024.2 a refresh token needs offline_access: add its scope mapping to the provider.',
    ],
  },
  generic: {
    title: 'an OpenID Connect server',
    issuer: 'https://id.example.com',
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    notes: [
      'Register a confidential client for the authorization code grant. Many servers give a refresh token for offline_access only.',
    ],
  },
}

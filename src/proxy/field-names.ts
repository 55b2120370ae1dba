/** What each header field's name means for the way up and the way down. */

/**
 * The name under which a careless server may look for it: CGI and many frameworks write `X-User`, `x_user`, `X.User`
 * and `HTTP_X_USER` into the same variable, some (lighttpd) any other character, too.
 */
export function foldName(name: string): string {
  const folded = name.toLowerCase().replace(/[^a-z0-9]/g, '-')
  return folded.startsWith('http-') ? folded.slice(5) : folded
}

/** Fields of one connection (RFC 9110 §7.6.1), of a proxy (§11.7) and of framing, which is made anew on each side. */
const HOP_BY_HOP = [
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/** Fields by which other gateways tell an upstream who is there, or where the request goes: nobody else may set them. */
const IDENTITY = [
  'authorization',
  'client-ip',
  'dpop',
  'forwarded',
  'forwarded-for',
  'iv-creds',
  'iv-groups',
  'iv-user',
  'remote-addr',
  'remote-user',
  'remote-groups',
  'remote-email',
  'remote-name',
  'sm-user',
  'true-client-ip',
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'fastly-client-ip',
  'fly-client-ip',
  'x-access-token',
  'x-apigateway-api-userinfo',
  'x-arr-clientcert',
  'x-azure-clientip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-email',
  'x-endpoint-api-userinfo',
  'x-envoy-external-address',
  'x-envoy-original-path',
  'x-forwarded',
  'x-groups',
  'x-host',
  'x-http-host-override',
  'x-http-method',
  'x-http-method-override',
  'x-id-token',
  'x-jwt-assertion',
  'x-method-override',
  'x-original-forwarded-for',
  'x-original-host',
  'x-original-method',
  'x-original-uri',
  'x-original-url',
  'x-originating-ip',
  'x-real-ip',
  'x-remote-addr',
  'x-remote-ip',
  'x-remote-user',
  'x-remote-groups',
  'x-rewrite-url',
  'x-user',
  'x-userinfo',
  'x-webauth-user',
]
const IDENTITY_PREFIXES = [
  'cf-access-',
  // RFC 9440: whoever ends TLS must let nobody else write these.
  'client-cert',
  'oidc-',
  'ssl-client-',
  'tailscale-user-',
  'x-amzn-mtls-',
  'x-amzn-oidc-',
  'x-auth-request-',
  'x-authenticated-',
  'x-authentik-',
  'x-client-cert',
  'x-consumer-',
  'x-credential-',
  'x-forwarded-',
  'x-goog-authenticated-user-',
  'x-goog-iap-',
  'x-ms-client-principal',
  'x-ms-token-',
  'x-pomerium-',
  'x-ssl-',
  'x-token-',
  'x-vouch-',
]

const OWN = new Set([...HOP_BY_HOP, ...IDENTITY])

/** Whether a client's field never travels on under its own power. */
export function isReservedUpwards(name: string): boolean {
  const folded = foldName(name)
  return OWN.has(folded) || IDENTITY_PREFIXES.some((prefix) => folded.startsWith(prefix))
}

const DROPPED_DOWNWARDS = new Set([
  ...HOP_BY_HOP.filter((name) => name !== 'content-length'),
  // Would send browsers of the whole origin to an address that only the upstream knows.
  'alt-svc',
  // One API must not sign the user out of the whole site.
  'clear-site-data',
  // Would have browsers report the addresses of the whole origin, callbacks with their codes among them.
  'nel',
  'server',
  'sidegate-error',
])

/**
 * Whether an upstream's field, in lower case, stays behind; whatever it says. The gateway alone answers for
 * cross-origin reading of a site that is signed in by cookie (`cors.origins`).
 */
export function isDroppedDownwards(name: string): boolean {
  return DROPPED_DOWNWARDS.has(name) || name.startsWith('access-control-')
}

/** Names in a `Connection` field, lower case, without the options that name no field; `undefined` in the common case. */
export function namedByConnection(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close' || connection === '')
    return undefined
  const names = connection
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'keep-alive' && name !== 'close' && name !== 'upgrade')
  return names.length > 0 ? new Set(names) : undefined
}

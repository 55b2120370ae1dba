/** What the keys of a provider mean to each other: credentials, addresses, profiles. */
import { createPrivateKey } from 'node:crypto'
import type { JsonWebKey } from 'node:crypto'
import { isLoopback, isProtected } from './network.ts'
import { checkPair } from './rules.ts'
import type { ConfigPath, Report } from './problem.ts'
import type { ProviderConfig } from './provider-shape.ts'
import type { ConfigValues } from './shape.ts'

/** Parameters that the gateway sends itself, and the key that decides each; no configuration may replace them (AR-01, AR-14). */
const OWN_PARAMETERS: Readonly<Record<string, string>> = {
  client_id: 'clientId',
  redirect_uri: 'publicUrl and basePath',
  response_type: 'nothing: it is always code',
  response_mode: 'responseMode',
  scope: 'scopes',
  state: 'nothing: it is made for each login',
  nonce: 'nothing: it is made for each login',
  code_challenge: 'nothing: it is made for each login',
  code_challenge_method: 'nothing: it is always S256',
  request: 'requestObject',
  request_uri: 'pushedAuthorization',
  claims: 'claims',
  resource: 'resource',
  authorization_details: 'authorizationDetails',
  dpop_jkt: 'dpop',
  client_secret: 'clientSecret',
  client_assertion: 'clientAuthentication',
  client_assertion_type: 'clientAuthentication',
}

const FAPI_ALGORITHMS = new Set(['PS256', 'ES256', 'EdDSA', 'Ed25519'])
const ENTRA_HOSTS = new Set([
  'login.microsoftonline.com',
  'login.microsoftonline.us',
  'login.partner.microsoftonline.cn',
  'login.windows.net',
  'sts.windows.net',
])

/** Every configured provider with its name and where it stands in the file. */
export function providerEntries(
  config: Pick<ConfigValues, 'provider' | 'providers'>,
): { name: string; path: ConfigPath; provider: ProviderConfig }[] {
  const single = config.provider ? [{ name: 'default', path: ['provider'], provider: config.provider }] : []
  const named = Object.entries(config.providers ?? {}).map(([name, provider]) => ({
    name,
    path: ['providers', name],
    provider,
  }))
  return [...single, ...named]
}

/** All providers, each by itself and among each other. */
export function checkProviders(config: ConfigValues, report: Report): void {
  const entries = providerEntries(config)
  if (config.provider && config.providers) report(['providers'], 'stands beside provider: write exactly one of them')
  else if (entries.length === 0)
    report(['provider'], 'is missing: write provider with issuer and clientId, or providers with several by name')

  const loopback = isLoopback(new URL(config.publicUrl).hostname)
  for (const { path, provider } of entries) {
    checkAddresses(provider, path, loopback, report)
    checkCredentials(provider, path, report)
    checkRequest(provider, path, config, report)
    if (provider.profile === 'fapi2') checkFapi2(provider, path, report)
  }
  if (entries.length > 1) checkMixUp(entries, report)
}

/** RFC 9700 §4.4.2, CB-05: with several authorization servers an answer must say which one it is from. */
function checkMixUp(entries: ReturnType<typeof providerEntries>, report: Report): void {
  const clients = new Map<string, string>()
  for (const { name, path, provider } of entries) {
    const client = JSON.stringify([provider.issuer, provider.clientId])
    const other = clients.get(client)
    if (other) {
      report(
        [...path, 'clientId'],
        `is the client of ${other} at the same issuer: an answer, or a logout, could not be told from the other's; remove one of them`,
      )
    }
    clients.set(client, name)
    const signed = provider.responseMode.endsWith('jwt')
    if (provider.metadata?.['authorization_response_iss_parameter_supported'] === false && !signed) {
      report(
        [...path, 'metadata', 'authorization_response_iss_parameter_supported'],
        'cannot be false beside other providers: without iss in its answers (RFC 9207) one server could pass off as another; remove it, or write responseMode: jwt',
      )
    }
  }
}

function checkAddresses(provider: ProviderConfig, path: ConfigPath, loopback: boolean, report: Report): void {
  const plain = 'must begin with https://; http:// is for a loopback address only'
  if (!isProtected(provider.issuer)) report([...path, 'issuer'], plain)
  if (/[?#]/.test(provider.issuer)) report([...path, 'issuer'], 'expected an issuer without ? and # (RFC 8414 §2)')
  if (/\/\.well-known\//.test(provider.issuer)) {
    report(
      [...path, 'issuer'],
      'is the address of the discovery document: write what its member issuer says, and that address as metadataUrl if need be',
    )
  }
  const { metadataUrl, backchannelBaseUrl } = provider
  if (metadataUrl !== undefined && !isProtected(metadataUrl) && !loopback) report([...path, 'metadataUrl'], plain)
  if (backchannelBaseUrl !== undefined && !isProtected(backchannelBaseUrl) && !loopback) {
    report(
      [...path, 'backchannelBaseUrl'],
      'must begin with https://; http:// is for development, where publicUrl is a loopback address',
    )
  }
  for (const [name, value] of Object.entries(provider.metadata ?? {})) {
    if (!/_(endpoint|uri)$/.test(name) || typeof value !== 'string') continue
    if (URL.parse(value) === null) report([...path, 'metadata', name], 'expected a URL')
    else if (!isProtected(value) && !loopback) report([...path, 'metadata', name], plain)
  }
  checkTenants(provider, path, report)
}

function checkTenants(provider: ProviderConfig, path: ConfigPath, report: Report): void {
  const url = new URL(provider.issuer)
  const manyTenants = ENTRA_HOSTS.has(url.hostname) && /^\/(common|organizations|consumers)(\/|$)/.test(url.pathname)
  if ((manyTenants || /\{tenant_?id\}/i.test(provider.issuer)) && provider.allowedTenants === undefined) {
    report(
      [...path, 'allowedTenants'],
      'is missing: this issuer signs for every tenant there is; list the ids of those whose users may sign in',
    )
  }
}

function checkCredentials(provider: ProviderConfig, path: ConfigPath, report: Report): void {
  const { clientAuthentication: method, clientSecret, clientSecretFile, clientSecrets, clientSecretsFile } = provider
  const hasSecret = (clientSecret ?? clientSecretFile) !== undefined
  const hasSecrets = (clientSecrets ?? clientSecretsFile) !== undefined
  const hasKey = (provider.privateKey ?? provider.privateKeyFile) !== undefined
  const byTls = method.endsWith('tls_client_auth')
  const bySecret = method.startsWith('client_secret')

  if (hasSecret && hasSecrets)
    report([...path, 'clientSecrets'], 'stands beside clientSecret: write exactly one of them')
  if (bySecret && !hasSecret && !hasSecrets) {
    const hint = hasKey
      ? 'write clientAuthentication: private_key_jwt'
      : provider.tls
        ? 'write clientAuthentication: tls_client_auth'
        : 'write clientSecretFile'
    report(
      [...path, hasKey || provider.tls ? 'clientAuthentication' : 'clientSecret'],
      `${method} needs clientSecret; ${hint}`,
    )
  } else if (bySecret && provider.tls) {
    report(
      [...path, 'tls'],
      `contradicts ${method}: a client has one way to prove who it is; remove tls, or write clientAuthentication: tls_client_auth without a secret`,
    )
  } else if (bySecret && hasKey && !provider.requestObject) {
    report(
      [...path, 'privateKey'],
      `contradicts ${method}: a client has one way to prove who it is; remove one, or write clientAuthentication: private_key_jwt without a secret`,
    )
  }
  if (!bySecret && (hasSecret || hasSecrets)) {
    report(
      [...path, hasSecret ? 'clientSecret' : 'clientSecrets'],
      `contradicts ${method}: a client has one way to prove who it is; remove the secret`,
    )
  }
  if (method === 'private_key_jwt' && !hasKey)
    report(
      [...path, 'privateKey'],
      'is missing: private_key_jwt needs it; write privateKeyFile, and make a key with `sidegate keygen --client-jwk`',
    )
  if (byTls && !provider.tls)
    report([...path, 'tls'], `is missing: ${method} needs a client certificate; write tls with certFile and keyFile`)
  if (byTls && hasKey && !provider.requestObject)
    report([...path, 'privateKey'], `contradicts ${method}: remove it, or write clientAuthentication: private_key_jwt`)
  checkPair(provider.tls, [...path, 'tls'], report)
  if (provider.tls && Object.keys(provider.tls).length === 0)
    report([...path, 'tls'], 'is empty: write certFile and keyFile')
  if (method === 'client_secret_jwt') checkSecretLength(provider, path, report)
  if (provider.privateKey !== undefined && !isPrivateKey(provider.privateKey)) {
    report(
      [...path, 'privateKey'],
      'is neither a PEM private key nor a private JWK: make one with `sidegate keygen --client-jwk`',
    )
  }
}

function isPrivateKey(text: string): boolean {
  try {
    if (!text.trimStart().startsWith('{')) return createPrivateKey(text).type === 'private'
    // Whatever it is, createPrivateKey judges it.
    const value = JSON.parse(text) as JsonWebKey & { keys?: JsonWebKey[] }
    const keys = value.keys ?? [value]
    return keys.length > 0 && keys.every((key) => createPrivateKey({ key, format: 'jwk' }).type === 'private')
  } catch {
    // The reason may quote the key.
    return false
  }
}

/** RFC 7518 §3.2: a key for HS256 has at least as many bits as the hash (CF-02). */
function checkSecretLength(provider: ProviderConfig, path: ConfigPath, report: Report): void {
  const short = (value: string) => Buffer.byteLength(value) < 32
  const message =
    'is shorter than the 32 bytes that client_secret_jwt (HS256) needs: register a longer one, or use client_secret_basic'
  if (provider.clientSecret !== undefined && short(provider.clientSecret)) report([...path, 'clientSecret'], message)
  for (const [index, value] of (provider.clientSecrets ?? []).entries()) {
    if (short(value)) report([...path, 'clientSecrets', index], message)
  }
}

function checkRequest(provider: ProviderConfig, path: ConfigPath, config: ConfigValues, report: Report): void {
  if (!provider.scopes.includes('openid'))
    report([...path, 'scopes'], 'lacks openid: without it there is no ID token, and nobody to sign in')
  // A tolerance keeps tokens alive after their end, and a wrong clock unnoticed (ID-05).
  if (provider.clockTolerance > 60_000) {
    report(
      [...path, 'clockTolerance'],
      'is more than the 60s that clocks may be apart: set the clocks by NTP, and leave it at 30s',
    )
  }
  checkParameters(provider.authorizationParams, [...path, 'authorizationParams'], report)
  if (provider.requestObject && (provider.privateKey ?? provider.privateKeyFile) === undefined) {
    report([...path, 'privateKey'], 'is missing: requestObject signs with it; write privateKeyFile')
  }
  if (provider.responseMode.startsWith('form_post') && config.session.cookie.insecure) {
    report(
      [...path, 'responseMode'],
      'cannot be form_post with session.cookie.insecure: its cookie is SameSite=None, which browsers take with Secure only',
    )
  }
}

/** No configured parameter may take the place of one that the gateway sends itself. */
export function checkParameters(
  parameters: Readonly<Record<string, unknown>> | undefined,
  path: ConfigPath,
  report: Report,
): void {
  for (const name of Object.keys(parameters ?? {})) {
    const key = OWN_PARAMETERS[name]
    if (key !== undefined) report([...path, name], `is sent by the gateway itself; what decides it: ${key}`)
  }
}

/** FAPI 2.0 Security Profile §5.3.3, §5.4: what contradicts it (F2-01 … F2-05). */
function checkFapi2(provider: ProviderConfig, path: ConfigPath, report: Report): void {
  if (provider.clientAuthentication.startsWith('client_secret')) {
    report(
      [...path, 'clientAuthentication'],
      'profile fapi2 takes no secrets: write private_key_jwt or tls_client_auth (F2-01)',
    )
  }
  if (provider.pushedAuthorization === 'never')
    report([...path, 'pushedAuthorization'], 'profile fapi2 pushes every request: write required (F2-02)')
  if (provider.metadata?.['authorization_response_iss_parameter_supported'] === false) {
    report(
      [...path, 'metadata', 'authorization_response_iss_parameter_supported'],
      'profile fapi2 needs iss in every answer: remove it (F2-03)',
    )
  }
  if (!FAPI_ALGORITHMS.has(provider.idTokenSignedResponseAlg)) {
    report([...path, 'idTokenSignedResponseAlg'], 'profile fapi2 takes PS256, ES256 or EdDSA only (F2-04)')
  }
  if (!provider.dpop && !provider.tls)
    report([...path, 'dpop'], 'profile fapi2 binds tokens to the client: write dpop: true, or tls (F2-05)')
}

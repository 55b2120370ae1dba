/** Where a browser goes to sign out at the provider too. */
import type { ProviderConfig } from '../config/schema.ts'
import type { CheckedMetadata } from './metadata.ts'

/** An address over this is cut by some servers; the hint is optional then (RP-Initiated Logout §2). */
const MAX_URL_LENGTH = 8_000

export interface EndSessionOptions {
  /** The last raw ID token. */
  readonly idToken?: string
  readonly state: string
  /** Exactly as registered. */
  readonly postLogoutRedirectUri: string
}

/** RP-Initiated Logout §2, or what Auth0 and Cognito have instead. `undefined`: there is no such trip. */
export function endSessionUrl(
  config: ProviderConfig,
  metadata: CheckedMetadata | undefined,
  options: EndSessionOptions,
): URL | undefined {
  switch (config.logout.style) {
    case 'none':
      return undefined
    case 'oidc':
      return metadata?.end_session_endpoint === undefined
        ? undefined
        : standardUrl(config, metadata.end_session_endpoint, options)
    case 'auth0': {
      // Auth0's own address, of tenants that publish no end_session_endpoint.
      const url = new URL('/v2/logout', config.issuer)
      url.searchParams.set('client_id', config.clientId)
      url.searchParams.set('returnTo', withState(options))
      return url
    }
    case 'cognito': {
      // On the user pool's domain, where the authorization endpoint is; the issuer is another host.
      if (!metadata) return undefined
      const url = new URL('/logout', metadata.authorization_endpoint)
      url.searchParams.set('client_id', config.clientId)
      url.searchParams.set('logout_uri', options.postLogoutRedirectUri)
      return url
    }
  }
}

function standardUrl(config: ProviderConfig, endpoint: string, options: EndSessionOptions): URL {
  const url = new URL(endpoint)
  if (options.idToken !== undefined) url.searchParams.set('id_token_hint', options.idToken)
  url.searchParams.set('client_id', config.clientId)
  url.searchParams.set('post_logout_redirect_uri', options.postLogoutRedirectUri)
  url.searchParams.set('state', options.state)
  if (url.href.length > MAX_URL_LENGTH) url.searchParams.delete('id_token_hint')
  return url
}

/** Auth0 has no `state`; it compares `returnTo` without its query. */
function withState({ postLogoutRedirectUri, state }: EndSessionOptions): string {
  const url = new URL(postLogoutRedirectUri)
  url.searchParams.set('state', state)
  return url.href
}

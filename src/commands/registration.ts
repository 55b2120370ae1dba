/** What has to be registered at the authorization server. */
import type { Config } from '../config/schema.ts'

export interface Registration {
  readonly what: string
  readonly uri: string
}

/** The addresses to enter at the authorization server, made from `publicUrl` and `basePath` alone. */
export function registrations(config: Pick<Config, 'publicUrl' | 'basePath'>): Registration[] {
  const base = `${config.publicUrl}${config.basePath}`
  return [
    { what: 'redirect URI', uri: `${base}/callback` },
    { what: 'post-logout redirect URI', uri: `${base}/logout/callback` },
    { what: 'back-channel logout URI', uri: `${base}/backchannel-logout` },
    { what: 'front-channel logout URI', uri: `${base}/frontchannel-logout` },
    { what: 'JWKS of the client', uri: `${base}/jwks.json` },
  ]
}

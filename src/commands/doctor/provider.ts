/** The authorization server as the gateway meets it: found, named right, able to do what is configured, and willing. */
import type { Config, ProviderConfig } from '../../config/schema.ts'
import { Connection } from '../../oidc/connection.ts'
import { OidcProvider } from '../../oidc/provider.ts'
import { silentLog } from '../../telemetry/log.ts'
import { checkAbilities } from './abilities.ts'
import { checkClock, readDocument } from './discovery.ts'
import type { Document } from './discovery.ts'
import { Findings } from './finding.ts'
import type { Finding } from './finding.ts'
import { checkKeys } from './keys.ts'
import { examineQuirks } from './quirks.ts'
import { PROCESS_TRUST, reach } from './reach.ts'
import { checkCredentials, checkLogoutUri, checkRedirectUri } from './registration.ts'

/** What findings about a provider are said to be about. */
export function aboutProvider(name: string): string {
  return name === 'default' ? 'provider' : `provider ${name}`
}

/** Goes the way of a login as far as it can be gone without a user. */
export async function examineProvider(name: string, config: Config, provider: ProviderConfig): Promise<Finding[]> {
  const findings = new Findings(aboutProvider(name))
  examineQuirks(config, provider, findings)
  const base = `${config.publicUrl}${config.basePath}`
  const options = {
    name,
    config: provider,
    redirectUri: `${base}/callback`,
    postLogoutRedirectUri: `${base}/logout/callback`,
    log: silentLog,
    now: Date.now,
  }
  if (!(await reach(new URL(provider.backchannelBaseUrl ?? provider.issuer), findings, PROCESS_TRUST)))
    return findings.list

  const connection = new Connection(options)
  try {
    const document = await readDocument(connection, provider, findings)
    if (!document || !(await reachEndpoints(document, provider, findings))) return findings.list
    await checkClock(connection, provider, findings)
    checkAbilities(document, config, provider, findings)
    await checkKeys(connection, document, provider, findings)
  } finally {
    connection.close()
  }
  const client = new OidcProvider(options)
  const plain = new OidcProvider({ ...options, config: { ...provider, pushedAuthorization: 'never' } })
  try {
    await checkRedirectUri(client, plain, options.redirectUri, provider, findings)
    await checkCredentials(options, findings)
    await checkLogoutUri(client, options.postLogoutRedirectUri, findings)
  } finally {
    client.close()
    plain.close()
  }
  return findings.list
}

/** Google, Cognito and others have their endpoints at hosts that are not the issuer's. */
async function reachEndpoints(document: Document, provider: ProviderConfig, findings: Findings): Promise<boolean> {
  const own = new URL(provider.issuer).origin
  const urls = ['token_endpoint', 'jwks_uri'].map((member) => URL.parse(String(document[member])))
  const others = new Map(urls.flatMap((url) => (url && url.origin !== own ? [[url.origin, url] as const] : [])))
  for (const url of others.values()) if (!(await reach(url, findings, PROCESS_TRUST))) return false
  return true
}

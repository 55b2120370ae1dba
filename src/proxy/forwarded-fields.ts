/** What an application behind another proxy gets of us: the same token and identity as through our own. */
import type { Judged } from '../http/judge.ts'
import type { Credentials } from './credentials.ts'
import type { ProxiedRoute } from './proxied-route.ts'
import { ownerOf } from './proxy.ts'
import { identityFields } from './request-headers.ts'
import type { Route } from './route-table.ts'

/** Names and values in turn; none for an anonymous request and for a route without an upstream. */
export async function forwardedFields(
  judged: Judged,
  method: string,
  proxied: ReadonlyMap<Route, ProxiedRoute>,
  credentials: Credentials,
): Promise<readonly string[]> {
  const { place, path } = judged
  const user = judged.session ?? judged.bearer
  const found = [...proxied].find(([route]) => route === place)
  if (!found || !user) return []
  const [route, { upstream }] = found
  const url = upstream.address.origin + route.target(path.path)
  const identity = identityFields(Object.entries(route.config.identityHeaders ?? {}), user)
  return [...(await credentials.for(route, ownerOf(judged), { method, url })), ...identity]
}

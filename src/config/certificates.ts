/** The certificates that a configuration holds, and when they end. */
import { X509Certificate } from 'node:crypto'
import type { Config } from './schema.ts'

/** Epoch seconds by setting, such as `listen.tls`; of a chain the first, which is our own, counts. */
export function certificateExpiries(config: Config): ReadonlyMap<string, number> {
  const { listen, provider, providers = {}, routes, store } = config
  const settings: [setting: string, tls: { readonly cert?: string | undefined } | undefined][] = [
    ['listen.tls', listen.tls],
    ['provider.tls', provider?.tls],
    ...Object.entries(providers).map(([name, { tls }]): (typeof settings)[number] => [`providers.${name}.tls`, tls]),
    ...routes.map(({ path, tls }): (typeof settings)[number] => [`routes ${path} tls`, tls]),
    ['store.redis.tls', store.redis?.tls],
  ]
  return new Map(
    settings.flatMap(([setting, tls]): [string, number][] => {
      const at = tls?.cert === undefined ? undefined : endOf(tls.cert)
      return at === undefined ? [] : [[setting, at]]
    }),
  )
}

/** `undefined` for what is no certificate: whoever uses it says so. */
function endOf(pem: string): number | undefined {
  try {
    return Math.floor(Date.parse(new X509Certificate(pem).validTo) / 1_000)
  } catch {
    return undefined
  }
}

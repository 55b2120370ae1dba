import type { AdapterPayload } from 'oidc-provider'

/** What ends with its grant. An interaction names a grant too, and outlives it when another user takes over. */
const GRANTED = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken'])

interface Entry {
  readonly payload: AdapterPayload
  readonly expiresAt: number
}

/**
 * Where the demo's authorization server keeps its grants and tokens: one map, gone with the process.
 * The adapter that oidc-provider brings drops the oldest beyond a thousand entries and warns on the console.
 */
export function memoryAdapter(): (model: string) => object {
  const entries = new Map<string, Entry>()

  const find = (key: string): AdapterPayload | undefined => {
    const entry = entries.get(key)
    if (entry && entry.expiresAt > Date.now()) return entry.payload
    entries.delete(key)
    return undefined
  }
  const findWhere = (model: string, matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined => {
    for (const [key, { payload }] of entries) {
      if (key.startsWith(`${model}:`) && matches(payload)) return find(key)
    }
    return undefined
  }

  return (model) => ({
    async upsert(id: string, payload: AdapterPayload, expiresIn?: number) {
      const expiresAt = expiresIn === undefined ? Number.POSITIVE_INFINITY : Date.now() + expiresIn * 1_000
      entries.set(`${model}:${id}`, { payload, expiresAt })
    },
    async find(id: string) {
      return find(`${model}:${id}`)
    },
    async findByUid(uid: string) {
      return findWhere(model, (payload) => payload.uid === uid)
    },
    async findByUserCode(userCode: string) {
      return findWhere(model, (payload) => payload.userCode === userCode)
    },
    async consume(id: string) {
      const payload = find(`${model}:${id}`)
      if (payload) payload.consumed = Math.floor(Date.now() / 1_000)
    },
    async destroy(id: string) {
      entries.delete(`${model}:${id}`)
    },
    async revokeByGrantId(grantId: string) {
      for (const [key, { payload }] of entries) {
        if (payload.grantId === grantId && GRANTED.has(key.slice(0, key.indexOf(':')))) entries.delete(key)
      }
    },
  })
}

import { useSyncExternalStore } from 'react'
import { createClient } from 'sidegate/browser'

export const sidegate = createClient()

/** The session; `undefined` until it is known. */
export function useSession() {
  return useSyncExternalStore(sidegate.onChange, () => sidegate.current)
}

import { createClient } from 'sidegate/browser'
import { createSubscriber } from 'svelte/reactivity'

export const sidegate = createClient()
const subscribe = createSubscriber((update) => sidegate.onChange(update))

/** The session, by a rune's rules; `undefined` until it is known. */
export function session() {
  subscribe()
  return sidegate.current
}

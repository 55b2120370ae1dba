import { createClient, type Session } from 'sidegate/browser'
import { shallowRef } from 'vue'

export const sidegate = createClient()

/** One for all components; `undefined` until it is known. */
export const session = shallowRef<Session>()
sidegate.onChange((change) => (session.value = change.session))

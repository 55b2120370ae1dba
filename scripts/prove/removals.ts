/** All guards that `npm run prove` takes out, one at a time. */
import { extraRemovals } from './extra-removals.ts'
import { loginRemovals } from './login-removals.ts'
import { proxyRemovals } from './proxy-removals.ts'
import { operationRemovals } from './operation-removals.ts'
import { sessionRemovals } from './session-removals.ts'
import { tokenRemovals } from './token-removals.ts'
import type { GuardRemoval } from './removal.ts'

export const guardRemovals: readonly GuardRemoval[] = [
  ...extraRemovals,
  ...loginRemovals,
  ...tokenRemovals,
  ...sessionRemovals,
  ...proxyRemovals,
  ...operationRemovals,
]

/** Where a refused request was going: of what it does not let pass, the judge hands nothing on. */
import type { IncomingMessage } from 'node:http'
import type { JudgeOptions, Place } from './judge.ts'
import { parseRequestTarget } from './request-path.ts'

/** What of the judge's options says where a request goes, and from where it comes. */
export type WhereaboutsOptions = Pick<JudgeOptions<Place>, 'publicUrl' | 'match' | 'addresses'>

export interface Whereabouts {
  /** Name of the endpoint or route; a dash where none was meant. */
  readonly route: string
  readonly ip: string
}

/** Found again for refusals only, so that whoever passes pays nothing for it. */
export function whereaboutsOf(raw: IncomingMessage, { publicUrl, match, addresses }: WhereaboutsOptions): Whereabouts {
  const ip = addresses.of(raw)
  try {
    // Node sets both on every message that a server receives.
    const path = parseRequestTarget(raw.url as string, publicUrl)
    return { route: match(path, raw.method as string)?.policy.name ?? '-', ip }
  } catch {
    return { route: '-', ip } // a target that is refused leads nowhere
  }
}

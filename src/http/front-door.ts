/**
 * Where requests are turned away while there is too much to do: before the framework makes anything of them, since a
 * refusal that costs half of what it saves would not help. In order all the same: framing, path, then overload.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { BffError } from '../errors.ts'
import { corsHeaders } from './cors.ts'
import { answerUnread } from './error-handler.ts'
import type { FailureOptions } from './failure-answer.ts'
import { checkFraming } from './framing.ts'
import { type Overload, OVERLOADED } from './overload.ts'
import { parseRequestTarget } from './request-path.ts'

export interface FrontDoorOptions {
  readonly overload: Pick<Overload, 'admits'>
  readonly failures: FailureOptions
  readonly corsOrigins: readonly string[]
  readonly isDraining: () => boolean
  /** Called for each request that was turned away. */
  readonly onRefused: (raw: IncomingMessage, requestId: string, status: number) => void
}

export class FrontDoor {
  readonly #options: FrontDoorOptions

  constructor(options: FrontDoorOptions) {
    this.#options = options
  }

  /** Whether the request may come in; one that may not has its answer. */
  lets(raw: IncomingMessage, response: ServerResponse): boolean {
    const { overload, failures, corsOrigins, isDraining, onRefused } = this.#options
    if (overload.admits()) return true
    const error = whyNot(raw, failures.publicUrl)
    const requestId = randomUUID()
    if (isDraining()) response.shouldKeepAlive = false
    answerUnread(error, { raw, response, requestId, headers: corsHeaders(raw.headers.origin, corsOrigins) }, failures)
    onRefused(raw, requestId, error.statusCode)
    return false
  }
}

/** A malformed request is told that it is: trying again would not help. */
function whyNot(raw: IncomingMessage, publicUrl: URL): BffError {
  try {
    checkFraming(raw)
    parseRequestTarget(raw.url ?? '', publicUrl)
  } catch (error) {
    if (error instanceof BffError) return error
    throw error
  }
  return OVERLOADED
}

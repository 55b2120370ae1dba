/** What a call failed with, as its public code. */
import { BffError } from '../../src/errors.ts'

/** The code of the BffError that the call throws, or `undefined` when it returns; any other error goes on. */
export function codeOf(call: () => unknown): string | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    if (error instanceof BffError) return error.code
    throw error
  }
}

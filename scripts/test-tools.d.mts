/** A program that the tests need. */
export interface Tool {
  readonly what: string
  readonly names: readonly string[]
  readonly packages: readonly string[]
  readonly isOptional?: boolean
}

export const tools: readonly Tool[]
export const interopTools: readonly Tool[]
export function findProgram(names: readonly string[], path?: string): string | undefined
export function provide(
  missing: readonly Tool[],
  options?: {
    run?: (command: string, args: readonly string[]) => void
    isRoot?: boolean
    find?: (names: readonly string[]) => string | undefined
  },
): string | undefined

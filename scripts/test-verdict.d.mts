/** What vitest's `json` reporter writes, as far as it is read here. */
export interface Report {
  readonly testResults: readonly {
    readonly status: string
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[]
  }[]
}

export interface Verdict {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly complaints: readonly string[]
}

export function judge(
  report: Report,
  skips: readonly { readonly title: string; readonly reason: string }[],
  complete: boolean,
): Verdict

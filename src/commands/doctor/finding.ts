/** What `sidegate doctor` says: one line for each thing that was looked at. */

export interface Finding {
  readonly status: 'ok' | 'warning' | 'failure'
  /** What was looked at: `provider`, `upstream /api`, `redis`, … */
  readonly about: string
  readonly message: string
  /** What to do, in plain words. Every failure has one. */
  readonly remedy?: string | undefined
}

/** Collects findings about one thing. */
export class Findings {
  readonly list: Finding[] = []
  readonly #about: string

  constructor(about: string) {
    this.#about = about
  }

  ok(message: string): void {
    this.list.push({ status: 'ok', about: this.#about, message })
  }

  warn(message: string, remedy: string): void {
    this.list.push({ status: 'warning', about: this.#about, message, remedy })
  }

  fail(message: string, remedy: string): void {
    this.list.push({ status: 'failure', about: this.#about, message, remedy })
  }
}

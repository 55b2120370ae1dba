/** A limit on how many tasks run at once; the others wait in the order in which they came. */

export class Slots {
  readonly #waiting: (() => void)[] = []
  #free: number

  constructor(size: number) {
    this.#free = size
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await task()
    } finally {
      // Handed over and not freed, so that nobody who comes later goes first.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free += 1
    }
  }
}

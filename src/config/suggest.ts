/** The word out of a list that was most probably meant, if any is close. */
export function suggest(word: string, known: Iterable<string>): string | undefined {
  const wanted = normalise(word)
  let best: { candidate: string; distance: number } | undefined
  for (const candidate of known) {
    const other = normalise(candidate)
    const distance = wanted === other ? 0 : editDistance(wanted, other)
    const allowed = Math.max(1, Math.floor(Math.max(wanted.length, other.length) / 3))
    // Of two words that share no letter, such as `a` and `b`, none was meant.
    if (distance <= allowed && distance < wanted.length && distance < (best?.distance ?? Infinity))
      best = { candidate, distance }
  }
  return best?.candidate
}

/** `client_id` and `client-id` are spellings of `clientId`. */
function normalise(word: string): string {
  return word
    .slice(0, 64)
    .replaceAll(/[-_. ]/g, '')
    .toLowerCase()
}

/** Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other. */
export function editDistance(one: string, other: string): number {
  let before: number[] = []
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let i = 1; i <= one.length; i++) {
    const current = [i]
    for (let j = 1; j <= other.length; j++) {
      const same = one[i - 1] === other[j - 1] ? 0 : 1
      let distance = Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + same)
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) {
        distance = Math.min(distance, (before[j - 2] ?? 0) + 1)
      }
      current.push(distance)
    }
    before = previous
    previous = current
  }
  return previous[other.length] ?? 0
}

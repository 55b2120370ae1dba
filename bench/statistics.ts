/** Medians and spreads of measurements on a noisy machine. */

/** The value below which this share of the values lies, interpolated; of no values it is NaN. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const position = (sorted.length - 1) * share
  const low = sorted[Math.floor(position)] ?? Number.NaN
  const high = sorted[Math.ceil(position)] ?? Number.NaN
  return low + (high - low) * (position - Math.floor(position))
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** A ratio with its spread: the median of the pairs, and the quarter below and above. */
export interface Ratio {
  readonly median: number
  readonly low: number
  readonly high: number
}

/**
 * How one series relates to another that was measured beside it: each round's pair gives one ratio, so that what
 * disturbed a whole round disturbs neither side more than the other.
 */
export function pairedRatio(values: readonly number[], base: readonly number[]): Ratio {
  const ratios = values
    .map((value, round) => value / (base[round] ?? Number.NaN))
    .filter((ratio) => !Number.isNaN(ratio))
  return { median: median(ratios), low: quantile(ratios, 0.25), high: quantile(ratios, 0.75) }
}

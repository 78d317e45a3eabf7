// SPDX-License-Identifier: Apache-2.0
// Medians with their range. Pure.

/** Median, smallest and largest of some values. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Undefined for no values. The median of an even number of values is the mean of the two in the middle. */
export function spread(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const [min, max] = [sorted[0], sorted.at(-1)]
  const low = sorted[Math.floor((sorted.length - 1) / 2)]
  const high = sorted[Math.floor(sorted.length / 2)]
  if (min === undefined || max === undefined || low === undefined || high === undefined) {
    return undefined
  }
  return { median: (low + high) / 2, min, max }
}

/**
 * Ratios of two series, round by round: both sides of a ratio ran within the same minute, so what the machine did to one
 * it mostly did to the other. Rounds in which a side is missing, or the divisor is 0, are left out.
 */
export function ratios(
  above: readonly (number | undefined)[],
  below: readonly (number | undefined)[],
): number[] {
  return above.flatMap((value, round) => {
    const divisor = below[round]
    return value === undefined || divisor === undefined || divisor === 0
      ? []
      : [value / divisor]
  })
}

/** The value below which `share` (0 to 1) of the values lie; undefined for no values. */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
}

// SPDX-License-Identifier: Apache-2.0
// Weighted choice in constant time: Vose's alias method (IEEE TSE 17(9), 1991) in whole numbers.

/** One slot: below `threshold` (of 2^32) it means `primary`, otherwise `alias`. Both are indexes of weights. */
export interface AliasSlot {
  readonly threshold: number
  readonly primary: number
  readonly alias: number
}

/** Units in a slot: the range of the kernel's random number. */
export const slotUnits = 2 ** 32

/**
 * A share of n × 2^32 units for each weight, by largest remainder: the shares sum up exactly and none is a whole unit
 * away from its weight. Float arithmetic would lose units and so never choose, or choose too often, the last endpoint.
 */
export function shares(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + BigInt(weight), 0n)
  const units = BigInt(weights.length) * BigInt(slotUnits)
  const ideal = weights.map((weight) => BigInt(weight) * units)
  const out = ideal.map((share) => Number(share / total))
  const missing = Number(units) - out.reduce((sum, share) => sum + share, 0)
  const byRemainder = ideal
    .map((share, i) => ({ i, remainder: share % total }))
    .sort((a, b) =>
      a.remainder === b.remainder ? a.i - b.i : a.remainder < b.remainder ? 1 : -1,
    )
  for (const { i } of byRemainder.slice(0, missing)) out[i] = (out[i] ?? 0) + 1
  return out
}

/** As many slots as weights. The chance of each index is its share to the unit. Weights are positive whole numbers. */
export function aliasTable(weights: readonly number[]): AliasSlot[] {
  if (weights.every((weight) => weight === weights[0])) {
    return weights.map((_, i) => ({ threshold: 0, primary: i, alias: i }))
  }
  const left = shares(weights)
  const small: number[] = []
  const large: number[] = []
  left.forEach((share, i) => (share < slotUnits ? small : large).push(i))
  const slots: AliasSlot[] = []
  for (;;) {
    const poor = small.pop()
    const rich = large.pop()
    if (poor !== undefined && rich !== undefined) {
      const threshold = left[poor] ?? 0
      slots.push({ threshold, primary: poor, alias: rich })
      const rest = (left[rich] ?? 0) - (slotUnits - threshold)
      left[rich] = rest
      ;(rest < slotUnits ? small : large).push(rich)
    } else if (rich !== undefined) {
      // Exactly one slot's worth: 2^32 does not fit the threshold, so both ways lead to the same.
      slots.push({ threshold: 0, primary: rich, alias: rich })
    } else {
      return slots
    }
  }
}

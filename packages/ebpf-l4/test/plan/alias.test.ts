// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check'
import t from 'tap'
import { aliasTable, shares, slotUnits } from '../../src/plan/alias.ts'

/** Units of 2^32 that each index really gets. */
function chances(weights: readonly number[]): number[] {
  const units = weights.map(() => 0)
  for (const { threshold, primary, alias } of aliasTable(weights)) {
    units[primary] = (units[primary] ?? 0) + threshold
    units[alias] = (units[alias] ?? 0) + slotUnits - threshold
  }
  return units
}

const anyWeights = fc.array(fc.integer({ min: 1, max: 0xffff_ffff }), {
  minLength: 1,
  maxLength: 40,
})

t.test('every index gets its share to the unit', async () => {
  fc.assert(
    fc.property(anyWeights, (weights) => {
      const got = chances(weights)
      const want = shares(weights)
      return got.length === want.length && got.every((units, i) => units === want[i])
    }),
    { numRuns: 300 },
  )
})

t.test('shares sum up, and none is a whole unit off its weight', async () => {
  fc.assert(
    fc.property(anyWeights, (weights) => {
      const total = weights.reduce((sum, weight) => sum + BigInt(weight), 0n)
      const units = BigInt(weights.length) * BigInt(slotUnits)
      const got = shares(weights).map(BigInt)
      const sum = got.reduce((a, b) => a + b, 0n)
      return (
        sum === units &&
        got.every((share, i) => {
          const off = share * total - BigInt(weights[i] ?? 0) * units
          return off < total && off > -total
        })
      )
    }),
    { numRuns: 300 },
  )
})

t.test('weights that divide evenly are exact', async (t) => {
  t.same(chances([1, 3]), [slotUnits / 2, (slotUnits * 3) / 2])
  t.same(chances([5, 5, 5]), [slotUnits, slotUnits, slotUnits])
  t.same(chances([90, 10]), [
    Math.round(slotUnits * 2 * 0.9),
    Math.round(slotUnits * 2 * 0.1),
  ])
})

t.test(
  'slots fit the kernel: thresholds below 2^32, as many slots as weights',
  async (t) => {
    t.same(aliasTable([]), [])
    t.same(aliasTable([7]), [{ threshold: 0, primary: 0, alias: 0 }])
    fc.assert(
      fc.property(anyWeights, (weights) => {
        const slots = aliasTable(weights)
        const valid = slots.every(
          ({ threshold }) => threshold >= 0 && threshold < slotUnits,
        )
        return slots.length === weights.length && valid
      }),
      { numRuns: 100 },
    )
  },
)

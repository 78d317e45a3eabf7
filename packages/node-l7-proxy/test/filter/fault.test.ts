// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { faultOf } from '../../src/filter/fault.ts'

const faults = {
  delayShare: 250_000,
  delayMs: 70,
  abortShare: 100,
  abortStatus: 418,
  abortGrpcStatus: 8,
}

t.test('shares are drawn separately, to the millionth', async (t) => {
  const draw = (delay: number, abort: number) => {
    const numbers = [delay, abort]
    return faultOf(faults, () => numbers.shift() ?? 0)
  }
  const abort = { status: 418, grpcStatus: 8 }
  t.equal(
    faultOf(undefined, () => 0),
    undefined,
  )
  t.equal(draw(0.25, 0.0001), undefined)
  t.strictSame(draw(0.249_999, 0.9), { delayMs: 70, abort: undefined })
  t.strictSame(draw(0.9, 0.000_099), { delayMs: 0, abort })
  t.strictSame(draw(0, 0), { delayMs: 70, abort })
  t.equal(
    faultOf({ ...faults, delayShare: 0, abortShare: 0 }, () => 0),
    undefined,
  )
})

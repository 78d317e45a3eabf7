// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { Pace } from '../../src/downstream/pace.ts'

t.test('a few pieces a turn, in order, also those that come meanwhile', async (t) => {
  const pace = new Pace(2)
  const done: number[] = []
  for (let i = 0; i < 5; i++)
    pace.add(() => {
      done.push(i)
      if (i === 0) pace.add(() => done.push(5))
    })
  t.strictSame([done, pace.waiting], [[], 5], 'nothing at once')
  await nextTurn()
  t.strictSame(done, [0, 1])
  await nextTurn()
  t.strictSame(done, [0, 1, 2, 3])
  await nextTurn()
  t.strictSame([done, pace.waiting], [[0, 1, 2, 3, 4, 5], 0])
  pace.add(() => done.push(6))
  await nextTurn()
  t.strictSame(done.at(-1), 6, 'and it begins anew')
})

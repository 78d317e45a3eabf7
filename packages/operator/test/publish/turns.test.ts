// SPDX-License-Identifier: Apache-2.0
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { Turns } from '../../src/publish/turns.ts'

t.test('as many as allowed, then first come, first served', async (t) => {
  const turns = new Turns(2)
  const woken: string[] = []
  const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((name) =>
    turns.take(() => woken.push(name)),
  )
  t.same(
    [a, b, c, d, e].map((turn) => turn?.isMine),
    [true, true, false, false, false],
  )
  t.same([turns.taken, turns.waiting], [2, 3])
  d?.release()
  d?.release()
  t.same([turns.taken, turns.waiting], [2, 2], 'who stops waiting had no turn')
  a?.release()
  a?.release()
  await nextTurn()
  t.same(woken, ['c'], 'a turn is given back once')
  t.equal(c?.isMine, true)
  b?.release()
  c?.release()
  await nextTurn()
  t.same(woken, ['c', 'e'])
  t.same([turns.taken, turns.waiting], [1, 0])
  e?.release()
  t.equal(turns.taken, 0)
})

t.test('a turn that is given up before it is told is not told', async (t) => {
  const turns = new Turns(1)
  const woken: string[] = []
  const first = turns.take(() => woken.push('first'))
  const second = turns.take(() => woken.push('second'))
  const third = turns.take(() => woken.push('third'))
  first.release()
  second.release()
  await nextTurn()
  t.same(woken, ['third'])
  t.ok(third.isMine)
})

t.test('thousands that need it no longer do not end the stack', async (t) => {
  const turns = new Turns(1)
  const first = turns.take(() => undefined)
  let over = 0
  for (let n = 0; n < 20_000; n++) {
    const turn = turns.take(() => {
      over++
      turn.release()
    })
  }
  first.release()
  await nextTurn()
  t.equal(over, 20_000)
  t.same([turns.taken, turns.waiting], [0, 0])
})

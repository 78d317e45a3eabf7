// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { hashedNumbers } from '../../src/compile/hashed.ts'
import { allocate, hashedPool } from '../../src/compile/pool.ts'

/** "a1" and "b1" meet in 1; the next number of each is ten times as much and its letter. */
const hash = (key: string, round: number): number =>
  round === 0
    ? Number(key.slice(1))
    : Number(key.slice(1)) * 10 ** round + key.charCodeAt(0)

t.test('keys that meet leave the number, and nobody gets it', async (t) => {
  t.same(hashedNumbers(['a1', 'c2'], hash), {
    live: new Map([
      ['a1', 1],
      ['c2', 2],
    ]),
    collided: false,
  })
  const { live, collided } = hashedNumbers(['a1', 'b1', 'c2'], hash)
  t.equal(collided, true)
  t.same([...live.values()].sort(), [107, 108, 2])
  t.notOk(
    [...live.values()].includes(1),
    'who still knows 1 as a1 must not take b1 for it',
  )
})

t.test('the order of keys and what was before do not matter', async (t) => {
  const sorted = (keys: string[]) => [...hashedNumbers(keys, hash).live].sort()
  t.same(sorted(['b1', 'c2', 'a1']), sorted(['a1', 'b1', 'c2']))
  let pool = allocate(hashedPool(hash), new Set(['a1']))
  t.equal(pool.live.get('a1'), 1)
  pool = allocate(pool, new Set(['a1', 'b1']))
  t.equal(pool.live.get('a1'), 107)
  pool = allocate(pool, new Set(['a1']))
  t.equal(pool.live.get('a1'), 1, 'alone again')
  t.equal(allocate(pool, new Set(['a1'])), pool, 'nothing changed')
})

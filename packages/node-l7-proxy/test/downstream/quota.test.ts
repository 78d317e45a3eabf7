// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import { Quota } from '../../src/downstream/quota.ts'

t.test('a key has its share, and others theirs', async (t) => {
  const quota = new Quota(3)
  t.strictSame(
    [quota.take(1), quota.take(1, 2), quota.take(1), quota.take(2, 4), quota.take(2, 3)],
    [true, true, false, false, true],
  )
  t.equal(quota.used(1), 3, 'what was refused was not taken')
  quota.give(1, 2)
  t.equal(quota.used(1), 1)
  t.ok(quota.take(1, 2))
  quota.give(1, 3)
  t.equal(quota.used(1), 0)
})

// SPDX-License-Identifier: Apache-2.0
import t from 'tap'
import {
  decide,
  observe,
  recordOf,
  specOf,
  type LeaseRecord,
} from '../../src/ha/lease.ts'

const record = (holder: string, renewTime = 'r1'): LeaseRecord => ({
  holder,
  durationMs: 15_000,
  transitions: 3,
  acquireTime: 'a',
  renewTime,
  resourceVersion: '7',
})

t.test('a holder is believed from when its lease was seen to change', async (t) => {
  const first = observe(undefined, record('b'), 1_000)
  t.equal(decide(first, 'a', 15_900), 'wait')
  t.equal(decide(first, 'a', 16_001), 'take')
  const same = observe(first, record('b'), 9_000)
  t.equal(decide(same, 'a', 16_001), 'take', 'reading again is no sign of life')
  const renewed = observe(same, record('b', 'r2'), 9_000)
  t.equal(decide(renewed, 'a', 16_001), 'wait')
  t.equal(decide(renewed, 'a', 24_001), 'take')
})

t.test('whose it is, and whose it was', async (t) => {
  t.equal(decide(observe(undefined, undefined, 0), 'a', 0), 'create')
  t.equal(decide(observe(undefined, record('a'), 0), 'a', 1e9), 'renew')
  t.equal(decide(observe(undefined, record(''), 0), 'a', 0), 'take', 'given up')
})

t.test('transitions count, times of acquiring last', async (t) => {
  t.match(specOf('take', record('b'), 'a', 15_000, 'now'), {
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    leaseTransitions: 4,
    acquireTime: 'now',
    renewTime: 'now',
  })
  t.match(specOf('renew', record('a'), 'a', 15_000, 'now'), {
    leaseTransitions: 3,
    acquireTime: 'a',
    renewTime: 'now',
  })
  t.match(specOf('create', undefined, 'a', 15_000, 'now'), { leaseTransitions: 0 })
  t.match(recordOf({ metadata: {} }), { holder: '', durationMs: 0 }, 'a lease of nobody')
})

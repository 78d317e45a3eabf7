// SPDX-License-Identifier: Apache-2.0
import { parseAddress } from '@pillion/contract'
import t from 'tap'
import { Affinity } from '../../src/cluster/affinity.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { makeEndpoint } from '../support/endpoint.ts'

const client = (n: number): Buffer => parseAddress(`10.244.${n >> 8}.${n & 255}`)
const endpoints = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'].map((address) =>
  makeEndpoint(address),
)
const timeoutMs = 1000

function make(max = 1000): { affinity: Affinity; metrics: Metrics } {
  const metrics = new Metrics()
  return { affinity: new Affinity(max, metrics), metrics }
}

t.test('a client keeps its endpoint when others come', async (t) => {
  const { affinity } = make()
  const clients = Array.from({ length: 200 }, (_, i) => client(i))
  const choose = (ready: typeof endpoints, nowMs: number) =>
    clients.map((client) =>
      affinity.choose(ready, { service: 1, client }, timeoutMs, nowMs),
    )
  const before = choose(endpoints.slice(0, 3), 0)
  t.same(choose(endpoints, 500), before)
  t.same(choose(endpoints, 1500), before, 'each use counts from anew')
  const { affinity: other } = make()
  const fresh = clients.map((client) =>
    other.choose(endpoints, { service: 1, client }, timeoutMs, 0),
  )
  t.ok(
    fresh.some((endpoint, i) => endpoint !== before[i]),
    'new clients have another choice',
  )
  t.same(choose(endpoints, 2501), fresh, 'after the time-out it is a new client')
})

t.test(
  'a client moves when its endpoint may not be chosen, and others stay',
  async (t) => {
    const { affinity } = make()
    const clients = Array.from({ length: 200 }, (_, i) => client(i))
    const choose = (ready: typeof endpoints) =>
      clients.map((client) =>
        affinity.choose(ready, { service: 1, client }, timeoutMs, 0),
      )
    const before = choose(endpoints)
    const [gone, ...rest] = endpoints
    const after = choose(rest)
    t.notOk(after.includes(gone))
    after.forEach((endpoint, i) => {
      if (before[i] !== gone) t.equal(endpoint, before[i])
    })
    t.same(
      choose([]),
      clients.map(() => undefined),
    )
  },
)

t.test('two workers choose the same, in proportion to the weights', async (t) => {
  const heavy = makeEndpoint('10.0.0.9', { weight: 3 })
  const ready = [...endpoints, heavy]
  const [a, b] = [make(10_000).affinity, make(10_000).affinity]
  let [onHeavy, differ] = [0, 0]
  const count = 7000
  for (let i = 0; i < count; i++) {
    const key = { service: 1, client: client(i) }
    const chosen = a.choose(ready, key, timeoutMs, 0)
    if (b.choose(ready, key, timeoutMs, 0) !== chosen) differ++
    if (chosen === heavy) onHeavy++
  }
  t.equal(differ, 0)
  // 3 of 7 in the mean; the standard deviation is 41.
  t.ok(Math.abs(onHeavy - (count * 3) / 7) < 250, `${onHeavy}`)
})

t.test('services are apart', async (t) => {
  const { affinity, metrics } = make()
  const one = { service: 1, client: client(1) }
  const two = { service: 2, client: client(1) }
  const [first, second] = endpoints
  t.equal(affinity.choose(first ? [first] : [], one, timeoutMs, 0), first)
  t.equal(affinity.choose(second ? [second] : [], two, timeoutMs, 0), second)
  t.equal(metrics.gauges.affinitySessions, 2)
})

t.test('what is remembered is bounded: the longest silent goes', async (t) => {
  const { affinity, metrics } = make(2)
  const [only] = endpoints
  const late = endpoints.slice(1)
  const use = (n: number, ready = only ? [only] : []) =>
    affinity.choose(ready, { service: 1, client: client(n) }, timeoutMs, 0)
  use(1)
  use(2)
  use(1)
  use(3)
  t.equal(metrics.gauges.affinitySessions, 2)
  t.equal(metrics.counters.affinityForgotten, 1)
  t.equal(use(1, endpoints), only, '1 was used after 2, and is remembered')
  t.equal(metrics.counters.affinityForgotten, 1)
  t.ok(use(2, late), '2 is as a new client')
  t.equal(metrics.counters.affinityForgotten, 2)
})

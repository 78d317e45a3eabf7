// SPDX-License-Identifier: Apache-2.0
import { Algorithm, Traffic } from '@pillion/contract'
import t from 'tap'
import { Cluster, inZone } from '../../src/cluster/cluster.ts'
import type { EjectionObserver } from '../../src/cluster/outlier.ts'
import { Metrics } from '../../src/metrics/metrics.ts'
import { makeEndpoint } from '../support/endpoint.ts'

const [a1, a2, b1] = [
  makeEndpoint('10.0.0.1', { zone: 'a' }),
  makeEndpoint('10.0.0.2', { zone: 'a' }),
  makeEndpoint('10.0.1.1', { zone: 'b' }),
]
const all = [a1, a2, b1]
const nobody: EjectionObserver = {
  ejected: () => undefined,
  panicked: () => undefined,
  lifted: () => undefined,
}

t.test('the zone, or all when it has none', async (t) => {
  t.strictSame(inZone(all, 'a'), [a1, a2])
  t.equal(inZone(all, 'c'), all)
  t.equal(inZone([], 'a').length, 0)
})

t.test('near ones, as long as they are not ejected', async (t) => {
  const cluster = new Cluster(new Metrics(), 10, nobody)
  const traffic = Traffic.fromPartial({
    balancing: { preferZone: true },
    outlierEjection: {
      consecutiveErrors: 1,
      baseEjectionMs: 60_000,
      maxEjectionMs: 60_000,
      intervalMs: 1000,
      maxEjectedPercent: 100,
    },
  })
  cluster.update(traffic, all, 'a')
  t.strictSame(cluster.usable(all), [a1, a2])
  t.equal(cluster.usable(all), cluster.usable(all), 'the same list')
  cluster.judge(a1, 'gateway', 1)
  t.strictSame(cluster.usable(all), [a2])
  cluster.judge(a2, 'gateway', 1)
  t.strictSame(cluster.usable(all), [b1], 'failover')
  cluster.update(traffic, all, 'b')
  t.strictSame(cluster.usable(all), [b1])
  cluster.update(undefined, all, 'b')
  t.equal(cluster.usable(all), all)
})

t.test('an equal declaration changes nothing', async (t) => {
  const cluster = new Cluster(new Metrics(), 10, nobody)
  const make = (idleMs: number): Traffic =>
    Traffic.fromPartial({
      balancing: { algorithm: Algorithm.ROUND_ROBIN },
      connectionPool: { idleMs },
    })
  cluster.update(make(1), all, '')
  const rule = cluster.connectionPool
  cluster.update(make(1), all, '')
  t.equal(cluster.connectionPool, rule)
  cluster.update(make(2), all, '')
  t.match(cluster.connectionPool, { idleMs: 2 })
})

t.test(
  'an attempt that was given up makes its endpoint slower, never faster',
  async (t) => {
    const cluster = new Cluster(new Metrics(), 10, nobody)
    const endpoint = makeEndpoint('10.0.0.3')
    const expected = (): number => endpoint.latency.at(performance.now())
    cluster.judge(endpoint, 'good', 100)
    cluster.outlasted(endpoint, 5)
    t.ok(expected() > 95, String(expected()))
    cluster.outlasted(endpoint, 400)
    t.ok(expected() > 395, String(expected()))
    t.equal(endpoint.health.ejectedUntilMs, 0)
  },
)

// SPDX-License-Identifier: Apache-2.0
import { LimitScope, RateLimit } from '@pillion/contract'
import t from 'tap'
import { RateLimits } from '../../src/limit/rate-limits.ts'
import { Metrics } from '../../src/metrics/metrics.ts'

const limit = (scope: LimitScope, requests: number, more = {}): RateLimit =>
  RateLimit.fromPartial({ scope, requests, burst: requests, intervalMs: 1000, ...more })

function limits(rules: readonly RateLimit[], maxKeys = 10) {
  const metrics = new Metrics()
  const made = new RateLimits(maxKeys, metrics)
  made.update(rules)
  return { metrics, made }
}

/** How many of `wanted` requests pass. */
function passed(made: RateLimits, wanted: number, nowMs: number, identity = 1): number {
  let count = 0
  for (let i = 0; i < wanted; i++) if (made.take('r', identity, nowMs) === 0) count++
  return count
}

t.test('burst at once, then the rate', async (t) => {
  const { made } = limits([limit(LimitScope.SERVICE, 10, { burst: 5 })])
  t.equal(passed(made, 100, 1000), 5)
  t.equal(made.take('r', 1, 1000), 100, 'how long to wait for the next')
  t.equal(made.take('r', 1, 1099) > 0, true)
  t.equal(made.take('r', 1, 1100), 0)
  let count = 0
  for (let at = 1101; at <= 11_100; at++) count += passed(made, 1, at)
  t.equal(count, 100, 'ten a second over ten seconds')
  t.equal(passed(made, 100, 1_000_000), 5, 'silence saves up the burst, no more')
})

t.test('per route, per identity', async (t) => {
  const routes = limits([limit(LimitScope.ROUTE, 1)]).made
  t.equal(routes.take('a', 1, 0), 0)
  t.equal(routes.take('b', 1, 0), 0)
  t.ok(routes.take('a', 2, 0) > 0)
  const clients = limits([limit(LimitScope.IDENTITY, 1)]).made
  t.equal(clients.take('a', 1, 0), 0)
  t.equal(clients.take('a', 2, 0), 0)
  t.ok(clients.take('b', 1, 0) > 0)
})

t.test('all must let it through; a refusal costs nothing', async (t) => {
  const { made } = limits([
    limit(LimitScope.SERVICE, 3),
    limit(LimitScope.IDENTITY, 1, { intervalMs: 60_000 }),
  ])
  t.equal(passed(made, 50, 0, 1), 1)
  t.equal(passed(made, 50, 0, 2), 1)
  t.equal(passed(made, 50, 0, 3), 1)
  t.equal(passed(made, 50, 0, 4), 0, 'the service has none left')
  t.ok(made.take('r', 1, 0) > 30_000, 'the longer wait of both')
})

t.test('buckets are bounded: the one not asked longest goes', async (t) => {
  const { made, metrics } = limits([limit(LimitScope.IDENTITY, 1)], 2)
  made.take('r', 1, 0)
  made.take('r', 2, 0)
  t.ok(made.take('r', 1, 0) > 0)
  made.take('r', 3, 0)
  t.equal(metrics.counters.limitKeysForgotten, 1)
  t.ok(made.take('r', 1, 0) > 0, 'asked since')
  t.equal(made.take('r', 2, 0), 0, 'forgotten')
})

t.test('a rule that stays keeps its buckets', async (t) => {
  const { made } = limits([limit(LimitScope.SERVICE, 1)])
  t.equal(made.take('r', 1, 0), 0)
  made.update([limit(LimitScope.SERVICE, 1), limit(LimitScope.ROUTE, 5)])
  t.ok(made.take('r', 1, 0) > 0)
  made.update([])
  t.equal(made.take('r', 1, 0), 0)
})

// SPDX-License-Identifier: Apache-2.0
// One suite for every balancer, then what is each one's own.
import t from 'tap'
import type { Balancer } from '../../../src/cluster/balance/balancer.ts'
import { maglev } from '../../../src/cluster/balance/maglev.ts'
import { leastRequest } from '../../../src/cluster/balance/p2c.ts'
import { Latency, peakEwma } from '../../../src/cluster/balance/peak-ewma.ts'
import { anyEndpoint } from '../../../src/cluster/balance/random.ts'
import { ringHash } from '../../../src/cluster/balance/ring-hash.ts'
import { roundRobin } from '../../../src/cluster/balance/round-robin.ts'
import { shareOf, withSlowStart } from '../../../src/cluster/balance/slow-start.ts'
import type { Endpoint } from '../../../src/cluster/endpoint.ts'
import { mix } from '../../../src/cluster/hash.ts'
import { makeEndpoint } from '../../support/endpoint.ts'

/** Numbers that are the same in every run. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => mix((state = (state + 0x9e3779b9) >>> 0)) / 2 ** 32
}

const endpointsOf = (weights: readonly number[]): Endpoint[] =>
  weights.map((weight, i) => {
    const endpoint = makeEndpoint(`10.0.${i >> 8}.${i & 255}`, { weight })
    // All as fast, to the last digit.
    endpoint.latency.observe(1e9, false, 0)
    return endpoint
  })

const requests = 20_000

/** Requests that each endpoint gets, in the order of `endpoints`. */
function shares(
  balancer: Balancer,
  endpoints: readonly Endpoint[],
  avoid: readonly Endpoint[] = [],
): number[] {
  const random = randomFrom(7)
  const counts = new Map<Endpoint | undefined, number>()
  for (let i = 0; i < requests; i++) {
    const chosen = balancer(endpoints, random, avoid, mix(i))
    counts.set(chosen, (counts.get(chosen) ?? 0) + 1)
  }
  return endpoints.map((endpoint) => (counts.get(endpoint) ?? 0) / requests)
}

const balancers: Readonly<
  Record<string, { make: () => Balancer; tolerance: number; weighted: boolean }>
> = {
  // Of the mean share, what an endpoint may miss or exceed. Two random choices go by load: weight says what load is equal.
  LeastRequest: { make: () => leastRequest, tolerance: 0.1, weighted: false },
  PeakEWMA: { make: () => peakEwma(() => 0), tolerance: 0.1, weighted: false },
  RoundRobin: { make: roundRobin, tolerance: 0.001, weighted: true },
  Random: { make: () => anyEndpoint, tolerance: 0.1, weighted: true },
  RingHash: { make: ringHash, tolerance: 0.3, weighted: true },
  Maglev: { make: maglev, tolerance: 0.1, weighted: true },
}

for (const [name, { make, tolerance, weighted }] of Object.entries(balancers)) {
  t.test(name, async (t) => {
    const [one] = endpointsOf([1])
    t.equal(make()([], Math.random, [], 1), undefined, 'none of none')
    if (one !== undefined)
      t.equal(make()([one], Math.random, [one], 1), one, 'the only one')

    const ten = endpointsOf(Array<number>(10).fill(1))
    for (const share of shares(make(), ten))
      t.ok(Math.abs(share - 0.1) <= 0.1 * tolerance, `a tenth: ${share}`)

    const [first, second] = ten
    if (first === undefined || second === undefined) throw new Error('ten endpoints')
    const [none, never, ...others] = shares(make(), ten, [first, second])
    t.strictSame([none, never], [0, 0], 'tried ones are avoided')
    t.ok(
      others.every((share) => share > 0.03),
      'by all others',
    )
    t.ok(
      shares(make(), ten, ten).some((share) => share > 0),
      'unless all were tried',
    )

    if (!weighted) return
    const [light = 0, heavy = 0] = shares(make(), endpointsOf([1, 3]))
    t.ok(Math.abs(heavy / light - 3) < 0.6, `1 to 3: ${light} ${heavy}`)
  })
}

for (const [name, make] of Object.entries({ RingHash: ringHash, Maglev: maglev })) {
  t.test(`${name}: who stays, and who moves`, async (t) => {
    const ten = endpointsOf(Array<number>(10).fill(1))
    const nine = ten.slice(0, 9)
    const [balancer, elsewhere] = [make(), make()]
    const gone = ten[9]
    let moved = 0
    for (let i = 0; i < 5000; i++) {
      const before = balancer(ten, Math.random, [], mix(i))
      t.equal(elsewhere(ten, Math.random, [], mix(i)), before, 'every proxy the same')
      if (before !== gone && balancer(nine, Math.random, [], mix(i)) !== before) moved++
    }
    // A ring moves nobody who need not; Maglev a few (the paper's figure 12).
    t.ok(moved <= (name === 'Maglev' ? 500 : 0), `${moved} of 5000 moved without need`)
  })
}

t.test('RoundRobin: smooth by weight', async (t) => {
  const endpoints = endpointsOf([3, 1])
  const balancer = roundRobin()
  const order = Array.from({ length: 8 }, () =>
    endpoints.indexOf(balancer(endpoints, Math.random, []) ?? makeEndpoint('10.9.9.9')),
  )
  t.equal(order.join(''), '00100010')
})

t.test('PeakEWMA: a peak counts at once, recovery takes its time', async (t) => {
  const latency = new Latency(0)
  t.equal(latency.at(0), 30, 'unknown')
  latency.observe(500, false, 0)
  t.equal(latency.at(0), 500)
  latency.observe(10, false, 1000)
  t.ok(latency.at(1000) > 400, String(latency.at(1000)))
  latency.observe(1, true, 1000)
  t.ok(latency.at(1000) > 400, 'a fast failure is not fast')
  for (let at = 2000; at < 60_000; at += 1000) latency.observe(10, false, at)
  t.ok(latency.at(60_000) < 15, String(latency.at(60_000)))

  const [slow, fast] = [makeEndpoint('10.0.0.1'), makeEndpoint('10.0.0.2')]
  const at = performance.now()
  for (let i = 0; i < 50; i++) {
    slow.latency.observe(200, false, at + i * 1000)
    fast.latency.observe(5, false, at + i * 1000)
  }
  const balancer = peakEwma(() => at + 50_000)
  t.strictSame(shares(balancer, [slow, fast]), [0, 1])
  fast.active = 1000
  t.strictSame(shares(balancer, [slow, fast]), [1, 0], 'what is busy costs more')
})

t.test('slow start: from a tenth to the full share', async (t) => {
  t.equal(shareOf(1000, 10_000, 1000), 0.1)
  t.equal(shareOf(1000, 10_000, 6000), 0.5)
  t.equal(shareOf(1000, 10_000, 99_000), 1)
  const endpoints = endpointsOf([1, 1, 1, 1])
  const [fresh] = endpoints
  if (fresh === undefined) throw new Error('four endpoints')
  for (const endpoint of endpoints) endpoint.readySinceMs = 0
  fresh.readySinceMs = 100_000
  for (const make of [() => anyEndpoint, roundRobin, () => leastRequest]) {
    const at = (ms: number): number =>
      shares(
        withSlowStart(make(), 10_000, () => ms),
        endpoints,
      )[0] ?? 0
    t.ok(Math.abs(at(100_000) - 0.025) < 0.01, String(at(100_000)))
    t.ok(Math.abs(at(105_000) - 0.125) < 0.02, String(at(105_000)))
    t.ok(Math.abs(at(110_000) - 0.25) < 0.02, String(at(110_000)))
  }
  fresh.readySinceMs = 0
  for (const share of shares(
    withSlowStart(anyEndpoint, 10_000, () => 0),
    endpoints,
  ))
    t.ok(Math.abs(share - 0.25) < 0.02, 'all new: all equal')
})

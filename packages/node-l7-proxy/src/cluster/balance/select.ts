// SPDX-License-Identifier: Apache-2.0
import { Algorithm, type Balancing } from '@pillion/contract'
import type { Balancer } from './balancer.ts'
import { maglev } from './maglev.ts'
import { leastRequest } from './p2c.ts'
import { peakEwma } from './peak-ewma.ts'
import { anyEndpoint } from './random.ts'
import { ringHash } from './ring-hash.ts'
import { roundRobin } from './round-robin.ts'
import { withSlowStart } from './slow-start.ts'

/** The balancer that is declared; least request without a declaration. `now` is a monotonic clock, milliseconds. */
export function balancerOf(
  balancing: Balancing | undefined,
  now: () => number,
): Balancer {
  if (balancing === undefined) return leastRequest
  const balancer = algorithmOf(balancing.algorithm, now)
  const { slowStartMs } = balancing
  return slowStartMs === 0 ? balancer : withSlowStart(balancer, slowStartMs, now)
}

function algorithmOf(algorithm: Algorithm, now: () => number): Balancer {
  switch (algorithm) {
    case Algorithm.PEAK_EWMA:
      return peakEwma(now)
    case Algorithm.ROUND_ROBIN:
      return roundRobin()
    case Algorithm.RANDOM:
      return anyEndpoint
    case Algorithm.RING_HASH:
      return ringHash()
    case Algorithm.MAGLEV:
      return maglev()
    // A newer operator may know one that we do not: the default is better than none.
    default:
      return leastRequest
  }
}

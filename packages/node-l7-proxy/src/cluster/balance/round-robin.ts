// SPDX-License-Identifier: Apache-2.0
// One after the other. With weights the smooth way: of 3 to 1, "aaba" and never "aaab".
import type { Endpoint } from '../endpoint.ts'
import { type Balancer, withoutTried } from './balancer.ts'
import { isUniform } from './weights.ts'

/** Begins at random, or the first requests of all workers and nodes would meet at one endpoint. */
export function roundRobin(): Balancer {
  let next: number | undefined
  const credit = new WeakMap<Endpoint, number>()
  return (ready, random, avoid) => {
    const endpoints = withoutTried(ready, avoid)
    if (!isUniform(endpoints)) return smooth(endpoints, credit)
    next ??= Math.floor(random() * endpoints.length)
    next = (next + 1) % Math.max(1, endpoints.length)
    return endpoints[next]
  }
}

/** Everybody earns their weight, the richest pays for all. */
function smooth(
  endpoints: readonly Endpoint[],
  credit: WeakMap<Endpoint, number>,
): Endpoint | undefined {
  let best: Endpoint | undefined
  let most = -Infinity
  let total = 0
  for (const endpoint of endpoints) {
    const has = (credit.get(endpoint) ?? 0) + endpoint.weight
    credit.set(endpoint, has)
    total += endpoint.weight
    if (has <= most) continue
    best = endpoint
    most = has
  }
  if (best !== undefined) credit.set(best, most - total)
  return best
}

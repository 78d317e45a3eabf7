// SPDX-License-Identifier: Apache-2.0
// The power of two choices: two at random, the cheaper one. Within a constant of the best choice, without a scan and without
// a herd after an endpoint was added.
import type { Endpoint } from '../endpoint.ts'
import { type Balancer, withoutTried } from './balancer.ts'

/** The cheaper of two by `cost`, for its weight. */
export function cheaperOfTwo(cost: (endpoint: Endpoint) => number): Balancer {
  return (ready, random, avoid) => {
    const endpoints = withoutTried(ready, avoid)
    const count = endpoints.length
    if (count < 2) return endpoints[0]
    const first = Math.floor(random() * count)
    // The second from the others, so that two choices are always two.
    const second = (first + 1 + Math.floor(random() * (count - 1))) % count
    const a = endpoints[first]
    const b = endpoints[second]
    if (a === undefined || b === undefined) return a ?? b
    return cost(b) * a.weight < cost(a) * b.weight ? b : a
  }
}

/** By requests in flight. */
export const leastRequest: Balancer = cheaperOfTwo(({ active }) => active + 1)

// SPDX-License-Identifier: Apache-2.0
// Least request by the power of two choices: two at random, the one with fewer requests in flight for its weight. Within a
// constant of the best choice, without a scan and without a herd after an endpoint was added.
import type { Balancer } from './balancer.ts'
import type { Endpoint } from './endpoint.ts'

export const leastRequest: Balancer = (ready, random, avoid) => {
  if (ready.length === 1) return ready[0]
  if (avoid.length > 0) {
    const fresh = ready.filter((endpoint) => !avoid.includes(endpoint))
    if (fresh.length > 0) return choose(fresh, random)
  }
  return choose(ready, random)
}

function choose(ready: readonly Endpoint[], random: () => number): Endpoint | undefined {
  const count = ready.length
  if (count < 2) return ready[0]
  const first = Math.floor(random() * count)
  // The second from the others, so that two choices are always two.
  const second = (first + 1 + Math.floor(random() * (count - 1))) % count
  const a = ready[first]
  const b = ready[second]
  if (a === undefined || b === undefined) return a ?? b
  return (b.active + 1) * a.weight < (a.active + 1) * b.weight ? b : a
}

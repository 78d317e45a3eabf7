// SPDX-License-Identifier: Apache-2.0
// Slow start: an endpoint that has just become ready gets a growing share of what it would get, so that its caches fill and
// its code is compiled before it is under full load.
import type { Endpoint } from '../endpoint.ts'
import type { Balancer } from './balancer.ts'

/** Of the full share, at the beginning. */
const least = 0.1

/** From a tenth to 1, in equal steps over `slowStartMs`. */
export function shareOf(
  readySinceMs: number,
  slowStartMs: number,
  nowMs: number,
): number {
  return Math.min(1, Math.max(least, (nowMs - readySinceMs) / slowStartMs))
}

/**
 * Any balancer, with slow start: a choice of a new endpoint stands with the probability of its share, otherwise one of the
 * others is chosen. When all are new, so are the others, and nothing changes.
 */
export function withSlowStart(
  balancer: Balancer,
  slowStartMs: number,
  now: () => number,
): Balancer {
  const isGiven = (endpoint: Endpoint, random: () => number): boolean => {
    const share = shareOf(endpoint.readySinceMs, slowStartMs, now())
    return share === 1 || random() < share
  }
  return (ready, random, avoid, hash) => {
    const chosen = balancer(ready, random, avoid, hash)
    if (chosen === undefined || isGiven(chosen, random)) return chosen
    return balancer(ready, random, [...avoid, chosen], hash)
  }
}

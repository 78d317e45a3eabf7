// SPDX-License-Identifier: Apache-2.0
// Ring hashing (Karger et al., 1997): every endpoint has points on a circle, a request belongs to the next one. An endpoint
// that comes or goes moves only the requests that it gets or had.
import type { Endpoint } from '../endpoint.ts'
import { mix } from '../hash.ts'
import type { Balancer } from './balancer.ts'
import { consistent, type OwnerTable } from './consistent.ts'

/** Points of an endpoint of average weight: shares are within a tenth or so of each other. */
const pointsEach = 160

/** Of a ring; services of more than 400 endpoints have fewer points each. */
const pointsMax = 65_536

/** 2^32 over the golden ratio: multiples of it are spread before they are mixed. */
const spread = 0x9e3779b9

function buildRing(endpoints: readonly Endpoint[]): OwnerTable {
  const weights = endpoints.reduce((sum, { weight }) => sum + weight, 0)
  const total = Math.min(pointsMax, pointsEach * endpoints.length)
  const points: [at: number, owner: number][] = []
  for (const [owner, { hash, weight }] of endpoints.entries()) {
    const count = Math.max(1, Math.round((total * weight) / weights))
    for (let i = 1; i <= count; i++)
      points.push([mix(mix(hash) ^ Math.imul(i, spread)), owner])
  }
  points.sort(([a], [b]) => a - b)
  const places = Uint32Array.from(points, ([at]) => at)
  return {
    owners: Uint32Array.from(points, ([, owner]) => owner),
    positionOf: (hash) => next(places, hash) % places.length,
  }
}

/** Index of the first place at or after `hash`; the length when there is none. */
function next(places: Uint32Array, hash: number): number {
  let low = 0
  let high = places.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((places[middle] ?? 0) < hash) low = middle + 1
    else high = middle
  }
  return low
}

export function ringHash(): Balancer {
  return consistent(buildRing)
}

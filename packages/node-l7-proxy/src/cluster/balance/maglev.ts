// SPDX-License-Identifier: Apache-2.0
// Maglev (Eisenbud et al., NSDI 2016, 3.4): endpoints take turns filling a table, each in an order of its own. Shares are
// more even than a ring's and finding is one look; a change moves a few requests more than it must.
import type { Endpoint } from '../endpoint.ts'
import { mix } from '../hash.ts'
import type { Balancer } from './balancer.ts'
import { consistent, type OwnerTable } from './consistent.ts'

/** Primes, so that every step visits every slot; a hundred slots an endpoint keep shares within a hundredth. */
const sizes = [1021, 4093, 16_381, 65_537]
const slotsEach = 100
const free = 0xffff_ffff

function buildTable(endpoints: readonly Endpoint[]): OwnerTable {
  const wanted = endpoints.length * slotsEach
  const size = sizes.find((each) => each >= wanted) ?? 65_537
  const owners = new Uint32Array(size).fill(free)
  const heaviest = endpoints.reduce((most, { weight }) => Math.max(most, weight), 1)
  const turns = endpoints.map(({ hash, weight }) => ({
    at: mix(hash) % size,
    step: (mix(hash ^ 0x5bd1e995) % (size - 1)) + 1,
    /** The heaviest has a slot in every round, the others one as often as their weight is. */
    share: weight / heaviest,
    due: 0,
  }))
  for (let filled = 0; filled < size;) {
    for (const [owner, turn] of turns.entries()) {
      turn.due += turn.share
      if (turn.due < 1 || filled === size) continue
      turn.due--
      while (owners[turn.at] !== free) turn.at = (turn.at + turn.step) % size
      owners[turn.at] = owner
      filled++
    }
  }
  return { owners, positionOf: (hash) => hash % size }
}

export function maglev(): Balancer {
  return consistent(buildTable)
}

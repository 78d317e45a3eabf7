// SPDX-License-Identifier: Apache-2.0
// What ring and Maglev have in common: a table of owners, made once for a list of endpoints, and where a hash falls into it.
import type { Endpoint } from '../endpoint.ts'
import type { Balancer } from './balancer.ts'

/** Owners by position, as indices into the list of endpoints. */
export type OwnerTable = {
  readonly owners: Uint32Array
  /** Position of a hash of 32 bits, below owners.length. */
  positionOf(hash: number): number
}

/**
 * Requests of one hash go to one endpoint; retries to the next owner after it. A request without a hash goes anywhere.
 * `build` is called once for a list of at least one endpoint.
 */
export function consistent(
  build: (endpoints: readonly Endpoint[]) => OwnerTable,
): Balancer {
  const tables = new WeakMap<readonly Endpoint[], OwnerTable>()
  return (ready, random, avoid, hash) => {
    if (ready.length < 2) return ready[0]
    let table = tables.get(ready)
    if (table === undefined) tables.set(ready, (table = build(ready)))
    const { owners } = table
    const start = table.positionOf(hash ?? Math.floor(random() * 2 ** 32))
    const first = ready[owners[start] ?? 0]
    if (avoid.length === 0) return first
    for (let i = 0; i < owners.length; i++) {
      const endpoint = ready[owners[(start + i) % owners.length] ?? 0]
      if (endpoint !== undefined && !avoid.includes(endpoint)) return endpoint
    }
    return first
  }
}
